"""One picture of every kind, of known numbers: what is drawn, and how it is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lossatlas as la
from lossatlas.curvature.density import Density
from lossatlas.curvature.subject import Subject
from lossatlas.figure.overlays import Points
from lossatlas.flatness.ranking import correlation
from lossatlas.flatness.result import Sharpness
from lossatlas.flatness.table import Table
from lossatlas.paths.findings import Checkpoint, PathLosses, Principal, Projected
from lossatlas.paths.walks import Null
from lossatlas.results.landscape import About, Axis, build
from lossatlas.results.quantities import mark

__all__ = ["SPECIMENS", "Specimen"]

Specimen = tuple[Any, dict[str, Any]]

X, Y = np.linspace(-1, 1, 25), np.linspace(-0.6, 1.0, 17)


def field(name: str, bend: float = 1.0, *, curvature: bool = False) -> Any:
    """A crooked valley with one bump: no mirror image and no exchange of axes is the same."""
    x, y = X[:, None], Y[None, :]
    valley = 0.05 + 3 * (y - 0.5 * bend * x**2) ** 2 + 0.6 * (x - 0.3) ** 2
    values = valley + 0.8 * np.exp(-((x + 0.6) ** 2 + (y - 0.6) ** 2) / 0.03)
    axes = {
        "x": Axis(coordinates=X, length=2.0, label="random direction (seed 0)"),
        "y": Axis(coordinates=Y, length=31.0, label="random direction (seed 1)"),
    }
    about = About(title=name, model=name, data=name, samples=50000, seed=3, batchnorm="frozen", loss="cross_entropy")
    beside = {"ratio": values / 40} if curvature else {"error": np.clip(values / 6, 0, 1)}
    return build(axes, {"loss": values, **beside}, about=about)


def contour(name: str) -> Specimen:
    """A map of lines."""
    return field(name), {"kind": "contour", "clip": 3.0}


def filled(name: str) -> Specimen:
    """A map of bands, with names upon it, two of them in one place."""
    at = Points(x=[0.3, 0.32, -0.8, 0.9], y=[0.02, 0.0, 0.9, 2.0], words=[name, f"{name} 2", "c (0.4 off)", "far"])
    return field(name), {"kind": "filled", "overlays": [at]}


def heat(name: str) -> Specimen:
    """A heat map with a hole."""
    found = field(name)
    found["loss"].values[3:6, 10:14] = np.nan
    found["status"].values[3:6, 10:14] = 2
    return found, {"kind": "heat"}


def relief(name: str) -> Specimen:
    """A surface cut at the clip."""
    return field(name), {"kind": "surface", "clip": 2.5}


def marked_relief(name: str) -> Specimen:
    """A surface with a path and names upon it, two of them in one place, one outside."""
    source, view = filled(name)
    way = losses(name).overlay(name)
    return source, {**view, "kind": "surface", "overlays": [way, *view["overlays"]]}


def line(name: str) -> Specimen:
    """Loss and error along one direction."""
    found = field(name).isel(y=4)
    return found, {}


def interpolation(name: str) -> Specimen:
    """From one network to another."""
    t = np.linspace(-0.3, 1.3, 33)
    loss = 0.1 + 0.9 * t**2 + 20 * t**2 * np.clip(1 - t, 0, None) ** 3
    axis = Axis(coordinates=t, length=8.0, label=f"from {name} (0) to B (1)")
    return build({"t": axis}, {"loss": loss, "error": loss / 8}, about=About(title=name, samples=100)), {}


def seeds(name: str) -> Specimen:
    """Five runs of one model as a band, beside those of another."""
    runs = [field(name, bend).isel(y=4) for bend in (0.6, 0.8, 1.0, 1.2, 1.4)]
    return [*runs, *(field(f"{name} plain", bend).isel(y=9) for bend in (0.7, 1.3))], {}


def several(name: str) -> Specimen:
    """A figure of several panels."""
    return [field(name), field("straight", 0.0)], {"kind": "contour", "letters": True, "clip": 3.0}


def ratio_map(name: str) -> Specimen:
    """Curvature at every point."""
    found = field(name, curvature=True)
    mark(found, {})
    return found, {"value": "ratio"}


def density(name: str) -> Specimen:
    """A bulk at zero and three outliers."""
    at, width = np.linspace(-2, 12, 400), 0.15
    places, weights = np.array([-0.9, 0.0, 4.0, 7.5, 11.0]), np.array([0.02, 0.95, 0.01, 0.01, 0.01])
    bells = np.exp(-((at[:, None] - places) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))
    found = bells @ weights
    subject = Subject(words=f"Hessian of {name}", kind="hessian", tensors="all", size=100, samples=500)
    return Density(
        eigenvalues=at, density=found, standard_error=0.2 * found, width=width, nodes=places, weights=weights, probes=5,
        subject=subject,
    ), {}  # fmt: skip


def losses(name: str) -> PathLosses:
    """A run that comes down the valley, with three falls of its learning rate close to each other."""
    count = 16
    share = np.linspace(0, 1, count)
    x = -0.85 + 1.15 * share**0.6
    places = np.column_stack([x, 0.5 * x**2 + 0.25 * (1 - share) * np.cos(9 * share)])
    loss = 0.05 + 3 * (places[:, 1] - 0.5 * x**2) ** 2 + 0.6 * (x - 0.3) ** 2
    rates = np.repeat([0.1, 0.01, 1e-3, 1e-4], (9, 2, 2, count - 13)).tolist()
    return PathLosses(
        checkpoints=[
            Checkpoint(step=10 * i, epoch=float(i), loss=1.1 * loss[i], lr=rates[i], notes={"run": name})
            for i in range(count)
        ],
        projected=Projected(
            axes=("x", "y"),
            coordinates=places,
            residual=0.4 * np.sin(np.pi * share),
            distance=np.linalg.norm(places, axis=1),
        ),
        own={"loss": loss},
        surface={"loss": loss * (1 + np.sin(np.pi * share))},
    )


def path(name: str) -> Specimen:
    """A training run on its surface."""
    return field(name), {"kind": "filled", "overlays": [losses(name).overlay(name)]}


def path_losses(name: str) -> Specimen:
    """What the surface shows of a run."""
    return losses(name), {}


def trajectory(name: str) -> Specimen:
    """The variance of a path beside that of a random walk."""
    share, null = np.array([0.81, 0.12, 0.04, 0.02]), np.array([0.61, 0.15, 0.07, 0.04])
    walk = Null(shares=null, low=0.9 * null, high=1.1 * null, draws=200, dimension=1000)
    return Principal(
        shares=share, variances=share, weights=np.zeros((16, 4)), coordinates=np.zeros((16, 4)), null=walk,
        centre="mean",
    ), {}  # fmt: skip


def tree(name: str) -> Specimen:
    """Minima and passes of a field of several basins."""
    x, y = X[:, None], Y[None, :]
    wavy = 1.2 + np.cos(7 * x) * np.sin(6 * y + 1) + 0.3 * x + 0.2 * y
    return la.topology(la.landscape(x=X, y=Y, loss=wavy, title=name)), {}


def measures(name: str, models: int, *, against: bool) -> Specimen:
    """A table of flatness."""
    names = tuple(f"{name} {index}" if index else name for index in range(models))
    values = {"sam": 0.1 + 0.07 * np.arange(models) ** 1.5, "fisher_rao": 3.0 + np.sin(2.0 * np.arange(models))}
    errors = {one: 0.02 + 0.004 * index for index, one in enumerate(names)} if against else {}
    results = {
        measure: tuple(
            Sharpness(
                measure=measure, value=float(value), spread=0.05 * float(value), spread_is="standard error",
                settings={}, evaluations=2.0, gradients=1.0,
            )
            for value in column
        )
        for measure, column in values.items()
    }  # fmt: skip
    return Table(
        models=names,
        results=results,
        against=errors,
        against_name="test error",
        correlations={m: correlation(values[m], list(errors.values())) for m in values} if against else {},
    ), {}


def scatter(name: str) -> Specimen:
    """Flatness against test error."""
    return measures(name, 9, against=True)


def bars(name: str) -> Specimen:
    """Flatness of three models."""
    return measures(name, 3, against=False)


SPECIMENS: dict[str, Callable[[str], Specimen]] = {
    "contour": contour,
    "filled": filled,
    "heat": heat,
    "relief": relief,
    "marked relief": marked_relief,
    "line": line,
    "interpolation": interpolation,
    "seeds": seeds,
    "several": several,
    "ratio map": ratio_map,
    "density": density,
    "path": path,
    "path losses": path_losses,
    "trajectory": trajectory,
    "tree": tree,
    "scatter": scatter,
    "bars": bars,
}
