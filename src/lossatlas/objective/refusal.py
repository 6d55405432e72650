"""What to say if the model, ``forward=`` or the loss cannot take a batch even at the centre?"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.extras import MissingExtraError
from lossatlas.objective import calling
from lossatlas.objective.unusual import BARE
from lossatlas.warned import ours

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["PASSED", "Contact", "asked", "named"]

_LONGEST = 300
PASSED = (SpecError, RunMismatchError, MissingExtraError, OSError, MemoryError, torch.OutOfMemoryError)
"""Errors that say enough by themselves, or belong to someone else."""


class Contact:
    """The first calls with a batch: what they raise becomes a sentence that says what was passed to what.

    Args:
        objective: whose model and loss.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._doing: Callable[[Exception], str] | None = None

    @contextmanager
    def told(self) -> Iterator[None]:
        """Run what calls the model.

        Yields:
            Nothing.

        Raises:
            SpecError: model, ``forward`` or loss raised; running out of memory is passed on unchanged.
        """
        try:
            yield
        except Exception as fault:  # whatever the user's code raises, the user should see
            if self._doing is None or isinstance(fault, PASSED):
                raise
            raise SpecError(self._doing(fault)) from fault

    def outputs(self, batch: Any) -> tuple[Any, Any]:
        """Outputs and targets of a batch."""
        self._doing = lambda fault: self._of_model(fault, batch)
        found = self.objective.forward(self.objective.private, batch)
        self._doing = None
        return found

    def samples(self, outputs: Any, targets: Any, batch: Any) -> int | None:
        """How many samples a batch has, according to the loss."""
        self._doing = lambda fault: self._of_loss(fault, outputs, targets, batch)
        found = self.objective.loss_part(outputs, targets, batch).samples
        self._doing = None
        return found

    def _of_model(self, fault: Exception, batch: Any) -> str:
        model = self.objective.private
        plain = self.objective.forward is calling.forward
        who = f"model {type(model).__name__}" if plain else "forward="
        return f"{who} cannot take a batch of data: {_reason(fault)}. A batch is {named(batch)}" + (
            self._remedy(batch) if plain else "; forward(model, batch) returns (outputs, targets)"
        )

    def _remedy(self, batch: Any) -> str:
        taken = list(inspect.signature(self.objective.private.forward).parameters)
        takes = f"({', '.join(taken)})"
        if isinstance(batch, Mapping):
            target = calling.target_name(batch)
            inputs = [name for name in batch if name != target]
            if not set(inputs) <= set(taken) and len(inputs) > 0:
                answer = f"batch[{target!r}]" if target else "None"
                return (
                    f", and its keys are passed as arguments of forward{takes}; use the same names, let the data give "
                    "pairs (inputs, targets), name a function with --forward file.py:function on the command line, or "
                    f"pass forward=lambda model, batch: (model(batch[{inputs[0]!r}]), {answer})"
                )
        return (
            f", and forward{takes} gets everything but the targets; check shape, dtype and order against training, or "
            "pass forward= (--forward file.py:function), which returns (outputs, targets)"
        )

    def _of_loss(self, fault: Exception, outputs: Any, targets: Any, batch: Any) -> str:
        loss = self.objective.loss
        name = getattr(loss, "__name__", type(loss).__name__)
        shown = calling.predictions(outputs)
        return (
            f"loss {name} cannot take what the model returns and the targets: {_reason(fault)}. Outputs are "
            f"{named(shown)}, targets {named(targets)}; "
        ) + (
            BARE
            if self.objective.forward is calling.forward and _bare(batch)
            else "expected the same as in training: pass another loss, or data whose batches end with the targets"
        )


def _bare(batch: Any) -> bool:
    """Whether a batch is one tensor, alone or in a tuple."""
    return isinstance(batch, Tensor) or (isinstance(batch, (tuple, list)) and len(batch) == 1)


@contextmanager
def asked(objective: Objective) -> Iterator[None]:
    """If an evaluation raises, call model and loss again with the first batch, to say why.

    An error raised later, only at another point or for another batch, is passed on unchanged.

    Args:
        objective: what is evaluated.

    Yields:
        Nothing.

    Raises:
        SpecError: model, ``forward`` or loss cannot take a batch.
    """
    try:
        yield
    except Exception as fault:
        if not objective.met and not isinstance(fault, PASSED):
            contact = Contact(objective)
            with contact.told(), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
                batch = next(iter(objective.batches))
                contact.samples(*contact.outputs(batch), batch)
        raise


def named(value: Any) -> str:
    """What a batch is made of, in one line.

    Args:
        value: a batch, or part of one.

    Returns:
        Types, dtypes, shapes and, of whole numbers, the range.

    Example:
        >>> named((torch.zeros(5, 2), torch.tensor([0, 3])))
        '(float32 [5, 2], int64 [2] from 0 to 3)'
        >>> named({"image": torch.zeros(5, 2)})
        "{'image': float32 [5, 2]}"
    """
    if isinstance(value, Tensor):
        return _named_tensor(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key!r}: {named(part)}" for key, part in list(value.items())[:8])
        return f"{{{inner}{', …' * (len(value) > 8)}}}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(named(part) for part in value[:8])
        return f"({inner}{', …' * (len(value) > 8)})"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _named_tensor(value: Tensor) -> str:
    words = str(value.dtype).removeprefix("torch.")
    try:
        words += f" {list(value.shape)}"
        whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool or value.is_meta)
        return f"{words} from {value.min()} to {value.max()}" if whole and value.numel() else words
    except RuntimeError:  # sparse and nested tensors, and some formats, have no range or no shape
        return words


def _reason(fault: Exception) -> str:
    """The message, and the last line of the user's own code in the traceback, if there is one."""
    words = " ".join(str(fault).split())
    words = f"{words[:_LONGEST]}…" if len(words) > _LONGEST else words
    own = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(fault.__traceback__) if _own(frame)]
    place = f" ({own[-1][0]}, line {own[-1][1]})" if own else ""
    return f"{type(fault).__name__}: {words.rstrip('.')}{place}"


def _own(frame: FrameType) -> bool:
    """Whether a frame is the user's: not the package's, whatever folder it lies in, nor an installed library's."""
    file = frame.f_code.co_filename
    return not ours(frame) and "site-packages" not in file and "<" not in file
