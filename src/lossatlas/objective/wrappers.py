"""What surrounds a model? Its identity is the network inside, whatever runs it.

DataParallel, DDP, ``torch.compile``, Fabric and their like change how a network is run, not which function it is. So
names, seeds, filters and checkpoints are those of the network inside: one seed gives one picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lossatlas.errors import SpecError
from lossatlas.oneline import number_of
from lossatlas.warned import warn

__all__ = ["check_ready", "plain_name", "plain_names", "unwrapped"]

INSIDE = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper": "_checkpoint_wrapped_module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "lightning.fabric.wrappers._FabricModule": "_forward_module",
    "lightning_fabric.wrappers._FabricModule": "_forward_module",
    "deepspeed.runtime.engine.DeepSpeedEngine": "module",
}
"""Classes that run another module unchanged, and the attribute that holds it."""

SEGMENTS = frozenset(
    ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_original_module")
)
"""Parts of a tensor's name that only wrappers put there, wherever they appear in it."""

FLAT = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"


def unwrapped(model: nn.Module) -> nn.Module:
    """Remove all wrappers around a model.

    Args:
        model: any module.

    Returns:
        The network inside; the model itself if there is no wrapper.

    Raises:
        SpecError: FSDP of the first generation, whose weights are flat shards without filters.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> unwrapped(nn.DataParallel(network)) is network
        True
    """
    while True:
        kinds = _kinds(model)
        if FLAT in kinds:
            raise SpecError(
                "model: FullyShardedDataParallel keeps its weights as flat shards, in which filters are torn apart; "
                "give the network as it was before wrapping, with the gathered state dict loaded, or shard it with "
                "fully_shard"
            )
        attribute = next((INSIDE[kind] for kind in kinds if kind in INSIDE), None)
        if attribute is None:
            return model
        _warn_of_precision(model)
        model = getattr(model, attribute)


def _kinds(module: nn.Module) -> list[str]:
    return [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]


def _warn_of_precision(model: nn.Module) -> None:
    """Fabric's wrapper is the only one that changes numbers: it may run the network in another format."""
    precision = getattr(getattr(getattr(model, "_strategy", None), "precision", None), "precision", "32-true")
    if str(precision).endswith("-mixed"):
        warn(
            f"model: Fabric runs it under {precision}; here the network is measured in the format of its weights; "
            "precision='bf16' (--precision bf16) measures in a short one and states the difference",
        )


def plain_names(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, str]:
    """What tensors are called without the parts that wrappers within the model put into their names.

    Args:
        model: any module.
        names: of tensors; by default those of all parameters.

    Returns:
        The plain name, by the name it has.

    Example:
        >>> model = nn.Sequential(nn.DataParallel(nn.Linear(2, 1)))
        >>> plain_names(model)["0.module.weight"]
        '0.weight'
    """
    inner = {
        f"{path}.{INSIDE[kind]}".lstrip(".")
        for path, module in model.named_modules()
        for kind in _kinds(module)
        if kind in INSIDE
    }
    listed = [name for name, _ in model.named_parameters()] if names is None else names
    return {name: _without(name, inner) for name in listed}


def _without(name: str, inner: set[str]) -> str:
    parts = name.split(".")
    paths = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return ".".join(part for part, path in zip(parts, paths, strict=True) if path not in inner)


def plain_name(name: str) -> str:
    """Drop the parts of a name that only wrappers put there, as far as that is certain without the model.

    Args:
        name: of a tensor.

    Returns:
        The name without them.

    Example:
        >>> plain_name("encoder._orig_mod.0.weight")
        'encoder.0.weight'
    """
    return ".".join(part for part in name.split(".") if part not in SEGMENTS)


def check_ready(model: nn.Module) -> None:
    """Check that all weights exist, and can be moved.

    Raises:
        SpecError: there are lazy modules that have seen no batch, or TorchScript.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise SpecError(
                f"model{f': its part {name!r}' if name else ''} is TorchScript, whose weights cannot be moved; build "
                "the network in Python and load the weights into it: network.load_state_dict(scripted.state_dict())"
            )
    tensors: Mapping[str, Tensor] = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    lazy = [name for name, tensor in tensors.items() if is_lazy(tensor)]
    if lazy:
        raise SpecError(
            f"model {type(model).__name__}: {number_of(len(lazy), 'tensor', verb='does')} not exist "
            f"yet (first {lazy[0]!r}), because its lazy "
            "modules have seen no batch; call the model once on a batch, model(x), before anything else"
        )
