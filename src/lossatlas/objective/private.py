"""How is the user's model kept from harm? Every evaluation happens on a private copy."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective.containers import normal
from lossatlas.objective.hashing import fingerprint
from lossatlas.oneline import first_line

__all__ = [
    "CHANGED",
    "ELSEWHERE",
    "Travelling",
    "check_in_place",
    "differentiable",
    "local",
    "posed",
    "private_copy",
    "reshard",
    "same_memory",
    "weights_fingerprint",
]


LARGE = 16 * 2**20
"""Bytes of tensors from which on several threads hash them sooner than one."""

CHANGED = (
    "objective: the model's weights changed after the Objective was made, so its origin is no longer the model; make a "
    "new Objective, or copy.deepcopy the model before you train it further"
)

ELSEWHERE = (
    "params: in_place=True can measure only around the model's own weights; load the others into the model before "
    "making the Objective"
)


class Travelling:
    """An object that leaves its private copy behind when it is pickled."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the copy and its tensors, which share memory: both are made again on arrival."""
        return {name: value for name, value in self.__dict__.items() if name not in ("private", "places")}


@torch.inference_mode(False)  # tensors made in inference mode can never be written to outside it
def private_copy(model: nn.Module, *, device: torch.device, training: bool, autograd: bool = False) -> nn.Module:
    """A copy that shares no memory with the model and records no gradients unless asked to.

    Tensors that are not leaves (``weight_g`` style attributes) cannot be deep-copied by torch, so every tensor is
    handed to the copy beforehand.

    Args:
        model: any module.
        device: where the copy lives.
        training: leave Dropout, BatchNorm and their like in training mode.
        autograd: let derivatives be taken with respect to the weights that can be trained.

    Returns:
        The copy, in evaluation mode unless ``training``.

    Raises:
        SpecError: the model cannot be copied.
    """
    memo: dict[int, object] = {}
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
            if isinstance(tensor, Tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _duplicate(tensor, device)
    try:
        twin = copy.deepcopy(model, memo)
    except Exception as fault:  # a class may refuse in any way, as that of a sharded model does
        raise SpecError(
            f"model {type(model).__name__} cannot be copied (copy.deepcopy: {first_line(fault)}); measure the model "
            "itself, with in_place=True (--in-place)"
        ) from fault
    for module in twin.modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            module.sparse = False  # the same values; sparse gradients have no products with a Hessian
            module.scale_grad_by_freq = False  # and a gradient scaled like this is not that of the loss
    twin.requires_grad_(False).to(device).train(training)
    if autograd:
        trained = dict(model.named_parameters())
        for name, tensor in twin.named_parameters():
            tensor.requires_grad_(trained[name].requires_grad)
    return twin


@torch.inference_mode(False)
def differentiable(origin: dict[str, Tensor], in_place: bool) -> dict[str, Tensor]:
    """The tensors of a model, for measures that differentiate with respect to them.

    Args:
        origin: the tensors, by name.
        in_place: whether the model itself is moved.

    Returns:
        The tensors themselves; copies, for a model that was made in inference mode.

    Raises:
        SpecError: they were made in inference mode, and are to be moved in place.
    """
    made = next((name for name, tensor in origin.items() if tensor.is_inference()), None)
    if made is not None and in_place:
        raise SpecError(
            f"model: {made!r} was made in torch.inference_mode() and cannot be moved in place; make the model outside "
            "it, or leave in_place out"
        )
    return {name: normal(tensor) for name, tensor in origin.items()}


def check_in_place(model: nn.Module, batchnorm: str) -> None:
    """Check that a model can be moved in place.

    Raises:
        SpecError: weights are elsewhere, or buffers would change.
    """
    reshard(model)
    if batchnorm != "frozen":
        raise SpecError(f"in_place=True with batchnorm={batchnorm!r}; only 'frozen' leaves the model's buffers alone")
    away = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if away:
        raise SpecError(
            f"in_place=True: {away[0]!r} is not in memory (device_map put it on disk, or the model is only a sketch); "
            "load the model onto devices with room for it"
        )


def reshard(model: nn.Module) -> None:
    """Let FSDP2 release the whole weights that it gathered for the last forward pass: only the shards move."""
    for module in model.modules():
        if callable(again := getattr(module, "reshard", None)):
            again()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: its shard of a DTensor, or all of it."""
    own: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return own


def same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors share the same memory."""
    return a.shape == b.shape and local(a).data_ptr() == local(b).data_ptr()


@contextmanager
def posed(model: nn.Module, *, training: bool) -> Iterator[None]:
    """A model in the mode in which it is evaluated, inside the block; each module's own mode outside."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        reshard(model)
        for module, mode in before:
            module.training = mode


def _duplicate(tensor: Tensor, device: torch.device) -> Tensor:
    twin = tensor.detach().to(device, copy=True)
    return nn.Parameter(twin, requires_grad=False) if isinstance(tensor, nn.Parameter) else twin


def weights_fingerprint(model: nn.Module) -> str:
    """A hash of a model: its structure as printed, and the name, type, shape and value of every tensor."""
    digest = hashlib.blake2b(repr(model).encode(), digest_size=16)
    named = [*model.named_parameters(), *model.named_buffers()]
    for (name, _), found in zip(named, _fingerprints([tensor for _, tensor in named]), strict=True):
        digest.update(name.encode())
        digest.update(found)
    return digest.hexdigest()


def _fingerprints(tensors: list[Tensor]) -> list[bytes]:
    """The hash of each tensor: of a large model on all cores, which hash without holding up each other."""
    spread = any(hasattr(tensor, "full_tensor") for tensor in tensors)  # gathered by all ranks in one order
    if spread or sum(tensor.numel() * tensor.element_size() for tensor in tensors) < LARGE:
        return [fingerprint(tensor) for tensor in tensors]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(fingerprint, tensors))
