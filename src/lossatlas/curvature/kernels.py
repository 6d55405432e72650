r"""Which second derivatives cost more in torch than they must, and what replaces them?

A product with a Hessian goes through each convolution nine times: once forwards, twice backwards, and six times back
through both. Torch takes two of these six as convolutions whose kernels are as large as images, and the second
derivatives of a frozen BatchNorm in many passes over memory. Inside :class:`Quick` all nine are passes of the usual
kind, a frozen BatchNorm just after a convolution becomes part of its weights, by the chain rule, and ReLU leaves no
zeros behind; the cross-entropy of a softmax keeps only its logits. It is the same function of the same parameters, and
differs by rounding.

One second derivative of torch is wrong: that of the fused weight normalisation on a CPU treats the norms as constants
(``gradgradcheck`` fails, torch 2.13). Inside :class:`Quick` weights are normalised by definition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lossatlas.curvature import softmax

__all__ = ["Convolution", "Quick", "Relu"]

_DIMENSIONS: dict[Any, int] = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
_RELU = (F.relu, torch.relu, Tensor.relu)
_PLAIN = (Tensor, torch.nn.Parameter)


@dataclass(frozen=True)
class _How:
    """How a convolution strides, a number for each dimension."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        aside = [0] * len(self.stride)
        found: Tensor = torch.ops.aten.convolution(
            x, weight, bias, self.stride, self.padding, self.dilation, False, aside, self.groups
        )
        return found

    def backward(
        self, slope: Tensor, x: Tensor, weight: Tensor, wanted: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The derivatives with respect to x, weight and bias, where they are wanted."""
        aside, sizes = [0] * len(self.stride), [weight.shape[0]]
        found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
            slope, x, weight, sizes, self.stride, self.padding, self.dilation, False, aside, self.groups, list(wanted)
        )
        return found


class Convolution(Function):
    """A convolution: of x [N, C, ...], weight [D, C / groups, ...] and bias [D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
        """The convolution."""
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return how.forward(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        """Its first derivatives, which have derivatives."""
        x, weight = ctx.saved_tensors
        return *_applied(_Slopes, slope, x, weight, ctx.how, ctx.needs_input_grad[:3]), None


class _Slopes(Function):
    """The first derivatives of a convolution in x, weight and bias: each is linear in the slope of its output."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, x: Tensor, weight: Tensor, how: _How, wanted: Sequence[bool]) -> Any:
        ctx.save_for_backward(slope, x, weight)
        ctx.how = how
        ctx.set_materialize_grads(False)
        return how.backward(slope, x, weight, wanted)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along_x: Tensor | None, along_weight: Tensor | None, along_bias: Tensor | None) -> Any:
        slope, x, weight = ctx.saved_tensors
        how: _How = ctx.how
        by_slope = by_x = by_weight = None
        if along_x is not None:
            by_slope = how.forward(along_x, weight)
            by_weight = how.backward(slope, along_x, weight, (False, True, False))[1]
        if along_weight is not None:
            other = how.forward(x, along_weight)
            by_slope = other if by_slope is None else by_slope.add_(other)
            by_x = how.backward(slope, x, along_weight, (True, False, False))[0]
        if along_bias is not None:
            row = along_bias.reshape(1, -1, *[1] * (slope.dim() - 2))
            by_slope = row.expand_as(slope) if by_slope is None else by_slope.add_(row)
        return by_slope, by_x, by_weight, None, None


class Relu(Function):
    """max(x, 0)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The positive part."""
        found = torch.relu(x)
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        """The slope where x is positive."""
        return _applied(_ReluSlope, slope, *ctx.saved_tensors)


class _ReluSlope(Function):
    """The first derivative of ReLU: linear in the slope; where x is positive counts as constant."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, found: Tensor) -> Tensor:
        ctx.save_for_backward(found)
        passed: Tensor = torch.ops.aten.threshold_backward(slope, found, 0)
        return passed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along: Tensor) -> Any:
        return torch.ops.aten.threshold_backward(along, *ctx.saved_tensors, 0), None


@dataclass(frozen=True)
class _Convolved:
    """A convolution, and its inputs; x is ``given``, the points it sees, or a copy with another layout."""

    output: Tensor
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    how: _How
    versions: tuple[int, int]
    given: Tensor

    def is_behind(self, tensor: Tensor) -> bool:
        """Whether a tensor is its output, and nothing was changed in place since."""
        return tensor is self.output and self.versions == (self.output._version, self.given._version)


class Quick(TorchFunctionMode):
    """Inside the block, graphs of derivatives are built such that their own derivatives are cheap.

    What it does not know is left to torch: short number formats, autocast, padding in words, BatchNorm that measures
    its batch, what happens inside a transform of ``torch.func``, and ReLU in place.

    Example:
        >>> weight = torch.randn(2, 3, 3, 3, requires_grad=True)
        >>> with Quick():
        ...     found = F.conv2d(torch.ones(1, 3, 5, 5), weight)
        >>> found.grad_fn.name(), bool(torch.allclose(found, F.conv2d(torch.ones(1, 3, 5, 5), weight)))
        ('ConvolutionBackward', True)
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: _Convolved | None = None

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What replaces a function of torch."""
        given = kwargs or {}
        if function in _DIMENSIONS:
            return self._convolution(function, *args, **given)
        if function is F.batch_norm:
            return self._batch_norm(*args, **given)
        if function in _RELU and len(args) == 1 and not given.get("inplace") and _plain(args[0]):
            return _applied(Relu, args[0])
        if function is torch._weight_norm:
            return _weight_norm(*args, **given)
        if function is F.cross_entropy:
            return self._cross_entropy(*args, **given)
        return function(*args, **given)

    def _cross_entropy(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        told: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
        told["ignore_index"] = ignore_index
        still = not any(tensor is not None and tensor.requires_grad for tensor in (target, weight))
        known = target.dtype == torch.int64 or target.dtype == input.dtype
        former = size_average is not None or reduce is not None
        if former or not still or not known or input.numel() == 0 or not _plain(input, weight):
            return F.cross_entropy(input, target, weight, size_average=size_average, reduce=reduce, **told)
        return softmax.cross_entropy(input, target, weight, **told)

    def _convolution(
        self,
        function: Callable[..., Tensor],
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        dimensions = _DIMENSIONS[function]
        if isinstance(padding, str) or input.dim() != dimensions + 2 or not _plain(input, weight, bias):
            return function(input, weight, bias, stride, padding, dilation, groups)
        how = _How(_each(stride, dimensions), _each(padding, dimensions), _each(dilation, dimensions), groups)
        x, how = _in_unit_steps(input, weight, how)
        if dimensions == 2 and x.device.type == "cpu" and x.dtype == torch.float32:
            x = x.contiguous(memory_format=torch.channels_last)  # up to three times as fast with few channels
        output: Tensor = _applied(Convolution, x, weight, bias, how)
        self._last = _Convolved(output, x, weight, bias, how, (output._version, input._version), input)
        return output

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if training or running_mean is None or running_var is None or not _plain(input, weight, bias, running_mean):
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        scale = torch.rsqrt(running_var + eps)
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale
        shift = shift if bias is None else shift + bias
        last, self._last = self._last, None
        if last is None or not last.is_behind(input):
            row = (1, -1, *[1] * (input.dim() - 2))
            return input * scale.reshape(row) + shift.reshape(row)
        kernel = last.weight * scale.reshape(-1, *[1] * (last.weight.dim() - 1))
        shift = shift if last.bias is None else shift + scale * last.bias
        folded: Tensor = _applied(Convolution, last.x, kernel, shift, last.how)
        return folded


def _in_unit_steps(x: Tensor, weight: Tensor, how: _How) -> tuple[Tensor, _How]:
    """A kernel of one point with stride s equals one without a stride on every s-th point of x."""
    # Where it strides over fewer channels than a vector register of AVX2 holds, and these are last, oneDNN writes past
    # its memory in the derivative with respect to the weights (oneDNN issue 6035: crashes, hangs or wrong numbers).
    if any(size != 1 for size in weight.shape[2:]) or any(how.padding) or all(step == 1 for step in how.stride):
        return x, how
    seen = x[(slice(None), slice(None), *(slice(None, None, step) for step in how.stride))]
    return seen, replace(how, stride=(1,) * len(how.stride))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Weights g v / ‖v‖, with norms over all dimensions but one; over all, if that is -1."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _applied(function: type[Function], *arguments: Any) -> Any:
    return function.apply(*arguments)  # type: ignore[no-untyped-call]


def _each(number: Any, dimensions: int) -> tuple[int, ...]:
    found = (number,) if isinstance(number, int) else tuple(number)
    return found * dimensions if len(found) == 1 else found


def _plain(*tensors: Tensor | None) -> bool:
    """Whether tensors are ordinary ones in one full number format."""
    there = [tensor for tensor in tensors if tensor is not None]
    formats = {tensor.dtype for tensor in there}
    return (
        all(type(tensor) in _PLAIN for tensor in there)
        and len(formats) == 1
        and formats <= {torch.float32, torch.float64}
        and not torch.is_autocast_enabled(there[0].device.type)
        and not torch._C._are_functorch_transforms_active()
    )
