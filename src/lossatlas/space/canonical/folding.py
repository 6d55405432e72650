"""How do norms and wrappers disappear into the layers beside them without changing the function?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["fold_batchnorm", "fold_gain", "replace", "unwrap"]


def fold_batchnorm(model: nn.Module, layer: str, norm: str) -> None:
    r"""Put a BatchNorm with frozen statistics into the layer before it.

    :math:`W' = \frac{γ}{σ} W` and :math:`b' = β + \frac{γ}{σ} (b - μ)`; an identity takes the place of the norm.

    Args:
        model: changed in place.
        layer: path of the layer.
        norm: path of the norm.
    """
    modules = dict(model.named_modules())
    target: Any = modules[layer]
    bn: Any = modules[norm]
    scale = (bn.running_var.double() + bn.eps).rsqrt()
    if bn.weight is not None:
        scale = scale * bn.weight.detach().double()
    shift = -bn.running_mean.double() * scale
    if bn.bias is not None:
        shift = shift + bn.bias.detach().double()
    weight = target.weight.detach().double()
    bias = 0.0 if target.bias is None else target.bias.detach().double() * scale
    _set(target, "weight", weight * scale.reshape(-1, *[1] * (weight.dim() - 1)))
    _set(target, "bias", shift + bias)
    replace(model, norm, nn.Identity())


def fold_gain(model: nn.Module, norm: str, readers: tuple[str, ...]) -> None:
    r"""Put gain and bias of a LayerNorm or RMSNorm into the linear layers that read it.

    :math:`W' = W \mathrm{diag}(γ)` and :math:`b' = b + W β`; the norm keeps a gain of one and a bias of zero.

    Args:
        model: changed in place.
        norm: path of the norm.
        readers: paths of the layers.
    """
    modules = dict(model.named_modules())
    source: Any = modules[norm]
    gain = source.weight.detach().double().flatten()
    shift = getattr(source, "bias", None)
    for path in readers:
        target: Any = modules[path]
        weight = target.weight.detach().double()
        if shift is not None:
            bias = 0.0 if target.bias is None else target.bias.detach().double()
            _set(target, "bias", weight @ shift.detach().double().flatten() + bias)
        _set(target, "weight", weight * gain)
    with torch.no_grad():
        source.weight.fill_(1.0)
        if shift is not None:
            shift.fill_(0.0)


def _set(layer: nn.Module, name: str, value: Tensor) -> None:
    like = layer.weight
    assert isinstance(like, Tensor)
    setattr(layer, name, nn.Parameter(value.to(like), requires_grad=like.requires_grad))


def replace(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put another module in place of one."""
    home, _, name = path.rpartition(".")
    model.get_submodule(home)._modules[name] = module


def unwrap(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """Replace adapters and parametrizations by the weights they amount to.

    Args:
        model: changed in place, in evaluation mode.

    Returns:
        The model within the adapters, and what was done, in words.
    """
    done = []
    merge: Any = getattr(model, "merge_and_unload", None)
    if merge is not None:
        model = merge()
        done.append("adapters merged into the weights")
    for module in [m for m in model.modules() if parametrize.is_parametrized(m)]:
        done += _plain(module)
    return model, done


def _plain(module: nn.Module) -> list[str]:
    """Give a module the values of its parametrized tensors as plain parameters.

    torch.nn.utils.parametrize.remove_parametrizations would take the tensors' properties off the class, which a copy
    shares with the user's model.

    Returns:
        The names of these tensors.
    """
    steps: Any = module.parametrizations
    with torch.no_grad():
        values = {name: getattr(module, name).detach().clone() for name in steps}
    kind = parametrize.type_before_parametrizations(module)
    module.__class__ = kind
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))
    return [f"the parametrization of {name} in a {kind.__name__} replaced by its value" for name in values]
