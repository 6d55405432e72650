r"""What do packed weights in a state dict stand for? The layouts of bitsandbytes, read without that library.

Int8, a scale for each row (``Linear8bitLt``): :math:`w_{ij} = c_{ij} s_i / 127` with the codes ``weight`` and the
scales ``SCB``.

Four bits (``Linear4bit``; QLoRA, Dettmers et al. 2023, arXiv 2305.14314, section 3): two codes in a byte, the first in
the upper half, each the index of one of sixteen values in ``weight.quant_map``; consecutive blocks of weights are
multiplied by their ``weight.absmax``, which may itself be packed in eight bits: a value of ``weight.nested_quant_map``
times ``weight.nested_absmax`` of a larger block, plus an offset. Shapes and block sizes are JSON in
``weight.quant_state.bitsandbytes__nf4`` (or ``fp4``), a tensor of bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import described_type

__all__ = ["packed_in", "unpacked"]

FOUR = ("nf4", "fp4")
_STATE = ".quant_state.bitsandbytes__"
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
_MOST_STATE = 10_000
_FORMATS = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32")}


def packed_in(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Which weights of a state dict are packed as bitsandbytes does, and how.

    Args:
        state: tensors by name.

    Returns:
        ``"int8"``, ``"nf4"`` or ``"fp4"`` by the name of the weight.

    Example:
        >>> packed_in({"0.weight": torch.zeros(2, 3, dtype=torch.int8), "0.SCB": torch.ones(2)})
        {'0.weight': 'int8'}
    """
    found = {}
    for name in state:
        weight, mark, kind = name.rpartition(_STATE)
        if mark and kind in FOUR and weight in state:
            found[weight] = kind
        own = f"{name.removesuffix('SCB')}weight"
        if name.endswith("SCB") and own in state and state[own].dtype == torch.int8:
            found[own] = "int8"
    return found


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in floating point: packed weights dequantised, their scales left out, all else as it is.

    Args:
        state: tensors by name.

    Returns:
        Tensors by name; weights of int8 in float32, those of four bits in the format that they had before.

    Raises:
        SpecError: scales, codes or shapes that do not fit together; the message names the weight.

    Example:
        >>> codes, scales = torch.tensor([[127, -127], [0, 127]], dtype=torch.int8), torch.tensor([2.0, 3.0])
        >>> unpacked({"0.weight": codes, "0.SCB": scales})["0.weight"].tolist()
        [[2.0, -2.0], [0.0, 3.0]]
    """
    found, used = {}, set()
    for name, kind in packed_in(state).items():
        if kind == "int8":
            beside = name.removesuffix("weight")
            used |= {f"{beside}SCB", f"{beside}weight_format"}
            found[name] = _int8(name, state[name], state[f"{beside}SCB"], state.get(f"{beside}weight_format"))
        else:
            used |= {f"{name}{_STATE}{kind}", *(f"{name}.{part}" for part in _PARTS)}
            found[name] = _four(name, state, kind)
    return {name: found.get(name, tensor) for name, tensor in state.items() if name not in used}


def _int8(name: str, codes: Tensor, scales: Tensor, order: Tensor | None) -> Tensor:
    if order is not None and bool((order != 0).any()):
        raise SpecError(
            f"{name!r} of bitsandbytes is int8 in the tiles of a GPU (weight_format {order.tolist()}), not row by row; "
            "save it with a newer bitsandbytes, or dequantise it yourself"
        )
    if codes.dim() != 2 or scales.numel() != len(codes):
        raise SpecError(
            f"{name!r} of bitsandbytes has codes of shape {tuple(codes.shape)} and {scales.numel()} scales; expected a "
            "scale for each row"
        )
    return codes.float() * (scales.float() / 127).reshape(-1, 1)


def _four(name: str, state: Mapping[str, Tensor], kind: str) -> Tensor:
    told = _told(name, state[f"{name}{_STATE}{kind}"])
    shape, block = _shape(name, told), _block(name, told, "blocksize")
    count = math.prod(shape)
    codes, values = state[name].reshape(-1), _part(name, state, "quant_map").reshape(-1)
    if codes.dtype != torch.uint8 or codes.numel() != math.ceil(count / 2) or values.numel() != 16:
        raise SpecError(
            f"{name!r} of bitsandbytes has {codes.numel()} bytes of {codes.dtype} and {values.numel()} values for the "
            f"shape {shape}; expected two codes in a byte, and 16 values"
        )
    halves = torch.stack([codes >> 4, codes & 15], dim=1).reshape(-1)[:count]
    scales = _scales(name, state, told, math.ceil(count / block))
    exact = values.float()[halves.long()] * scales.repeat_interleave(block)[:count]
    return exact.to(_FORMATS.get(str(told.get("dtype")), torch.float32)).reshape(shape)


def _scales(name: str, state: Mapping[str, Tensor], told: Mapping[str, Any], count: int) -> Tensor:
    """The largest size in each block, float32 [count]."""
    scales = _part(name, state, "absmax").reshape(-1)
    if scales.numel() != count:
        raise SpecError(f"{name!r} of bitsandbytes has {scales.numel()} scales; expected {count}, one for each block")
    if f"{name}.nested_absmax" not in state:
        return scales.float()
    values, larger = _part(name, state, "nested_quant_map").float(), _part(name, state, "nested_absmax").float()
    block, offset = _block(name, told, "nested_blocksize"), told.get("nested_offset", 0.0)
    good = scales.dtype == torch.uint8 and values.numel() == 256 and larger.numel() == math.ceil(count / block)
    if not good or not isinstance(offset, (int, float)) or not abs(offset) < torch.finfo(torch.float32).max:
        raise SpecError(
            f"{name!r} of bitsandbytes has packed scales of {scales.dtype} with {values.numel()} values, "
            f"{larger.numel()} scales of their own and the offset {offset!r}; expected uint8, 256 values, "
            f"{math.ceil(count / block)} scales and a finite number"
        )
    return values[scales.long()] * larger.reshape(-1).repeat_interleave(block)[:count] + float(offset)


def _told(name: str, content: Tensor) -> dict[str, Any]:
    """What the bytes beside a weight say about it."""
    if content.dtype != torch.uint8 or content.numel() > _MOST_STATE:
        raise SpecError(f"{name!r} of bitsandbytes has a state of {content.numel()} {content.dtype}; expected JSON")
    try:
        told = json.loads(bytes(content.reshape(-1).tolist()).decode())
    except (ValueError, RecursionError) as fault:
        raise SpecError(f"{name!r} of bitsandbytes has a state that is not JSON ({fault})") from fault
    if not isinstance(told, dict):
        raise SpecError(f"{name!r} of bitsandbytes has a state that is {described_type(told)}; expected an object")
    return told


def _shape(name: str, told: Mapping[str, Any]) -> tuple[int, ...]:
    shape = told.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size > 0 for size in shape):
        raise SpecError(f"{name!r} of bitsandbytes has the shape {shape!r}; expected whole numbers above 0")
    return tuple(shape)


def _block(name: str, told: Mapping[str, Any], key: str) -> int:
    block = told.get(key)
    if type(block) is not int or not 1 <= block <= 2**20:
        raise SpecError(f"{name!r} of bitsandbytes has {key} {block!r}; expected a number of weights, such as 64")
    return block


def _part(name: str, state: Mapping[str, Tensor], part: str) -> Tensor:
    if f"{name}.{part}" not in state:
        raise SpecError(f"{name!r} of bitsandbytes comes without {name}.{part}; save the whole state dict")
    return state[f"{name}.{part}"]
