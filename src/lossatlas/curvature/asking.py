"""How does an iteration request products? One at a time, so that many blocks share each pass over the data.

An iteration is a generator: it yields vectors and is sent their products. :func:`answered` runs one to its end with a
matrix; :func:`together` runs one for each block of a matrix, side by side. Vectors are drawn and multiplied here in
pieces, so that no vector is ever needed whole in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from lossatlas.curvature.products import Matrix
from lossatlas.curvature.subject import Subject
from lossatlas.oneline import one_line

__all__ = [
    "Asked",
    "Asking",
    "DiagonalBlock",
    "Multiplied",
    "Onto",
    "answered",
    "counted",
    "dots",
    "drawn",
    "room_for",
    "signs",
    "together",
]

Found = TypeVar("Found")


@dataclass(frozen=True)
class Onto:
    """A vector to be multiplied whose product is added to another, in that one's memory.

    Attributes:
        vector: [n], to be multiplied.
        sum: [n], what the product is added to.
    """

    vector: Tensor
    sum: Tensor

    __repr__ = one_line


Asked = Tensor | Onto
Asking = Generator[Asked, Tensor, Found]
"""Yields vectors [n], is sent their products, and returns what it found."""

_PIECE = 1 << 20


class Multiplied(Protocol):
    """What an iteration has to know about a matrix."""

    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102
    @property
    def device(self) -> torch.device: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class DiagonalBlock:
    """A diagonal block of a matrix.

    Attributes:
        matrix: of which it is a block.
        name: what it is called.
        places: which of the tensors of the matrix it is made of.
        size: number of parameters.
    """

    matrix: Matrix
    name: str
    places: Sequence[int]
    size: int

    @property
    def dtype(self) -> torch.dtype:
        """Number format of its vectors."""
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        """Where its vectors lie."""
        return self.matrix.device

    @property
    def subject(self) -> Subject:
        """What it is the curvature of."""
        return self.matrix.subject.block(self.name, self.size, [self.matrix.names[place] for place in self.places])

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """A vector as tensors by name."""
        return self.matrix.named_block(vector, self.places)


def answered(matrix: Matrix, asking: Asking[Found]) -> Found:
    """Run an iteration to its end.

    Args:
        matrix: gives the products.
        asking: the iteration.

    Returns:
        What it found.
    """
    everywhere = range(len(matrix.names))
    try:
        asked = next(asking)
        while True:
            asked = asking.send(_answers(matrix, [asked], [everywhere])[0])
    except StopIteration as end:
        found: Found = end.value
        return found


def _answers(matrix: Matrix, asked: Sequence[Asked], places: Sequence[Sequence[int]]) -> list[Tensor]:
    vectors = [one.vector if isinstance(one, Onto) else one for one in asked]
    sums = [one.sum if isinstance(one, Onto) else None for one in asked]
    return matrix.blocks(vectors, places, sums)


def together(blocks: Sequence[DiagonalBlock], begin: Callable[[DiagonalBlock], Asking[Found]]) -> dict[str, Found]:
    """Run an iteration for each block, all of them a product at a time, so that each batch is linearised once for all.

    Args:
        blocks: of one matrix.
        begin: begins the iteration of a block.

    Returns:
        What each found, by the name of the block.
    """
    found: dict[str, Found] = {}
    running = {block.name: begin(block) for block in blocks}
    by_name = {block.name: block for block in blocks}
    answers: dict[str, Tensor | None] = dict.fromkeys(running)
    while answers:
        wanted = dict(_asked(running, answers, found))
        places = [by_name[name].places for name in wanted]
        products = _answers(blocks[0].matrix, list(wanted.values()), places) if wanted else []
        answers = dict(zip(wanted, products, strict=True))
    return {block.name: found[block.name] for block in blocks}


def _asked(
    running: Mapping[str, Asking[Found]], answers: Mapping[str, Tensor | None], found: dict[str, Found]
) -> Iterator[tuple[str, Asked]]:
    for name, answer in answers.items():
        try:
            yield name, next(running[name]) if answer is None else running[name].send(answer)
        except StopIteration as end:
            found[name] = end.value


def counted(asking: Asking[Found]) -> Asking[tuple[Found, int]]:
    """An iteration whose result comes with the number of its products."""
    count = 0
    try:
        asked = next(asking)
        while True:
            count += 1
            asked = asking.send((yield asked))
    except StopIteration as end:
        return end.value, count


def room_for(matrix: Matrix, *, copies: int = 1) -> int:
    """How many vectors fit into the memory of a matrix, given how many copies of each are needed."""
    return matrix.memory // (copies * matrix.size * torch.finfo(matrix.dtype).bits // 8)


def drawn(like: Multiplied, generator: torch.Generator) -> Tensor:
    """A vector of independent normal numbers, in the format of a matrix and on its device.

    Args:
        like: the matrix.
        generator: of the CPU; the numbers are the same on every device.

    Returns:
        The vector [n].
    """
    found = torch.empty(like.size, dtype=like.dtype, device=like.device)
    for piece in torch.split(found, _PIECE):
        piece.copy_(torch.randn(len(piece), generator=generator, dtype=torch.float64))
    return found


def signs(like: Multiplied, generator: torch.Generator) -> Tensor:
    """A vector of independent signs, as :func:`drawn`."""
    found = torch.empty(like.size, dtype=like.dtype, device=like.device)
    for piece in torch.split(found, _PIECE):
        piece.copy_(torch.randint(0, 2, (len(piece),), generator=generator)).mul_(2).sub_(1)
    return found


def dots(rows: Tensor, vector: Tensor) -> np.ndarray:
    """Inner products of some vectors with another, in double precision, piece by piece.

    Args:
        rows: [m, n].
        vector: [n].

    Returns:
        float64 [m].

    Example:
        >>> dots(torch.eye(2), torch.tensor([3.0, 4.0])).tolist()
        [3.0, 4.0]
    """
    wide = torch.float32 if vector.device.type == "mps" else torch.float64
    total = torch.zeros(len(rows), dtype=wide, device=vector.device)
    step = max(_PIECE // max(len(rows), 1), 1)
    for start in range(0, len(vector), step):
        total += rows[:, start : start + step].to(wide) @ vector[start : start + step].to(wide)
    return np.asarray(total.double().cpu().numpy())
