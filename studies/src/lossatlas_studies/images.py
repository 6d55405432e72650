"""What studies on images have in common: settings, a row of numbers for each network, and how rows are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from lossatlas.field.ruggedness import over_seeds
from lossatlas.zoo.train import Augment, TrainRecipe
from lossatlas_studies.measures import percent, shape
from lossatlas_studies.networks import DATA, Case, Data, Look, extremes, load, surface
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Numbers

CLIP = 12.0
"""Loss above which pictures are cut off: far from anything that was trained."""

KINDS = {True: "residual", False: "plain"}
"""What networks with and without skip connections are called."""


@dataclass(frozen=True, kw_only=True)
class AbstractImages:
    """What can be set in every study that trains networks on images and measures planes around them."""

    data: str = about("digits", DATA)
    train_samples: int = work(1437, least=16, power=2, about="training samples, from the first on")
    seeds: int = work(3, least=2, about="networks of each kind: initial weights and order of samples")
    epochs: int = work(80, least=1, about="at most")
    lr: float = about(0.05, "first learning rate, a tenth after 50, 75 and 92 % of the epochs")
    batch_size: int = about(128, "samples in a batch")
    until: float = about(0.005, "training loss at which training stops; 0 never stops early")
    matched: float = about(0.02, "training loss above which a network counts as not trained")
    augment: Augment = about("none", "none, crop or crop-flip")
    planes: int = work(2, least=2, about="pairs of filter-normalised random directions for each network")
    points: int = work(21, least=3, power=0.5, about="along each axis of a landscape, from -1 to 1")
    samples: int = work(300, least=8, power=2, about="training samples behind each value")
    eigen_samples: int = work(300, least=4, power=2, about="training samples behind eigenvalues at a minimum")
    products: int = work(200, least=4, about="matrix-vector products at most for the eigenvalues at a minimum")

    @property
    def recipe(self) -> TrainRecipe:
        """How all networks are trained."""
        return TrainRecipe(
            epochs=self.epochs, lr=self.lr, until=self.until, batch_size=self.batch_size, augment=self.augment
        )

    @property
    def looks(self) -> tuple[Look, ...]:
        """How each network's landscape is measured."""
        return tuple(Look(points=self.points, samples=self.samples, seed=seed) for seed in range(self.planes))

    def load(self, device: str) -> Data:
        """The data."""
        return load(self.data, samples=self.train_samples, device=device)


PAPER: Mapping[str, Any] = {
    "data": "cifar10:data/cifar10", "train_samples": 50_000, "epochs": 300, "lr": 0.1, "until": 0.0, "matched": 0.1,
    "augment": "crop-flip", "planes": 3, "points": 51, "samples": 50_000,
    "eigen_samples": 5_000,
}  # fmt: skip
"""The paper's training on CIFAR-10 (batch 128, decay 5e-4, learning rate 0.1 that falls at epochs 150, 225 and 275)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known about one network.

    Attributes:
        label: what it is.
        of: its options: depth, width, skip, …
        seed: of its training.
        scores: of its training, see :class:`~lossatlas_studies.networks.Case`.
        bend: share of area that bends down, the mean over pairs of directions.
        bends: the same for each of them.
        valley: share of area with a loss below 1.
        spread: how far directions differ.
        low: smallest eigenvalue at the centre.
        high: largest eigenvalue.
        converged: whether both had converged.
        rugged: how rugged the landscapes are, by measure in words with an interval over pairs of directions.
        extra: what else a study wants to know about it, by name.
    """

    label: str
    of: Mapping[str, Any]
    seed: int
    scores: Mapping[str, Any]
    bend: float
    valley: float = 0.0
    bends: tuple[float, ...] = ()
    spread: float = 0.0
    low: float = 0.0
    high: float = 0.0
    converged: bool = True
    rugged: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """An option, a score or a measure by name."""
        for source in (self.of, self.scores, self.extra):
            if name in source:
                return source[name]
        return getattr(self, name)


def measured(bench: Bench, case: Case, data: Data, settings: AbstractImages) -> tuple[Row, list[xr.Dataset]]:
    """Measure a network: its landscapes and the extreme eigenvalues at its centre; nothing, if it diverged."""
    if case.diverged:
        return _nothing(case), []
    landscapes = [surface(bench, case, data, look) for look in settings.looks]
    form = shape(landscapes)
    found = extremes(bench, case, data, samples=settings.eigen_samples, most=settings.products)
    row = Row(
        label=case.net.label,
        of=dict(case.net.options),
        seed=case.net.seed,
        scores=dict(case.scores),
        bend=form.bend,
        bends=form.bends,
        valley=form.width,
        spread=form.spread,
        low=found["low"],
        high=found["high"],
        converged=found["converged"],
        rugged={name: spread.words for name, spread in over_seeds(landscapes).items()},
    )
    return row, landscapes


def _nothing(case: Case) -> Row:
    net, none = case.net, float("nan")
    return Row(
        label=net.label, of=dict(net.options), seed=net.seed, scores=dict(case.scores), bend=none, valley=none,
        spread=none, low=none, high=none, converged=False,
    )  # fmt: skip


def fair(rows: Sequence[Row], by: str, matched: float) -> tuple[list[Row], str]:
    """The rows whose block has no network that was not trained, and a sentence about those left out.

    Args:
        rows: all.
        by: the option that makes a block: "depth".
        matched: training loss above which a network counts as not trained.
    """
    lost = sorted({row[by] for row in rows if not row.scores["train_loss"] <= matched})
    said = "" if not lost else f" Left out, since a network there did not reach a training loss of {matched}: {by} "
    said += ", ".join(map(str, lost)) + "." if lost else ""
    own = [row for row in rows if row[by] not in lost]
    losses = [row.scores["train_loss"] for row in own]
    said += f" Training losses of those compared: {min(losses):.2g} to {max(losses):.2g}." if losses else ""
    return own, said


def settings_of(rows: Sequence[Row]) -> list[str]:
    """The setting of each network: everything but its seed. Networks of one setting are not independent."""
    return [repr(sorted(row.of.items())) for row in rows]


def learned(rows: Sequence[Row], matched: float) -> tuple[list[Row], str]:
    """The rows whose network was trained, and a sentence about those left out.

    Args:
        rows: all.
        matched: training loss above which a network counts as not trained.
    """
    own = [row for row in rows if row.scores["train_loss"] <= matched]
    lost = [f"{row.label}, seed {row.seed}" for row in rows if not row.scores["train_loss"] <= matched]
    return own, f" Left out, not trained to a loss of {matched:g}: {'; '.join(lost)}." if lost else ""


def grouped(rows: Sequence[Row], by: str, what: str, **chosen: Any) -> dict[Any, list[float]]:
    """A measure by block, of the rows with the chosen options."""
    blocks = sorted({row[by] for row in rows})
    own = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
    return {block: [float(row[what]) for row in own if row[by] == block] for block in blocks}


def networks_table(rows: Sequence[Row], matched: float = math.inf) -> Numbers:
    """All that is known about each network; those with a training loss above ``matched`` are marked."""
    return Numbers(
        name="networks",
        rows=[_table_row(row, matched) for row in rows],
        note="Bends down: mean over pairs of directions (each). The next three are 0 for every convex loss: what falls "
        "after a rise along rays from the centre, the area behind a ridge, inner minima that a ridge separates from a "
        "lower point, with Student's 95 % interval over pairs of directions. Valley: area with loss below 1. Spread: "
        "median over cells of the standard deviation of the loss over directions, relative to its mean. λ: extreme "
        "eigenvalues of the Hessian at the centre; a star marks those that had not converged.",
    )


def _table_row(row: Row, matched: float) -> dict[str, str]:
    missed = "" if row.scores["train_loss"] <= matched else " (missed)"
    star = "" if row.converged else " *"
    return {
        "network": f"{row.label}, seed {row.seed}",
        "epochs": str(row.scores["epochs"]),
        "training loss": f"{row.scores['train_loss']:.4f}{missed}",
        "test error": percent(row.scores["test_error"]),
        "bends down": f"{percent(row.bend)} ({', '.join(percent(share) for share in row.bends)})",
        "falls after a rise": row.rugged.get("descent", "not known"),
        "behind a ridge": row.rugged.get("behind", "not known"),
        "minima besides lowest": row.rugged.get("minima", "not known"),
        "valley": percent(row.valley),
        "spread": f"{row.spread:.2f}",
        "λmin": f"{row.low:.3g}{star}",
        "λmax": f"{row.high:.3g}{star}",
    }


SLICES = (
    "The share that bends down counts cells where the inequality of convex functions is violated by more than "
    "rounding explains: it compares networks at one grid spacing, and proves nothing if it is zero."
)

CAVEATS = (
    "Directions are filter-normalised; biases and normalisation layers do not move; BatchNorm statistics are frozen, "
    "all as in the paper. Each network is one unit of the tests; its pairs of directions are averaged first, since "
    "they are not independent of each other.",
    "If the settings say so, training stops at the same loss for all networks that reach it, so that minima of equal "
    "height are compared; in the paper all networks were trained for the same number of epochs.",
    "Eigenvalues are those of the Hessian that derivatives see; at the kinks of ReLU they miss what a slice shows.",
)
