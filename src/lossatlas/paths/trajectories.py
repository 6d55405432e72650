r"""Which way did a training run go? Its principal plane, where the path lies in it, and what a random walk would give.

With n checkpoints θ_i of P parameters, everything follows from the Gram matrix of the differences,
:math:`G_{ij} = ⟨θ_i - θ_n, θ_j - θ_n⟩`, [n, n]. It is summed over parts of tensors, so neither the [n, P] matrix nor
two whole checkpoints are ever in memory. The principal directions are combinations of checkpoints, with the
eigenvectors of G as weights, and cost one more pass (Li et al. 2018, section 7).
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import blas
from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind
from lossatlas.figure.plot import Plot
from lossatlas.figure.words import grouped
from lossatlas.objective import Objective
from lossatlas.oneline import number_of
from lossatlas.paths import folders, path_losses, several, streams, walks
from lossatlas.paths.findings import Checkpoint, Contrast, PathLosses, Principal, Projected
from lossatlas.paths.projection import project
from lossatlas.paths.walks import Centre
from lossatlas.space import directions as ways
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.parameters import Parameters
from lossatlas.warned import warn

__all__ = ["TENSORS", "Trajectory"]

TENSORS = ("all", "weights")


class Trajectory:
    """The checkpoints of a training run, read a part at a time. Make one with :meth:`open`.

    Args:
        sources: the checkpoints, in order.
        checkpoints: what is known about each.
        names: the tensors that make up a point of parameter space.

    Attributes:
        checkpoints: what is known about each.
        shapes: of the tensors that make up a point, by name.
        dimension: number of parameters P.
        left_out: files of the folder that do not belong to the path, each with the reason.
        runs: numbers of checkpoints of its runs, one after the other.
        names: what several runs are called; empty for one.

    Raises:
        SpecError: fewer than two checkpoints, or other shapes in one of them.
    """

    def __init__(
        self, sources: Sequence[streams.Source], checkpoints: Sequence[Checkpoint], names: Iterable[str]
    ) -> None:
        if len(sources) < 2:
            raise SpecError(
                f"a path has {len(sources)} checkpoint; expected at least two; record more with lossatlas.Recorder"
            )
        streams.check_alike(sources, [f"checkpoint {i} (step {c.step})" for i, c in enumerate(checkpoints)])
        self.checkpoints = tuple(checkpoints)
        self.shapes = {name: sources[-1].shapes[name] for name in names}
        self.dimension = sum(math.prod(shape) for shape in self.shapes.values())
        self.left_out: tuple[str, ...] = ()
        self.runs: tuple[int, ...] = (len(sources),)
        self.names: tuple[str, ...] = ()
        self._sources = tuple(sources)
        if not self.dimension:
            raise SpecError("the checkpoints have no tensor that moves; expected floating-point parameters")

    @classmethod
    def open(
        cls, source: str | os.PathLike[str] | Iterable[Any], *, tensors: str = "all", prefix: str = ""
    ) -> Trajectory:
        """Open a recorded path.

        Args:
            source: a folder of :class:`~lossatlas.Recorder`, a folder of checkpoint files or of folders
                ``checkpoint-N`` (in the order of their recorded steps, or of the numbers in their names; files without
                a number, such as ``best`` and ``last``, are left out with a warning), or a list of checkpoint files,
                state dicts or models in order. Several such folders, by name, ``{"SGD": "runs/a", "Adam": "runs/b"}``,
                or as a list, are several runs: each a path of its own, all in one plane, with a null that takes no step
                from the end of one to the start of the next.
            tensors: which make up a point: ``"all"`` parameters, or ``"weights"``, those of two and more dimensions,
                as in the paper. Running statistics of BatchNorm never do.
            prefix: only tensors whose names begin with it count, and it is removed: ``"net."`` for a module that holds
                the network as its ``net``, as is common with Lightning.

        Returns:
            The path.

        Raises:
            SpecError: nothing is there, there are fewer than two checkpoints, or their shapes differ.

        Example:
            >>> path = Trajectory.open([{"w": torch.tensor([float(i), i % 2])} for i in range(5)])
            >>> len(path), path.dimension
            (5, 2)
        """
        if tensors not in TENSORS:
            raise SpecError(unknown("tensors", tensors, TENSORS))
        if runs := several.runs_of(source):
            return _several(cls, runs, tensors=tensors, prefix=prefix)
        if isinstance(source, (str, os.PathLike)):
            here = folders.checkpoints_in(Path(source))
            found, checkpoints, names, left_out = here.sources, here.checkpoints, here.names, here.left_out
            if left_out:
                warn(f"{source}: left out of the path: {', '.join(left_out)}")
        else:
            check_kind("source", source, Iterable, "the folder of a Recorder, or a list of checkpoints")
            found = [streams.source_of(item) for item in source]
            checkpoints, names, left_out = [Checkpoint(step=i) for i in range(len(found))], None, ()
        if prefix:
            found = [streams.Stripped(one, prefix) for one in found]
            names = [n.removeprefix(prefix) for n in names if n.startswith(prefix)] if names is not None else None
        if names is None:
            names = streams.moving(found[-1]) if found else []
        kept = [n for n in names if n in found[-1].shapes and (tensors == "all" or len(found[-1].shapes[n]) > 1)]
        made = cls(found, checkpoints, kept)
        made.left_out = left_out
        return made

    def __repr__(self) -> str:
        """How long it is, and of what."""
        return f"Trajectory({self.words})"

    @property
    def words(self) -> str:
        """How long it is, and of what."""
        steps = f"step {self.checkpoints[0].step} to {self.checkpoints[-1].step}"
        return f"{number_of(len(self), 'checkpoint')}, {steps}, {grouped(self.dimension, 'parameter')}"

    def __len__(self) -> int:
        """The number of checkpoints."""
        return len(self.checkpoints)

    def at(self, index: int) -> dict[str, Tensor]:
        """The parameters at a checkpoint; short formats (bfloat16, float16) come as float32."""
        found = {name: streams.tensor_of(self._sources[index], name) for name in self.shapes}
        return {name: t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for name, t in found.items()}

    def statistics(self, index: int) -> dict[str, Tensor]:
        """The running statistics of BatchNorm at a checkpoint, if they were kept."""
        source = self._sources[index]
        found = [name for name in source.shapes if name.rpartition(".")[2] in streams.STATISTICS]
        return {name: streams.tensor_of(source, name) for name in found}

    def load(self, model: nn.Module, index: int = -1) -> None:
        """Set a model, in place, to where it was at a checkpoint: parameters, running means and variances.

        Raises:
            SpecError: the model has another architecture.
        """
        places = dict(model.named_parameters()) | dict(model.named_buffers())
        found = {name: streams.tensor_of(self._sources[index], name) for name in self._sources[index].shapes}
        for name, tensor in found.items():
            if name not in places or places[name].shape != tensor.shape:
                raise SpecError(
                    f"the path belongs to another architecture than {type(model).__name__}: it has {name!r} "
                    f"of shape {tuple(tensor.shape)}; {_advice(found, places)}"
                )
        with torch.no_grad():
            for name, tensor in found.items():
                places[name].copy_(tensor)

    @functools.cached_property
    def gram(self) -> np.ndarray:
        """Inner products of the differences to the last checkpoint, float64 [n, n]; one pass over all checkpoints.

        Raises:
            SpecError: a checkpoint is not finite; the message names it.
        """
        total = np.zeros((len(self), len(self)), order="F")
        for *_, block in streams.blocks(self._sources, self.shapes):
            block -= block[-1:].clone()
            total = blas.dsyrk(1.0, block.numpy().T, beta=1.0, c=total, trans=1, lower=0, overwrite_c=1)
        bad = np.flatnonzero(~np.isfinite(np.diag(total)))
        if len(bad):
            at = -1 if bad[-1] == len(self) - 1 else int(bad[0])  # differences from a bad last one are all bad
            raise SpecError(
                f"checkpoint {at % len(self)} (step {self.checkpoints[at].step}) has values that are not finite; "
                "leave it out of the path"
            )
        return np.asarray(np.triu(total) + np.triu(total, 1).T)

    @property
    def step_lengths(self) -> np.ndarray:
        """Distance from each checkpoint to the next of its run, float64 [n - 1] for one run."""
        squares, beside = np.diag(self.gram), np.diag(self.gram, 1)
        found = np.sqrt(np.maximum(squares[:-1] + squares[1:] - 2 * beside, 0.0))
        return np.asarray(np.delete(found, np.cumsum(self.runs)[:-1] - 1))

    @property
    def _starts(self) -> np.ndarray | None:
        """Inner products of the first points of several runs."""
        first = np.cumsum((0, *self.runs))[:-1]
        return self.gram[np.ix_(first, first)] if len(self.runs) > 1 else None

    def principal(self, components: int = 6, *, centre: Centre = "mean", seed: int = 0) -> Principal:
        """The principal components of the path, beside those of a random walk.

        Args:
            components: how many; fewer if the path has fewer.
            centre: ``"mean"``, as in principal component analysis, or ``"last"``: the plain differences to the last
                checkpoint, as the paper's text defines its matrix.
            seed: of the random walks whose spread is shown.

        Returns:
            Shares, coordinates and the null.

        Raises:
            SpecError: the centre is unknown, or the path does not move.

        Example:
            >>> path = Trajectory.open([{"w": torch.tensor([float(i), i % 2])} for i in range(5)])
            >>> path.principal(2).shares.round(2).tolist()
            [0.89, 0.11]
        """
        matrix = walks.centred(self.gram, centre)
        if components < 1:
            raise SpecError(f"components={components}; expected at least 1")
        total = float(np.trace(matrix))
        if not total > 0:
            raise SpecError("the path does not move: all its checkpoints are the same")
        values, vectors = np.linalg.eigh(matrix)
        kept = [i for i in range(len(values) - 1, -1, -1) if values[i] > 1e-12 * total][:components]
        weights = vectors[:, kept] / np.sqrt(values[kept])
        if centre == "last":
            weights[-1] = 0.0
        coordinates = self.gram @ weights
        # An eigenvector has no sign of its own: the path comes in from the positive side.
        turn = np.where(coordinates[0] < 0, -1.0, 1.0)
        return Principal(
            shares=values[kept] / total,
            variances=values[kept] / len(self),
            weights=weights * turn,
            coordinates=coordinates * turn,
            null=walks.null(
                self.step_lengths,
                self.dimension,
                runs=self.runs,
                starts=self._starts,
                centre=centre,
                components=len(kept),
                seed=seed,
            ),
            centre=centre,
        )

    def plot(self, ax: Any = None) -> Plot:
        """The explained variance of the path's components, beside that of a random walk.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        return self.principal().plot(ax)

    def directions(self, axes: Sequence[str] = ("x", "y"), *, centre: Centre = "mean") -> dict[str, ways.Direction]:
        """The first principal directions, by axis, each of length one; one pass over all checkpoints.

        Returns:
            Directions by axis, in the order of the variance they explain.

        Raises:
            SpecError: the path has fewer components than there are axes.
        """
        found = self._principal(centre, len(axes))
        weights = torch.from_numpy(np.ascontiguousarray(found.weights.T))
        made = {axis: {name: torch.empty(math.prod(shape)) for name, shape in self.shapes.items()} for axis in axes}
        for name, start, stop, block in streams.blocks(self._sources, self.shapes):
            block -= block[-1:].clone()
            for axis, row in zip(axes, weights @ block, strict=True):
                made[axis][name][start:stop] = row
        labels = found.labels(axes)
        return {
            axis: ways.Direction({name: t.reshape(self.shapes[name]) for name, t in d.items()}, labels[axis])
            for axis, d in made.items()
        }

    def _principal(self, centre: Centre, count: int) -> Principal:
        found = self.principal(count, centre=centre)
        if len(found.shares) < count:
            raise SpecError(
                f"axes: the path has {len(found.shares)} principal components, not {count}: its checkpoints lie on a "
                "line, or there are too few of them"
            )
        return found

    def plane(self, axes: Sequence[str] = ("x", "y"), *, centre: Centre = "mean") -> Plane:
        """The principal plane through the last checkpoint; its directions have length one.

        Args:
            axes: one, two or three names.
            centre: as for :meth:`principal`.

        Returns:
            The plane. Its labels give the explained variance beside that of a random walk.
        """
        return Plane(self.at(-1), self.directions(axes, centre=centre), Recipe(by="none"))

    def project(self, plane: Plane) -> Projected:
        """Where each checkpoint lies over a plane, for directions at any angle; one pass over all checkpoints.

        The nearest point is solved for with the Gram matrix of the directions, see :mod:`lossatlas.paths.projection`.

        Returns:
            Coordinates and distances of all checkpoints.

        Raises:
            SpecError: the plane belongs to another architecture.
        """
        for name in plane.moving:
            if name not in self.shapes:
                raise SpecError(f"plane: it moves {name!r}, which the path does not have; open it with tensors='all'")
        return project(self._sources, self.shapes, plane.origin, plane.directions)

    def losses(self, objective: Objective, plane: Plane) -> PathLosses:
        """Loss and metrics at every checkpoint, and at the nearest point of a plane: what the surface does not show.

        Each checkpoint is evaluated with the BatchNorm statistics that were kept with it; the points of the plane are
        evaluated as the objective says.

        Args:
            objective: what is measured.
            plane: over which the path lies, such as :meth:`plane`.

        Returns:
            Both values at each checkpoint, and how far it is from the plane.

        Raises:
            SpecError: the objective has another architecture.
        """
        return path_losses.measure(self, objective, plane)

    def contrast(self, *, seed: int = 0) -> Contrast:
        """What two random directions, Gaussian in all parameters, capture of the path.

        Args:
            seed: of the directions.

        Returns:
            Cosines and share, beside what is expected in this dimension.

        Raises:
            SpecError: the path ends where it began.
        """
        last: Parameters = self.at(-1)
        plane = Plane.random(last, seed=seed, by="none", still=())
        products = self.project(plane).coordinates @ plane.gram
        way = math.sqrt(self.gram[0, 0])
        if way == 0:
            raise SpecError("the path ends where it began, so there is no line from first to last")
        lengths = np.array(list(plane.lengths.values()))
        spread = np.cov(products.T, bias=True)
        share = np.trace(np.linalg.solve(plane.gram, spread)) / np.trace(walks.centred(self.gram, "mean")) * len(self)
        return Contrast(
            cosines=tuple((products[0] / lengths / way).tolist()),
            expected=math.sqrt(2 / (math.pi * self.dimension)),
            share=float(share),
            expected_share=len(plane.axes) / self.dimension,
        )


def _several(cls: type[Trajectory], runs: Mapping[str, Path], *, tensors: str, prefix: str) -> Trajectory:
    """One path of several runs: their checkpoints one after the other."""
    each = [cls.open(run, tensors=tensors, prefix=prefix) for run in runs.values()]
    if len(each) == 1:
        return each[0]
    made = cls(
        [source for one in each for source in one._sources],
        [checkpoint for one in each for checkpoint in one.checkpoints],
        list(each[-1].shapes),
    )
    made.runs, made.names = tuple(len(one) for one in each), tuple(runs)
    made.left_out = tuple(f"{run}/{name}" for run, one in zip(runs, each, strict=True) for name in one.left_out)
    return made


def _advice(found: Mapping[str, Tensor], places: Mapping[str, Tensor]) -> str:
    """What to do if a path's names are not the model's: the prefix, if one accounts for all that the model has."""
    longer = next((name for name in found if any(name.endswith(f".{place}") for place in places)), "")
    inner = next((place for place in places if longer.endswith(f".{place}")), "")
    prefix = longer.removesuffix(inner)
    named = {name.removeprefix(prefix): tensor.shape for name, tensor in found.items() if name.startswith(prefix)}
    if prefix and named and all(name in places and places[name].shape == shape for name, shape in named.items()):
        return f"without {prefix!r} its names are the model's: open it with prefix={prefix!r} (--prefix {prefix})"
    return "if its names have a prefix, open it with prefix=… (--prefix)"
