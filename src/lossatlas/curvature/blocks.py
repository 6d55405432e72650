"""Which tensors make up a diagonal block of a curvature matrix: a layer, a block of layers, or what a pattern names?"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from torch import nn

from lossatlas.curvature.asking import DiagonalBlock
from lossatlas.curvature.products import Matrix
from lossatlas.curvature.subject import Subject
from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.figure.plot import Panel, Plot, onto
from lossatlas.oneline import number_of, one_line

__all__ = ["Beside", "Blocks", "blocks_of"]

Beside = tuple[Panel, list[str]]
"""What blocks look like in one panel, and sentences about it."""


class _Shown(Protocol):
    heading: ClassVar[str]

    @property
    def said(self) -> str: ...
    @property
    def largest(self) -> float: ...
    @staticmethod
    def beside(found: Mapping[str, Any]) -> Beside: ...


Result = TypeVar("Result", bound=_Shown)


@dataclass(frozen=True, kw_only=True)
class Blocks(Mapping[str, Result], Generic[Result]):
    """What was found for each diagonal block, by its name, in the model's order.

    Attributes:
        by: how the tensors were put together.
        found: the results.
        subject: what the whole matrix is of.
    """

    by: str
    found: dict[str, Result]
    subject: Subject

    __repr__ = one_line

    def __getitem__(self, name: str) -> Result:
        """The result of one block."""
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the blocks."""
        return iter(self.found)

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self.found)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What these numbers do not prove, in sentences."""
        inside = (
            "A diagonal block is the curvature with all other tensors fixed: λmin of the whole matrix is no larger "
            "than that of any block, and λmax no smaller."
        )
        covered = sum(one.subject.size for one in self.found.values())  # type: ignore[attr-defined]
        left = self.subject.size - covered
        outside = f"{number_of(left, 'parameter', verb='belongs')} to no block."
        said = [inside, outside] if left else [inside]
        return (*said, *self.subject.caveats)

    @property
    def words(self) -> str:
        """What was found for each block, of many for the one that curves most, and of what, in sentences."""
        most = max(self.found, key=lambda name: self.found[name].largest)
        named = self.found if len(self.found) <= _FEW else [most]
        each = "; ".join(f"{name}: {self.found[name].said}" for name in named)
        head = "" if len(self.found) <= _FEW else f"Largest of {len(self.found)} blocks: "
        return f"By {self.by}. {self.subject.words} {head}{each}."

    def plot(self, ax: Any = None, *, beside: Blocks[Any] | None = None) -> Plot:
        """All blocks in one panel; for :func:`lossatlas.draw`.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.
            beside: something else about the same blocks in the same unit, such as their traces beside the ends of
                their spectra.

        Returns:
            The plot.

        Raises:
            SpecError: ``beside`` is about other blocks.
        """
        first = next(iter(self.found.values()))
        panel, said = type(first).beside(self.found)
        if beside is not None:
            if list(beside) != list(self):
                raise SpecError(f"beside has the blocks {', '.join(beside)}; expected {', '.join(self)}")
            other, more = type(next(iter(beside.values()))).beside(beside.found)
            panel, said = _joined(panel, other), [*said, *more]
        caption = [self.subject.words, *said, *self.caveats]
        title = self.subject.title(first.heading, self.by)
        return onto(ax, Plot(panels=[_apart(panel)], title=title, caption=caption))


_FEW = 6
"""Up to how many blocks are all told of in words."""
_REACH = 0.25
"""How far from its name a point stands where there are several."""


def _joined(panel: Panel, other: Panel) -> Panel:
    """What two panels show of the same blocks in one."""
    more = [replace(one, style="points", color=len(panel.series) + at) for at, one in enumerate(other.series)]
    symmetric = "symlog" in (panel.y_scale, other.y_scale)
    words = panel.y_label.replace("eigenvalue", f"λ, {other.series[0].label}")
    return replace(
        panel, series=[*panel.series, *more], y_label=words, y_scale="symlog" if symmetric else panel.y_scale
    )


def _apart(panel: Panel) -> Panel:
    """Points of the same block side by side, so that none hides another."""
    if not all(one.style == "points" for one in panel.series):
        return panel
    shifts = np.linspace(-_REACH, _REACH, len(panel.series)) if len(panel.series) > 1 else [0.0]
    moved = [replace(one, x=one.x + shift) for one, shift in zip(panel.series, shifts, strict=True)]
    return replace(panel, series=moved)


def blocks_of(matrix: Matrix, by: str) -> list[DiagonalBlock]:
    """The diagonal blocks of a matrix.

    Args:
        matrix: whose tensors.
        by: ``"layer"``: the tensors of a module that holds tensors itself, weight and bias together; ``"block"``: those
            of an element of a ``Sequential``, ``ModuleList`` or ``ModuleDict`` that has modules of its own, and layers
            outside of such; or a shell-style pattern, such as ``"layers.*.attention"``: a block consists of the tensors
            below a module, or of a tensor, whose name matches.

    Returns:
        The blocks, in the order of the tensors; with a pattern, tensors that do not match belong to none.

    Raises:
        SpecError: the pattern matches nothing, or the word is unknown.
    """
    check_kind("by", by, str, '"layer", "block" or a pattern such as "layers.*.attention"')
    model = matrix.objective.model
    found: dict[str, list[int]] = {}
    for place, name in enumerate(matrix.names):
        home = _home(model, name, by)
        if home:
            found.setdefault(home, []).append(place)
    if not found:
        raise SpecError(
            f"by={by!r} is neither 'layer' nor 'block', and matches no module and no tensor; there are "
            f"{', '.join(matrix.names[:5])} …; a pattern is, for instance, 'layers.*.attention'"
        )
    sizes = [tensor.numel() for tensor in matrix.tensors]
    return [
        DiagonalBlock(matrix=matrix, name=home, places=places, size=sum(sizes[place] for place in places))
        for home, places in found.items()
    ]


def _home(model: nn.Module, name: str, by: str) -> str:
    """The name of the block of a tensor; empty for none."""
    parts = name.split(".")
    above = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    if by not in ("layer", "block"):
        return next((prefix for prefix in above if fnmatch.fnmatchcase(prefix, by)), "")
    if by == "block":
        for prefix in above[:-1]:
            holder = model.get_submodule(prefix.rpartition(".")[0])
            element = model.get_submodule(prefix)
            held = isinstance(holder, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
            if (
                held
                and not isinstance(element, (nn.ModuleList, nn.ModuleDict))
                and any(True for _ in element.children())
            ):
                return prefix
    base, is_derived, _ = name.partition(".parametrizations.")
    return base if is_derived else base.rpartition(".")[0] or name
