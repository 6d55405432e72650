"""Is a model that is moved in place measured rightly, put back bit for bit, and does it take no more memory?

Method of the memory tests: a fresh process for each measurement, and in it the peak of its anonymous resident memory
(``RssAnon`` in ``/proc/self/status``, read every few milliseconds by a thread) and the peak resident set (``VmHWM``).
Python's ``tracemalloc`` does not see tensors. The pages of the temporary file that the system keeps in its cache belong
to no process and count in neither.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.language import Forward, cross_entropy
from lossatlas.space import recipes
from lossatlas.space.directions import Seeded


def decoder(dtype=torch.float32, **options):
    return la.zoo.model("decoder", seed=0, vocabulary=64, dim=32, **options).to(dtype)


def tokens(n=6):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(64, (n, 9), generator=generator) for _ in range(2))


def snapshot(model):
    return [(t.clone(), t.requires_grad) for t in (*model.parameters(), *model.buffers())], [
        m.training for m in model.modules()
    ]


def assert_same(before, model):
    (tensors, modes), (now, now_modes) = before, snapshot(model)
    assert modes == now_modes
    for (a, grad), (b, now_grad) in zip(tensors, now, strict=True):
        assert grad == now_grad
        assert torch.equal(a.view(torch.uint8), b.view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_model_moved_in_place_gives_the_surface_of_a_private_copy(dtype):
    model = decoder(dtype)
    before = snapshot(model)
    found = {}
    for in_place in (False, True):
        objective = la.Objective(model, tokens(), loss=cross_entropy, in_place=in_place)
        plane = la.Plane.random(objective, seed=3, stored=not in_place)
        found[in_place] = la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), plan="plain")
        assert_same(before, model)
    np.testing.assert_allclose(
        found[True]["loss"], found[False]["loss"], rtol=2e-6 if dtype != torch.bfloat16 else 2e-3
    )
    for axis in "xy":
        np.testing.assert_allclose(found[True][f"{axis}_length"], found[False][f"{axis}_length"], rtol=1e-6)


def test_weights_in_a_short_format_are_moved_in_float32_and_rounded_once():
    model = decoder(torch.bfloat16)
    objective = la.Objective(model, tokens(), loss=cross_entropy, in_place=True)
    plane = la.Plane.random(objective, seed=0, stored=False)
    exact = {
        name: objective.origin[name].double() + 0.3 * plane.directions["x"][name].double()
        - 0.7 * plane.directions["y"][name].double()
        for name in plane.moving
    }  # fmt: skip
    from lossatlas.evaluate.streaming import Streamed

    way = Streamed(objective, plane)
    try:
        way.move([0.3, -0.7])
        for name, tensor in exact.items():
            gap = (dict(model.named_parameters())[name].double() - tensor).abs()
            assert bool((gap <= 2**-8 * 1.001 * tensor.abs()).all())  # half a unit in the last of eight binary digits
    finally:
        way.close()


def test_the_copy_of_the_weights_goes_from_the_disk_when_the_way_is_closed(tmp_path, monkeypatch):
    from lossatlas.evaluate.streaming import Streamed

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    objective = la.Objective(decoder(), tokens(), loss=cross_entropy, in_place=True)
    way = Streamed(objective, la.Plane.random(objective, seed=0, stored=False))
    assert len(list(tmp_path.iterdir())) == 1
    way.close()
    assert not list(tmp_path.iterdir())


def test_the_model_is_put_back_after_an_exception():
    model = decoder()
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) > 6:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    objective = la.Objective(model, tokens(), loss=loss, in_place=True)
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        la.sample(objective, la.Plane.random(objective, axes=("x",), stored=False), la.Grid(x=(-1, 1, 9)))
    assert_same(before, model)
    assert len(calls) > 6


NETWORKS = {
    "decoder": dict(vocabulary=64, dim=32, kv_heads=2),
    "lstm": {},
    "encoder": dict(vocabulary=64, dim=32),
    "resnet20": dict(width=4),
    "residual_mlp": {},
}


@pytest.mark.parametrize("by", ["filter", "layer", "none", "unit-filter"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_recipe_makes_the_numbers_of_the_stored_direction(name, by):
    model = la.zoo.model(name, seed=0, **NETWORKS[name])
    recipe, stored = Seeded(model, seed=5, stream="y", by=by), la.directions.random(model, seed=5, stream="y", by=by)
    assert list(recipe) == list(stored)
    for key, tensor in stored.items():
        torch.testing.assert_close(recipe[key], tensor, rtol=2e-7, atol=0)


@pytest.mark.parametrize("shape", [(37, 50), (64, 17), (300, 3), (333, 1), (5,)])
def test_a_tensor_made_in_pieces_is_the_tensor_made_at_once(shape, monkeypatch):
    origin = {"w": torch.randn(shape, generator=torch.Generator().manual_seed(0))}
    whole = Seeded(origin, seed=1, still=())["w"]
    monkeypatch.setattr(recipes, "PIECE", 100)
    pieces = Seeded(origin, seed=1, still=())
    assert len(shape) == 1 or len(pieces.ranges("w")) > 1
    torch.testing.assert_close(pieces["w"], whole, rtol=2e-7, atol=0)


def test_inner_products_of_recipes_are_those_of_their_tensors(monkeypatch):
    monkeypatch.setattr(recipes, "PIECE", 200)
    model = decoder()
    plane = la.Plane.random(model, seed=0, axes=("x", "y", "z"), stored=False)
    stored = [{name: tensor.double() for name, tensor in d.items()} for d in plane.directions.values()]
    truth = [[sum(float((a[n] * b[n]).sum()) for n in a) for b in stored] for a in stored]
    np.testing.assert_allclose(plane.gram, truth, rtol=1e-9, atol=1e-9)


def test_large_models_get_recipes_unasked(monkeypatch):
    from lossatlas.space import charts

    assert isinstance(la.Plane.random(decoder()).directions["x"], dict)
    monkeypatch.setattr(charts, "STORED", 1000)
    assert isinstance(la.Plane.random(decoder()).directions["x"], Seeded)


def test_a_run_of_recipes_keeps_the_recipe_and_resumes(tmp_path):
    model = decoder()
    objective = la.Objective(model, tokens(), loss=cross_entropy, in_place=True)
    plane, grid = la.Plane.random(objective, axes=("x",), stored=False), la.Grid(x=(-1, 1, 3))
    first = la.sample(objective, plane, grid, run=tmp_path / "run")
    assert "random 0/x by filter" in (tmp_path / "run" / "directions.json").read_text()
    again = la.sample(objective, la.Plane.random(objective, axes=("x",), stored=False), grid, run=tmp_path / "run")
    np.testing.assert_array_equal(first["loss"], again["loss"])
    other = la.Plane.random(objective, axes=("x",), stored=False, seed=1)
    with pytest.raises(la.RunMismatchError, match="plane"):
        la.sample(objective, other, grid, run=tmp_path / "run")


def test_directions_on_disk_stream_too(tmp_path):
    model, other = decoder(), decoder()
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.add_(0.01)
    from lossatlas.space.planefile import Stored, save_directions

    objective = la.Objective(model, tokens(), loss=cross_entropy, in_place=True)
    plane = la.Plane.towards(objective, other, axes=("x",))
    path = save_directions(plane, tmp_path / "d.safetensors")
    streamed = la.Plane(objective.origin, {"x": Stored(path, "x")})
    landscape = la.sample(objective, streamed, la.Grid(x=(0, 1, 2)))
    truth = la.Objective(other, tokens(), loss=cross_entropy)()["loss"]
    assert float(landscape["loss"].sel(x=1)) == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batchnorm": "recalibrated"}, "only 'frozen' leaves the model's buffers alone"),
    ],
)
def test_what_in_place_cannot_do_is_refused(options, message):
    with pytest.raises(SpecError, match=message):
        la.Objective(decoder(), tokens(), loss=cross_entropy, in_place=True, **options)
    objective = la.Objective(decoder(), tokens(), loss=cross_entropy, in_place=True)
    plane = la.Plane.random(objective, axes=("x",))
    with pytest.raises(SpecError, match="allows only the plan 'plain'"):
        la.sample(objective, plane, la.Grid(x=(-1, 1, 3)), plan="graph")
    with pytest.raises(SpecError, match="only around the model's own weights"):
        la.sample(objective, la.Plane.random(decoder(), axes=("x",)), la.Grid(x=(-1, 1, 3)))
    with pytest.raises(SpecError, match="puts the weights back"):
        la.sample(
            objective, la.Plane.random(objective), la.Grid(x=(-1, 1, 15), y=(-1, 1, 15)), samples=la.Subset(size=3)
        )


def test_a_model_that_is_not_in_memory_is_refused():
    with torch.device("meta"):
        model = la.zoo.model("decoder")
    with pytest.raises(SpecError, match="is not in memory"):
        la.Objective(model, tokens(), loss=cross_entropy, in_place=True)


def llama(**options):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        vocab_size=64, max_position_embeddings=32, **options,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def test_a_model_spread_by_device_map_is_scanned_where_it_lies():
    accelerate = pytest.importorskip("accelerate")
    model = llama()
    grid = la.Grid(x=(-1, 1, 3))
    plain = la.Objective(model, tokens(), loss=cross_entropy, forward=Forward())
    truth = la.sample(plain, la.Plane.random(plain, axes=("x",)), grid)
    names = [name for name, _ in model.model.named_children()]
    spread = accelerate.dispatch_model(
        model, {"lm_head": "cpu", **{f"model.{name}": "cpu" for name in names}}, main_device="cpu", force_hooks=True
    )
    assert spread.hf_device_map
    before = snapshot(spread)
    objective = la.Objective(spread, tokens(), loss=cross_entropy, forward=Forward(), in_place=True)
    found = la.sample(objective, la.Plane.random(objective, axes=("x",), stored=False), grid)
    np.testing.assert_allclose(found["loss"], truth["loss"], rtol=2e-6)
    assert_same(before, spread)


DISTRIBUTED = """
import sys, numpy as np, torch, lossatlas as la
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from lossatlas.objective.language import cross_entropy
torch.set_num_threads(1)
rank, count, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
mesh = init_device_mesh("cpu", (count,))

def fsdp(model):
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)

def tensor_parallel(model):
    def shard(name, module, mesh):
        for key, p in [(k, p) for k, p in module._parameters.items() if p is not None]:
            module.register_parameter(key, nn.Parameter(distribute_tensor(p, mesh, [Shard(0)])))
    def enter(module, inputs, mesh):
        return tuple(DTensor.from_local(t, mesh, [Replicate()]) for t in inputs)
    return distribute_module(model, mesh, shard, enter, lambda module, out, mesh: out.full_tensor())

def check(make, data, loss, spread):
    grid = la.Grid(x=(-1, 1, 3))
    plain = la.Objective(make(), data, loss=loss)
    truth = la.sample(plain, la.Plane.random(plain, axes=("x",)), grid, plan="plain")
    model = spread(make())
    assert all(isinstance(p, DTensor) for p in model.parameters())
    before = [p.full_tensor().clone() for p in model.parameters()]
    objective = la.Objective(model, data, loss=loss, in_place=True, autograd=True)
    found = la.sample(objective, la.Plane.random(objective, axes=("x",), stored=False), grid)
    np.testing.assert_allclose(found["loss"], truth["loss"], rtol=2e-6)
    assert all(torch.equal(a, p.full_tensor()) for a, p in zip(before, model.parameters()))
    print("same surface:", spread.__name__)

g = torch.Generator().manual_seed(0)
text = tuple(torch.randint(64, (6, 9), generator=g) for _ in range(2))
check(lambda: la.zoo.model("decoder", seed=0, vocabulary=64, dim=32), text, cross_entropy, fsdp)
digits = torch.randn(6, 64, generator=g), torch.randint(10, (6,), generator=g)
check(lambda: la.zoo.model("plain_mlp", seed=0), digits, nn.functional.cross_entropy, tensor_parallel)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_sharded_models_are_scanned_where_they_lie(tmp_path):
    """FSDP2 and DTensor, spread over two processes on the CPU."""
    count = 2
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, str(rank), str(count), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(count)
    ]  # fmt: skip
    for run in runs:
        out, fault = run.communicate(timeout=300)
        for way in ("fsdp", "tensor_parallel"):
            assert f"same surface: {way}" in out, fault[-3000:]


PROGRAM = """
import gc, os, sys, threading, time, torch
torch.set_num_threads(1)
import lossatlas as la
from lossatlas.objective.language import cross_entropy
how, layers, dim, vocabulary = sys.argv[1], *map(int, sys.argv[2:5])
peak = 0
def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024
def watch():
    global peak
    while True:
        peak = max(peak, status("RssAnon"))
        time.sleep(0.005)
torch.set_default_dtype(torch.bfloat16)
model = la.zoo.model("decoder", vocabulary=vocabulary, dim=dim, layers=layers, heads=16)
torch.set_default_dtype(torch.float32)
count = sum(p.numel() for p in model.parameters())
x = torch.zeros(1, 64, dtype=torch.long)
threading.Thread(target=watch, daemon=True).start()
if how == "forward":
    with torch.inference_mode():
        cross_entropy(model.eval()(x), x).mean().item()
else:
    first = next(model.parameters()).clone()
    objective = la.Objective(model, (x, x), loss=cross_entropy, in_place=True)
    axes = dict.fromkeys("xy" if how == "plane" else "x", (-1, 1, 2))
    plane, grid = la.Plane.random(objective, seed=0, axes=tuple(axes), stored=False), la.Grid(**axes)
    landscape = la.sample(objective, plane, grid, progress=False)
    assert bool((landscape["status"] == 1).all())
    assert torch.equal(first, next(model.parameters()))
time.sleep(0.02)
print(count, peak, status("VmHWM"))
"""


def peak(how: str, *size: int) -> tuple[int, float, float]:
    """Parameters, peak of the anonymous memory, and peak resident set, in MiB, of a fresh process."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), how, *map(str, size)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    count, anonymous, resident = run.stdout.split()
    return int(count), float(anonymous), float(resident)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_a_scan_in_place_takes_no_copy_and_no_directions():
    """A copy of these weights takes 100 MiB, a stored direction 200; what the scan imports takes about 130."""
    size = 4, 1024, 4096
    count, _, forward = peak("forward", *size)  # the kernel's own peak: a busy machine may starve the thread
    _, _, scan = peak("line", *size)
    assert count > 50e6
    assert scan - forward < 190


@pytest.mark.soak
@linux
def test_a_model_of_500_million_parameters_is_scanned_in_the_memory_of_a_forward_pass():
    size = 24, 1280, 16384
    count, forward, forward_resident = peak("forward", *size)
    _, scan, scan_resident = peak("plane", *size)
    print(
        f"{count} parameters: anonymous {forward:.0f}, {scan:.0f} MiB; resident {forward_resident:.0f}, {scan_resident:.0f}"
    )
    assert count > 480e6
    assert scan < 1.25 * forward
    assert scan_resident < 1.25 * forward_resident
