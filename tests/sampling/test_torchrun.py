"""Do the ranks of torchrun, in groups that evaluate a point together, give the values of one process?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.errors import SpecError
from lossatlas.sampling.workers.named import named
from lossatlas.sampling.workers.torchrun import Torchrun

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="a build without torch.distributed")

COMMON = '''
import os, sys
from pathlib import Path
import numpy as np, torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
import lossatlas as la
from lossatlas.errors import SpecError
torch.set_num_threads(1)

class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(4, 16), nn.Linear(16, 3, bias=False)
    def forward(self, x):
        return self.down(torch.relu(self.up(x)))

class Halves(Whole):
    """Each rank of a group computes its part of the wide layer, with all weights at hand."""
    def __init__(self, group):
        super().__init__()
        number, wide = dist.get_rank(group), 16 // dist.get_world_size(group)
        self.part, self.sum = slice(number * wide, (number + 1) * wide), lambda h: dist.all_reduce(h, group=group)
    def forward(self, x):
        wide = torch.relu(x @ self.up.weight[self.part].T + self.up.bias[self.part])
        h = wide @ self.down.weight[:, self.part].T
        self.sum(h)
        return h

class Own(Whole):
    """Each rank holds the weights of its part alone, as plain tensors."""
    def __init__(self, group):
        super().__init__()
        self.group, wide = {"group": group}, 16 // dist.get_world_size(group)
        part = slice(dist.get_rank(group) * wide, (dist.get_rank(group) + 1) * wide)
        self.up.weight, self.up.bias = nn.Parameter(self.up.weight[part]), nn.Parameter(self.up.bias[part])
        self.down.weight = nn.Parameter(self.down.weight[:, part])
    def forward(self, x):
        h = super().forward(x)
        dist.all_reduce(h, **self.group)
        return h
    def __deepcopy__(self, memo):
        twin = Whole()
        twin.__class__, twin.group = Own, self.group
        for name in ("up", "down"):
            setattr(twin, name, __import__("copy").deepcopy(getattr(self, name), memo))
        return twin

def asked(model, **how):
    g = torch.Generator().manual_seed(1)
    data = torch.randn(30, 4, generator=g), torch.randint(3, (30,), generator=g)
    objective = la.Objective(model, data, nn.functional.cross_entropy, **how)
    return objective, la.Plane.random(objective, seed=0)

def mesh(size):
    return init_device_mesh("cpu", (dist.get_world_size() // size, size), mesh_dim_names=("point", "model"))["model"]

GRID = la.Grid(x=(-1, 1, 7), y=(-1, 1, 5))
FOLDER = Path(sys.argv[1])
dist.init_process_group("gloo")
RANK = dist.get_rank()
'''

VALUES = (
    COMMON
    + """
def keep(name, found):
    if RANK == 0:
        np.save(FOLDER / f"{name}.npy", found["loss"].values)
    everywhere = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, found["loss"].values.tobytes())
    assert len(set(everywhere)) == 1

def spread(model):
    for layer in (model.up, model.down):
        fully_shard(layer, mesh=mesh(2))
    return fully_shard(model, mesh=mesh(2))

def parallel(model):
    return parallelize_module(model, mesh(2), {"up": ColwiseParallel(), "down": RowwiseParallel()})

keep("ones", la.sample(*asked(Whole()), GRID, executor="torchrun", run=FOLDER / "ones", block=4))
keep("again", la.sample(*asked(Whole()), GRID, executor="torchrun", run=FOLDER / "ones"))
keep("adaptive", la.sample(*asked(Whole()), la.Adaptive(x=(-1, 1, 17), y=(-1, 1, 17)), executor="torchrun"))
keep("halves", la.sample(*asked(Halves(mesh(2).get_group())), GRID, executor="torchrun:2", run=FOLDER / "halves"))
keep("fsdp", la.sample(*asked(spread(Whole()), in_place=True), GRID, executor="torchrun:2", run=FOLDER / "fsdp"))
keep("parallel", la.sample(*asked(parallel(Whole()), in_place=True), GRID, executor="torchrun:2"))

def refused(words, *question, **how):
    try:
        la.sample(*question, GRID, **how)
    except SpecError as refusal:
        assert words in str(refusal), refusal
        return
    raise AssertionError(f"not refused: {words}")

refused("reaches beyond its group", *asked(Halves(dist.group.WORLD)), executor="torchrun:2", block=4)
refused("spread over the ranks", *asked(spread(Whole()), in_place=True), executor="torchrun:1")
refused("asks something different from rank 0: model is", *asked(Own(mesh(2).get_group())), executor="torchrun:2")
refused("do not make groups of 3", *asked(Whole()), executor="torchrun:3")
refused("leave shard and samples out", *asked(Whole()), executor="torchrun", shard="1/2", run=FOLDER / "shards")
refused("leave shard and samples out", *asked(Whole()), executor="torchrun", samples="auto")
refused("only take the plan 'plain'", *asked(Whole()), executor="torchrun:2", plan="stacked")
refused("another plan on each rank", *asked(Whole()), executor="torchrun", plan="fastest")
from lossatlas.errors import RunMismatchError
try:
    la.sample(*asked(Whole()), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), executor="torchrun", run=FOLDER / "ones")
except RunMismatchError as refusal:
    assert "grid" in str(refusal)
else:
    raise AssertionError("another run was not refused")
print("done", flush=True)
dist.destroy_process_group()
"""
)

DIES = (
    COMMON
    + """
class Dies(Whole):
    seen = set()
    def forward(self, x):
        at = float(self.up.weight.detach().sum())
        self.seen.add(at)
        if RANK == 1 and len(self.seen) > int(sys.argv[2]):
            os._exit(9)
        return super().forward(x)
la.sample(*asked(Dies()), GRID, executor="torchrun", run=FOLDER / "run", block=2)
"""
)


MODEL = """
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

def model(group=2):
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    return fully_shard(net, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("point", "model"))["model"])

def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))

def data():
    g = torch.Generator().manual_seed(1)
    return torch.randn(30, 4, generator=g), torch.randint(3, (30,), generator=g)
"""


@pytest.mark.slow
def test_the_command_line_takes_ranks_and_speaks_once(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    how = ["--data", "net.py:data", "--x", "-1", "1", "5", "--y", "-1", "1", "5"]
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "-m", "--"]
    command = ["lossatlas", "sample", "--model", "net.py:model", *how, "--in-place", "--executor", "torchrun:2"]
    done = subprocess.run(
        [*ranks, *command, "--run", "runs/a", "--out", "a.png"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("drawn: a.png") == done.stdout.count("at the centre") == done.stderr.count("grid:") == 1
    told = CliRunner().invoke(atlas, ["sample", "--model", f"{tmp_path}/net.py:plain", "--data", f"{tmp_path}/net.py:data",
                                      *how[2:], "--run", str(tmp_path / "whole")])  # fmt: skip
    assert told.exit_code == 0, told.output
    np.testing.assert_allclose(la.open(tmp_path / "runs/a")["loss"], la.open(tmp_path / "whole")["loss"], rtol=1e-6)


def started(tmp_path: Path, text: str, *words: str, ranks: int) -> subprocess.CompletedProcess[str]:
    (tmp_path / "script.py").write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return subprocess.run(
        [*command, "script.py", str(tmp_path), *words], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )


def truth(sampler: object) -> np.ndarray:
    space: dict[str, object] = {}
    exec(COMMON[COMMON.index("class Whole") : COMMON.index("class Halves")], {"nn": nn, "torch": torch}, space)
    g = torch.Generator().manual_seed(1)
    data = torch.randn(30, 4, generator=g), torch.randint(3, (30,), generator=g)
    with torch.random.fork_rng():
        objective = la.Objective(space["Whole"](), data, F.cross_entropy)
    return la.sample(objective, la.Plane.random(objective, seed=0), sampler)["loss"].values


@pytest.mark.slow
def test_groups_of_ranks_give_the_values_of_one_process_and_wrong_groups_are_refused(tmp_path):
    done = started(tmp_path, VALUES, ranks=4)
    assert done.stdout.count("done") == 4, done.stderr[-4000:]
    grid, adaptive = (la.Grid(x=(-1, 1, 7), y=(-1, 1, 5)), la.Adaptive(x=(-1, 1, 17), y=(-1, 1, 17)))
    found = {path.stem: np.load(path) for path in tmp_path.glob("*.npy")}
    whole = truth(grid)
    for name in ("ones", "again"):
        assert found[name].tobytes() == whole.tobytes()
    assert found["adaptive"].tobytes() == truth(adaptive).tobytes()
    for name in ("halves", "fsdp", "parallel"):
        np.testing.assert_allclose(found[name], whole, rtol=1e-6)
    assert la.open(tmp_path / "fsdp")["loss"].values.tobytes() == found["fsdp"].tobytes()


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_its_points_are_safe_and_the_next_start_goes_on(tmp_path):
    done = started(tmp_path, DIES, "8", ranks=2)
    assert done.returncode != 0
    assert "Committed points are safe" in done.stderr or "exitcode  : 9" in done.stderr
    assert 0 < int((la.open(tmp_path / "run")["status"] == 1).sum()) < 35
    done = started(tmp_path, DIES, "1000", ranks=2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert la.open(tmp_path / "run")["loss"].values.tobytes() == truth(la.Grid(x=(-1, 1, 7), y=(-1, 1, 5))).tobytes()


def test_names_of_groups_are_understood_or_refused():
    assert named("torchrun:2") == Torchrun(2)
    for text, words in (("torchrun:x", "expected the ranks in a group"), ("torchrun:0", "at least one")):
        with pytest.raises(SpecError, match=words):
            named(text)


def test_without_torchrun_the_executor_says_how_to_start(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    objective = la.Objective(nn.Linear(4, 3), (torch.ones(4, 4), torch.zeros(4, dtype=torch.long)), F.cross_entropy)
    with pytest.raises(SpecError, match="not started by torchrun"):
        la.sample(objective, la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), executor="torchrun:2")
    with pytest.raises(SpecError, match="ranks cannot compute curvature together"):
        plane, grid = la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
        la.curvature_map(objective, plane, grid, executor="torchrun")
