"""Does every warning point to the caller's own line?"""

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import warned
from lossatlas.paths.callbacks import QuickLine
from lossatlas.paths.edge import Edge

SOURCE = Path(warned.__file__).parent


class Anew:
    """Data that is augmented: another draw at each pass."""

    def __iter__(self):
        yield torch.randn(6, 4), torch.arange(6) % 3


def net(*, norm=False, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), *([nn.BatchNorm1d(3, **options)] if norm else [])).eval()


def data(rows=12):
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(0)), torch.arange(rows) % 3


def spread(outputs, targets):
    return F.cross_entropy(outputs, targets) + outputs.std()


def sampled(tmp_path):
    objective = la.Objective(net(), Anew(), F.cross_entropy)
    la.sample(objective, la.Plane.random(objective, seed=0, axes=("x",)), la.Grid(x=(0, 1, 3)), progress=False)


def curved(tmp_path):
    la.eigenvalues(la.Objective(net(), data(), spread, batch_size=4), k=1)


def cut(tmp_path):
    la.Objective(net(norm=True, track_running_stats=False), data(), F.cross_entropy, batch_size=4)()


def connected(tmp_path):
    la.connect(la.Objective(net(norm=True), data(), F.cross_entropy), net(norm=True), net(norm=True), steps=3)


def coloured(tmp_path):
    values = np.add.outer(np.arange(4.0), np.arange(4.0))
    la.draw(la.landscape(x=np.arange(4.0), y=np.arange(4.0), loss=values), tmp_path / "a.png", colours="jet")


def recorded(tmp_path):
    for _ in range(2):
        la.Recorder(tmp_path / "path", overwrite=True).step(net())


def opened(tmp_path):
    for name in ("epoch_0", "epoch_1", "best"):
        torch.save(net().state_dict(), tmp_path / f"{name}.pt")
    la.Trajectory.open(tmp_path)


def renamed(tmp_path):
    objective = la.Objective(net(), data(), F.cross_entropy)
    grid = la.Grid(x=(0, 1, 3), y=(0, 1, 3))
    la.sample_subset(objective, la.Plane.random(objective, seed=0), grid, samples=4)


@pytest.mark.parametrize(
    "case",
    [sampled, curved, cut, connected, coloured, recorded, opened, renamed],
    ids=lambda c: c.__name__,
)
def test_a_warning_points_to_the_line_that_called_the_package(case, tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            case(tmp_path)
        except (la.SpecError, TypeError):
            assert told, "it stopped before it warned"
    assert told
    assert {one.filename for one in told} == {__file__}
    lines = Path(__file__).read_text().splitlines()
    assert all("la." in lines[one.lineno - 1] for one in told)


def test_the_frames_of_decorators_and_of_a_with_are_passed_over():
    @functools.cache
    @torch.no_grad()
    def made():
        warned.warn("a word")

    with pytest.warns(UserWarning, match="a word") as told:
        made()
    assert told[0].filename == __file__


@pytest.mark.parametrize("look", ["line", "edge"])
def test_what_is_looked_at_again_at_every_epoch_is_warned_of_once(look):
    told = {"data": Anew(), "loss": spread, "options": {"batch_size": 3}}
    line, edge = QuickLine(points=3, **told), Edge(**told)
    model = net()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            line.sample(model) if look == "line" else edge.step(model, 0.1)
    words = [str(one.message) for one in said]
    assert words
    assert len(set(words)) == len(words)


def test_all_warnings_of_the_package_say_where_they_come_from():
    loose = [path for path in SOURCE.rglob("*.py") if "warnings.warn(" in path.read_text() and path.name != "warned.py"]
    assert loose == []
