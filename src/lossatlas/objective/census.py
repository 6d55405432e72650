"""How many samples each batch of an objective has, and whether its targets count evenly: counted once and kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import calling, counting, reduction, refusal
from lossatlas.objective.containers import tensors_of

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["Census", "Look", "take"]


@dataclass(frozen=True, kw_only=True)
class Census:
    """What was counted.

    Attributes:
        sizes: samples of each batch.
        uneven: whether some targets are ignored, or samples have different numbers of them from batch to batch.
    """

    sizes: tuple[int, ...]
    uneven: bool = False


class Look:
    """Looks at the batches while they are read, and finds what can be found without calling the model.

    Args:
        size: as given by the user.
        plain: whether the targets are where the forward function of this package finds them.
        weighing: how the loss weighs its targets, if that is known.
    """

    def __init__(self, size: counting.Size | None, *, plain: bool, weighing: reduction.ByTarget | None) -> None:
        self.size = size
        self.plain = plain
        self.weighing = weighing
        self.sizes: list[int | None] = []
        self.shapes: set[tuple[int, ...]] = set()
        self.ignored = False

    def __call__(self, batch: Any) -> None:
        """Look at a batch.

        Raises:
            SpecError: it holds no tensor, and nothing says what to do with it.
        """
        if self.plain and self.size is None and not tensors_of(batch):
            raise SpecError(
                f"data: a batch of type {type(batch).__name__} holds no tensor with a sample dimension; pass forward= "
                "(--forward file.py:function), which turns it into outputs and targets, or batches of tensors "
                "(torch.tensor of numbers)"
            )
        targets = calling.targets(batch) if self.plain else None
        self.sizes.append(self._size(batch, targets))
        self.see(targets)

    def see(self, targets: Any) -> None:
        """Look at the targets of a batch."""
        if isinstance(targets, Tensor) and targets.dim():
            self.shapes.add(tuple(targets.shape[1:]))
        if self.weighing is not None:
            self.ignored = self.ignored or self.weighing.leaves_out(targets)

    def _size(self, batch: Any, targets: Any) -> int | None:
        if self.size is not None:
            return counting.given(self.size, batch)
        try:
            return counting.count(batch, None, targets) if self.plain else None
        except SpecError:
            return None

    def census(self, sizes: Iterable[int | None]) -> Census:
        """What was seen, with sizes that are known."""
        uneven = self.ignored or len(self.shapes) > 1
        return Census(sizes=tuple(size for size in sizes if size is not None), uneven=uneven)


def take(objective: Objective, look: Look) -> Census:
    """Count the samples of an objective: by what was seen or, if that does not suffice, by calls of the model.

    Args:
        objective: whose samples.
        look: what was seen while the data were read.

    Returns:
        The census.

    Raises:
        SpecError: the number of samples of a batch cannot be read, or model or loss cannot take a batch.
    """
    known = None not in look.sizes
    if known and look.size is not None and (look.plain or look.weighing is None):
        return look.census(look.sizes)
    sizes: list[int | None] = []
    contact = refusal.Contact(objective)
    with contact.told(), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        for batch in objective.batches:
            outputs, targets = contact.outputs(batch)
            sizes.append(contact.samples(outputs, targets, batch))
            if look.plain and known and sizes == look.sizes[:1]:
                return look.census(look.sizes)
            look.see(targets)
    if not sum(size or 0 for size in sizes):
        raise SpecError("data is empty: it gave no samples; expected a DataLoader, a list of batches or (x, y)")
    return look.census(sizes)
