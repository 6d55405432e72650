"""Does every result that has a picture say in plain sentences what was found?"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.connect import connections
from lossatlas.connect.curve import Training
from lossatlas.figure.parts import Number
from lossatlas.figure.stored import Numbers, Section
from lossatlas.figure.words import with_error
from lossatlas.flatness.profile import profile
from lossatlas.paths.edge import Edge


def line(slope: float = 1.0) -> la.Objective:
    """(slope · w)², whose second derivative is 2 slope²."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, 1.0)
    return la.Objective(net, (torch.full((4, 1), slope).double(), torch.zeros(4, 1).double()), F.mse_loss)


def test_what_can_be_drawn_can_be_said() -> None:
    silent = []
    for module in pkgutil.walk_packages(la.__path__, "lossatlas."):
        if module.name.endswith(("__main__", ".widget")) or ".cli" in module.name:
            continue
        for name, kind in vars(importlib.import_module(module.name)).items():
            if not inspect.isclass(kind) or kind.__module__ != module.name:
                continue
            drawn = getattr(getattr(kind, "plot", None), "__annotations__", {}).get("return") == "Plot"
            if drawn and not (hasattr(kind, "words") or "words" in inspect.get_annotations(kind)):
                silent.append(f"{module.name}.{name}")
    assert silent == []


def test_a_measure_says_its_value_with_its_spread() -> None:
    found = la.sharpness.measure("trace", line())
    assert found.words.startswith(f"{found.definition.title}: {with_error(found.value, found.spread)}")
    assert found.plot().caption[0] == found.words
    assert found.plot().title == found.definition.title


def test_a_profile_says_where_the_loss_rises() -> None:
    found = profile(line(), rate=0.5)
    assert found.words == "2/ηc = 2 along the gradient; 2/η = 4."
    assert found.plot().caption[0] == found.words


def test_the_edge_says_what_it_saw_last() -> None:
    data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    edge = Edge(data=data, loss=F.mse_loss)
    assert edge.words == "0 looks along the gradient."
    net = line().model
    edge.step(net, torch.optim.SGD(net.parameters(), lr=0.5))
    assert edge.words == "1 look along the gradient; at step 0 critical sharpness 2, 2/η 4."
    assert edge.words in edge.plot().caption


def test_a_path_says_how_long_it_is() -> None:
    path = la.Trajectory.open([{"w": torch.tensor([float(i), i % 2])} for i in range(5)])
    assert path.words == "5 checkpoints, step 0 to 4, 2 parameters"
    assert path.words in repr(path)


def test_ways_say_their_barriers(tmp_path) -> None:
    torch.manual_seed(0)
    ends = [nn.Linear(3, 2) for _ in range(2)]
    data = torch.randn(12, 3), torch.randint(2, (12,))
    objective = la.Objective(ends[0], data, F.cross_entropy)
    found = la.connect(objective, *ends, steps=3, training=Training(epochs=1), run=tmp_path / "ways")
    words = connections.opened(tmp_path / "ways").words
    assert words == f"Straight line: {found.line_barrier.words}. Trained Bézier curve: {found.barrier.words}."


def test_numbers_say_what_they_are() -> None:
    plot = la.sharpness.measure("trace", line()).plot()
    ends = Section(
        about="A Hessian.", plot=plot, numbers=[Number("λmin", -0.5, "a bound"), Number("trace", "3 ± 1", "")]
    )
    rows = Section(about="Blocks.", plot=plot, rows=[{"block": "a", "λmax": 1.0}])
    alone = Section(about="A density.", plot=plot)
    found = Numbers(title="Curvature of MLP", sections={"ends": ends, "by layer": rows, "density": alone})
    assert found.words == "Curvature of MLP. Ends: λmin −0.5, trace 3 ± 1. By layer: 1 row. A density."
