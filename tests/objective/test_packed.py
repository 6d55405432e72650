"""Are the packed weights of bitsandbytes read for what they stand for, written by hand and by the library itself?"""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.packed import packed_in, unpacked
from lossatlas.space.quantised import dequantised

# The sixteen values of NF4, quantiles of a normal distribution (QLoRA, arXiv 2305.14314, appendix E).
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
FP4 = (0.0, 0.0052, 0.6667, 1.0, 0.3333, 0.5, 0.1667, 0.25, 0.0, -0.0052, -0.6667, -1.0, -0.3333, -0.5, -0.1667, -0.25)


def blob(**told):
    return torch.tensor(list(json.dumps(told).encode()), dtype=torch.uint8)


def four(name="0.weight", kind="nf4", shape=(3, 5), block=4, nested=False, told=(), seed=0):
    """A state dict by hand, and the weights that it stands for, number by number."""
    generator = torch.Generator().manual_seed(seed)
    count, values = math.prod(shape), NF4 if kind == "nf4" else FP4
    codes = torch.randint(16, (count,), generator=generator).tolist()
    blocks = math.ceil(count / block)
    even = [*codes, 0] if count % 2 else codes
    packed = torch.tensor([[16 * a + b] for a, b in zip(even[::2], even[1::2], strict=True)], dtype=torch.uint8)
    state = {name: packed, f"{name}.quant_map": torch.tensor(values)}
    words = {"quant_type": kind, "blocksize": block, "dtype": "float32", "shape": list(shape)}
    if nested:
        table = torch.linspace(-1, 1, 256)
        inner = torch.randint(256, (blocks,), generator=generator, dtype=torch.uint8)
        outer = torch.tensor([2.0, 3.0, 5.0])[: math.ceil(blocks / 2)]
        scales = [float(table[int(c)]) * float(outer[i // 2]) + 0.25 for i, c in enumerate(inner)]
        state |= {f"{name}.absmax": inner, f"{name}.nested_absmax": outer, f"{name}.nested_quant_map": table}
        words |= {"nested_blocksize": 2, "nested_dtype": "float32", "nested_offset": 0.25}
    else:
        scales = [0.5 + i for i in range(blocks)]
        state[f"{name}.absmax"] = torch.tensor(scales)
    state[f"{name}.quant_state.bitsandbytes__{kind}"] = blob(**{**words, **dict(told)})
    return state, torch.tensor([values[c] * scales[i // block] for i, c in enumerate(codes)]).reshape(shape)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [(3, 5), (4, 6), (2, 2, 3)])
@pytest.mark.parametrize("nested", [False, True])
def test_four_bits_by_hand_are_the_value_of_their_code_times_the_scale_of_their_block(kind, shape, nested):
    state, expected = four(kind=kind, shape=shape, nested=nested)
    found = unpacked({**state, "0.bias": torch.ones(3), "0.steps": torch.tensor(7)})
    assert list(found) == ["0.weight", "0.bias", "0.steps"]
    torch.testing.assert_close(found["0.weight"], expected)
    assert found["0.steps"].item() == 7


@pytest.mark.parametrize("offset", [10**400, math.nan, math.inf, "0.25", None])
def test_an_offset_that_is_no_finite_number_is_refused(offset):
    state, _ = four(nested=True, told={"nested_offset": offset}.items())
    with pytest.raises(SpecError, match=r"'0.weight' of bitsandbytes .* expected uint8, 256 values"):
        unpacked(state)


def test_four_bits_come_in_the_format_that_they_had_before():
    state, expected = four(told={"dtype": "bfloat16"}.items())
    assert unpacked(state)["0.weight"].dtype == torch.bfloat16
    torch.testing.assert_close(unpacked(state)["0.weight"], expected.bfloat16())


def test_int8_by_hand_is_the_code_times_the_scale_of_its_row_over_127():
    state = {
        "a.weight": torch.tensor([[127, -64, 0], [1, 2, -127]], dtype=torch.int8),
        "a.SCB": torch.tensor([0.5, 254.0]),
        "a.weight_format": torch.tensor(0, dtype=torch.uint8),
    }
    assert packed_in(state) == {"a.weight": "int8"}
    found = unpacked(state)
    assert list(found) == ["a.weight"]
    torch.testing.assert_close(found["a.weight"], torch.tensor([[0.5, -0.5 * 64 / 127, 0.0], [2.0, 4.0, -254.0]]))
    with pytest.raises(SpecError, match="in the tiles of a GPU"):
        unpacked(state | {"a.weight_format": torch.tensor(2, dtype=torch.uint8)})
    with pytest.raises(SpecError, match="expected a scale for each row"):
        unpacked(state | {"a.SCB": torch.ones(3)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"0.weight": torch.zeros(3, dtype=torch.uint8)}, "expected two codes in a byte"),
        ({"0.weight.quant_map": torch.zeros(15)}, "15 values"),
        ({"0.weight.absmax": torch.ones(3)}, "has 3 scales; expected 4"),
        ({"0.weight.absmax": None}, r"comes without 0\.weight\.absmax"),
        ({"told": b"not JSON"}, "not JSON"),
        ({"told": b"[" * 5000}, "not JSON"),
        ({"told": b"[1]"}, "is a list; expected an object"),
        ({"told": b'{"shape": [3, -5], "blocksize": 4}'}, r"has the shape \[3, -5\]"),
        ({"told": b'{"shape": [3, 5], "blocksize": 0}'}, "has blocksize 0"),
        ({"told": b'{"shape": [1000000000, 1000000000], "blocksize": 4}'}, "expected two codes in a byte"),
        ({"0.weight.nested_absmax": torch.ones(2)}, "has nested_blocksize None"),
        ({"0.weight.nested_absmax": torch.ones(2), "0.weight.nested_quant_map": None}, "comes without"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(changes, words):
    state, _ = four()
    state["0.weight.nested_quant_map"] = torch.zeros(256)
    if "told" in changes:
        state["0.weight.quant_state.bitsandbytes__nf4"] = torch.tensor(list(changes["told"]), dtype=torch.uint8)
    state |= {name: part for name, part in changes.items() if isinstance(part, torch.Tensor)}
    with pytest.raises(SpecError, match=words):
        unpacked({name: part for name, part in state.items() if name not in changes or changes[name] is not None})


def test_a_checkpoint_of_packed_weights_goes_into_the_network_and_a_plane_leads_through_it(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2))
    state, expected = four(shape=(3, 5))
    codes = torch.tensor([[127, -64, 0], [1, 2, -127]], dtype=torch.int8)
    state |= {"0.bias": torch.zeros(3), "2.weight": codes, "2.SCB": torch.ones(2), "2.bias": torch.zeros(2)}
    torch.save({"state_dict": {f"module.{name}": part for name, part in state.items()}}, tmp_path / "packed.pt")
    told = la.load_checkpoint(net, tmp_path / "packed.pt")
    torch.testing.assert_close(net[0].weight.detach(), expected)
    torch.testing.assert_close(net[2].weight.detach(), codes / 127)
    assert "2 packed weights dequantised (module.0.weight, module.2.weight)" in told.words()
    objective = la.Objective(nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2)),
                             (torch.ones(4, 5), torch.arange(4) % 2), F.cross_entropy)  # fmt: skip
    plane = la.Plane.towards(objective, dequantised(state))
    landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 2)), progress=False)
    assert float(landscape["loss"].sel(x=1)) == pytest.approx(objective(dict(net.named_parameters()))["loss"], rel=1e-5)


def test_a_state_dict_whose_format_is_not_known_is_refused_and_one_in_floating_point_stays():
    plain = nn.BatchNorm1d(3).state_dict()
    assert dequantised(plain).keys() == plain.keys()
    with pytest.raises(SpecError, match="without scales beside it"):
        dequantised({"weight": torch.zeros(2, 2, dtype=torch.int8)})


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_the_state_dict_of_the_library_itself_is_read_as_the_library_reads_it(kind, nested):
    library = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    torch.manual_seed(0)
    plain, layer = nn.Linear(64, 7), library.nn.Linear4bit(64, 7, quant_type=kind, compress_statistics=nested)
    layer.load_state_dict(plain.state_dict())
    layer = layer.to("cpu")
    by_library = library.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    for found in (unpacked(layer.state_dict())["weight"], dequantised(layer)["weight"]):
        torch.testing.assert_close(found, by_library, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
def test_rows_that_are_no_multiple_of_a_block_have_the_scales_of_their_own_blocks():
    """Where the library's kernel for processors (0.50.2) has not: a weight may be half of the widest gap away."""
    library = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    torch.manual_seed(0)
    plain, layer = nn.Linear(48, 7), library.nn.Linear4bit(48, 7, quant_type="nf4", compress_statistics=False)
    layer.load_state_dict(plain.state_dict())
    flat = plain.weight.detach().reshape(-1)
    largest = torch.stack([part.abs().max() for part in flat.split(64)]).repeat_interleave(64)[: len(flat)]
    half = max(b - a for a, b in itertools.pairwise(NF4)) / 2
    found = dequantised(layer.to("cpu"))["weight"].reshape(-1)
    assert bool(((found - flat).abs() <= 1.001 * half * largest).all())


@pytest.mark.filterwarnings("ignore")
def test_int8_of_the_library_itself_is_read_within_half_a_step_and_the_rounding_to_float16_before_it():
    library = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    torch.manual_seed(0)
    plain, layer = nn.Linear(48, 7), library.nn.Linear8bitLt(48, 7, has_fp16_weights=False)
    layer.load_state_dict(plain.state_dict())
    layer = layer.to("cpu")
    step = plain.weight.detach().abs().amax(dim=1, keepdim=True) / 127
    for found in (dequantised(layer)["weight"], unpacked(layer.state_dict())["weight"]):
        assert bool(((found - plain.weight.detach()).abs() <= 0.6 * step).all())
