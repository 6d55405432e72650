"""Is a model the network inside, whatever runs it: names, seeds, values?"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.objective.wrappers import plain_names, unwrapped

GRID = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 3))


def data():
    torch.manual_seed(1)
    return torch.randn(20, 4), torch.randint(0, 3, (20,))


def picture(model, **options):
    objective = la.Objective(model, data(), loss=F.cross_entropy)
    plane = la.Plane.random(objective, seed=0, **options)
    return la.sample(objective, plane, GRID, progress=False).loss.values


def inner_compiled():
    model = net()
    model[2] = torch.compile(model[2], backend="eager")
    return model


def inner_parallel():
    model = net()
    model[2] = nn.DataParallel(model[2])
    return model


def in_place_compiled():
    model = net()
    model.compile(backend="eager")
    return model


def fabric():
    from lightning.fabric.wrappers import _FabricModule

    class Strategy:
        precision = type("Precision", (), {"precision": "32-true"})()

    return _FabricModule(net(), Strategy())


WRAPPED = {
    "data parallel": lambda: nn.DataParallel(net()),
    "compiled": lambda: torch.compile(net(), backend="eager"),
    "compiled in place": in_place_compiled,
    "compiled in parallel": lambda: torch.compile(nn.DataParallel(net()), backend="eager"),
    "average of weights": lambda: torch.optim.swa_utils.AveragedModel(net()),
    "fabric": fabric,
    "a part is compiled": inner_compiled,
    "a part is in parallel": inner_parallel,
}


@pytest.mark.parametrize("case", WRAPPED)
def test_the_same_network_gives_the_same_picture_whoever_runs_it(case):
    expected = picture(net())
    wrapped = WRAPPED[case]()
    assert (picture(wrapped) == expected).all()
    assert (picture(wrapped, stored=False) == picture(net(), stored=False)).all()


@pytest.mark.parametrize("case", [case for case in WRAPPED if not case.startswith("a part")])
def test_planes_of_a_wrapped_model_fit_the_objective_of_the_plain_one(case):
    plain, wrapped = net(), WRAPPED[case]()
    plane = la.Plane.random(wrapped, seed=3)
    objective = la.Objective(plain, data(), loss=F.cross_entropy)
    assert objective(plane.at({"x": 0.5})) == objective(la.Plane.random(objective, seed=3).at({"x": 0.5}))
    other = copy.deepcopy(plain)
    with torch.no_grad():
        other[0].weight.add_(1)
    assert la.Plane.towards(wrapped, nn.DataParallel(other)).lengths["x"] == pytest.approx(32**0.5)
    assert list(la.filters.table(wrapped)) == list(la.filters.table(plain))


def test_a_model_in_ddp_is_the_network_inside(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        assert (picture(nn.parallel.DistributedDataParallel(net())) == picture(net())).all()
        flat = torch.distributed.fsdp.FullyShardedDataParallel(net(), device_id=torch.device("cpu"))
        with pytest.raises(
            la.SpecError, match="flat shards, in which filters are torn apart; give the network as it was before"
        ):
            la.Objective(flat, data(), loss=F.cross_entropy)
    finally:
        dist.destroy_process_group()


def test_fabric_in_mixed_precision_says_what_is_measured():
    wrapped = fabric()
    wrapped._strategy.precision.precision = "bf16-mixed"
    with pytest.warns(UserWarning, match="Fabric runs it under bf16-mixed"):
        assert isinstance(unwrapped(wrapped), nn.Sequential)


def test_a_layer_of_the_users_own_that_is_called_module_keeps_its_name():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    assert plain_names(Own()) == {"module.weight": "module.weight", "module.bias": "module.bias"}


def test_lazy_modules_that_saw_no_batch_are_refused_in_one_sentence():
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(3))
    with pytest.raises(la.SpecError, match=r"8 tensors do not exist yet \(first '0.weight'\).*call the model once"):
        la.Objective(model, data(), loss=F.cross_entropy)
    model(data()[0])
    assert picture(model).shape == (3, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", [False, True])
def test_torchscript_is_refused_with_what_to_do_instead(part, tmp_path):
    scripted = torch.jit.trace(net(), torch.ones(2, 4))
    model = nn.Sequential(scripted) if part else scripted
    with pytest.raises(SpecError, match="its part '0' is TorchScript" if part else "model is TorchScript"):
        la.Objective(model, data(), loss=F.cross_entropy)
    scripted.save(tmp_path / "scripted.pt")
    with pytest.raises(SpecError, match="is TorchScript, which is code"):
        la.load_checkpoint(net(), tmp_path / "scripted.pt")


@pytest.mark.parametrize(
    "fault", [AssertionError("no deepcopy here"), NotImplementedError(), KeyError("x"), TypeError("locked")]
)
def test_a_model_that_refuses_to_be_copied_is_measured_itself(fault):
    class Sharded(nn.Linear):
        def __deepcopy__(self, memo):
            raise fault

    torch.manual_seed(0)
    model = Sharded(4, 3)
    with pytest.raises(SpecError, match=r"model Sharded cannot be copied .*in_place=True \(--in-place\)"):
        la.Objective(model, data(), loss=F.cross_entropy)()
    plain = nn.Linear(4, 3)
    plain.load_state_dict(model.state_dict())
    ours, theirs = (
        la.Objective(m, data(), loss=F.cross_entropy, in_place=m is model)()["loss"] for m in (model, plain)
    )
    assert ours == theirs
