r"""What depends on the function more than on its weights? The Fisher-Rao norm, and margins of the data."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import check_number
from lossatlas.flatness.ground import Ground, moved_copy
from lossatlas.flatness.result import Sharpness
from lossatlas.objective import Objective, calling, reduction
from lossatlas.objective.batches import map_tensors, tensors_of
from lossatlas.objective.given import check_objective
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked
from lossatlas.space import filters
from lossatlas.space.parameters import Parameters

__all__ = ["fisher_rao", "input_margin", "spectral_margin"]


@torch.inference_mode(False)
def fisher_rao(objective: Objective, params: Parameters | None = None) -> Sharpness:
    r"""The Fisher-Rao norm (Liang et al. 2019), with the labels of the data.

    .. math:: ‖w‖_{FR} = \sqrt{\frac{1}{N} \sum_i ⟨w, ∇ℓ_i(w)⟩^2}

    The inner product is the rate at which the loss of a sample changes as all weights are scaled together, so it does
    not depend on how the scale is distributed over them.

    Args:
        objective: whose loss; every sample needs a loss of its own.
        params: the point; by default the origin.

    Returns:
        The norm with its standard error over the samples.

    Raises:
        SpecError: single samples have no loss.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> data = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
        >>> found = fisher_rao(Objective(model, data, torch.nn.functional.mse_loss))
        >>> round(found.value**2, 4)
        34.0
    """
    check_objective(objective)
    if objective.loss is None:
        raise SpecError("loss=None: a model's own loss is one number per batch; pass loss=... to see each sample")
    ground = Ground(objective, params)
    squares = torch.cat(list(_slopes(ground))).square().numpy()
    value = math.sqrt(float(squares.mean()))
    error = float(squares.std(ddof=1)) / math.sqrt(len(squares)) if len(squares) > 1 else math.nan
    return Sharpness(
        measure="fisher_rao",
        value=value,
        spread=error / (2 * value) if value else math.nan,
        spread_is="standard error over samples",
        settings={"labels": "of the data"},
        evaluations=ground.evaluations + 1,
        gradients=2.0,
    )


def _slopes(ground: Ground) -> Iterator[Tensor]:
    """⟨w, ∇ℓ_i⟩ for every sample, as the derivative of u -> Σ u_i ⟨w, ∇ℓ_i⟩; float64, batch by batch."""
    objective, model = ground.objective, moved_copy(ground)
    loss = objective.loss
    assert loss is not None
    moved = [place for name, place in model.named_parameters() if name in ground.matrix.names]
    with asked(objective), objective.batches.seeded(0), differentiated():
        for size, batch in zip(objective.sizes, objective.batches, strict=True):
            outputs, targets = objective.forward(model, batch)
            each = reduction.loss_each(loss, calling.predictions(outputs), targets, size)
            probe = torch.zeros_like(each, requires_grad=True)
            back = torch.autograd.grad(each, moved, probe, create_graph=True, allow_unused=True)
            parts = [(g * p.detach()).sum() for g, p in zip(back, moved, strict=True) if g is not None]
            along = torch.stack([part.double() for part in parts]).sum()
            yield torch.autograd.grad(along, probe)[0].detach().cpu().double()


@torch.inference_mode(False)
def input_margin(objective: Objective, params: Parameters | None = None, *, quantile: float = 0.5) -> Sharpness:
    r"""How far the data lie from the decision boundary in the input, to first order (Jiang et al. 2019).

    .. math:: d_i = \frac{f_y(x_i) - f_j(x_i)}{‖∇_x (f_y - f_j)(x_i)‖}, \qquad j = \arg\max_{k ≠ y} f_k(x_i)

    Negative where a sample is on the wrong side. It is a property of the function alone. Where minima are flat, margins
    tend to be wide, since both say how much may change before a sample is misclassified (Huang et al. 2020, arXiv
    1906.03291).

    Args:
        objective: a classifier: outputs [N, C], targets [N], a batch whose first tensor of floating point is the input.
        params: the point; by default the origin.
        quantile: of the samples; the median is 0.5.

    Returns:
        The quantile in the unit of the input, and half the distance between the quartiles.

    Raises:
        SpecError: the model is not a classifier, or the input is not of floating point.

    Example:
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> data = torch.tensor([[3.0, 1.0], [3.0, -5.0]]), torch.tensor([0, 0])
        >>> input_margin(Objective(model, data, torch.nn.functional.cross_entropy)).value
        3.0
    """
    check_objective(objective)
    if objective.training:
        raise SpecError("training=True: the samples of a batch depend on each other, so none has a slope of its own")
    ground = Ground(objective, params)
    model = moved_copy(ground).requires_grad_(False)
    found = []
    with asked(objective), objective.batches.seeded(0):
        for batch in objective.batches:
            inputs = _first_floating(batch)
            leaf = inputs.detach().requires_grad_(True)
            inner = map_tensors(functools.partial(_swapped, old=inputs, new=leaf), batch)
            gaps = _gaps(*objective.forward(model, inner))
            slopes = torch.autograd.grad(gaps.sum(), leaf)[0]
            found.append((gaps / slopes.flatten(1).norm(dim=1)).detach().cpu().double())
    return _quantile("input_margin", torch.cat(found).numpy(), quantile, ground, {}, gradients=1.0)


def _swapped(tensor: Tensor, *, old: Tensor, new: Tensor) -> Tensor:
    return new if tensor is old else tensor


def spectral_margin(objective: Objective, params: Parameters | None = None, *, quantile: float = 0.5) -> Sharpness:
    r"""Margins normalised by the spectral complexity of the weights (Bartlett et al. 2017).

    .. math:: \frac{f_y(x_i) - \max_{k ≠ y} f_k(x_i)}{R \, ‖X‖_F / N}, \qquad
        R = \Big(\prod_l s_l\Big) \Big(\sum_l (b_l / s_l)^{2/3}\Big)^{3/2}

    with s the spectral norm of each weight and b the sum of the norms of its rows, the reference matrices zero. A
    convolution counts as its table [out, in · k · k]; biases and normalising layers are ignored, so the measure is not
    valid with BatchNorm.

    Args:
        objective: a classifier: outputs [N, C], targets [N].
        params: the point; by default the origin.
        quantile: of the samples; the median is 0.5.

    Returns:
        The quantile, without unit, and half the distance between the quartiles.

    Raises:
        SpecError: the model is not a classifier or has no weights, or a weight is zero.
    """
    ground = Ground(objective, params)
    rows = filters.table(objective.model)
    weights = [ground.base[name] for name, row in rows.items() if row.role == "weight"]
    if not weights:
        raise SpecError("the model has no weight with two dimensions, so it has no spectral complexity")
    if zero := [name for name, row in rows.items() if row.role == "weight" and not bool(ground.base[name].any())]:
        raise SpecError(f"{zero[0]!r} is zero, so the network is constant and its spectral complexity is not defined")
    complexity = _complexity([weight.detach().double().cpu().flatten(1) for weight in weights])
    model = moved_copy(ground).requires_grad_(False)
    gaps, squares = [], 0.0
    with asked(objective), objective.batches.seeded(0), torch.no_grad():
        for batch in objective.batches:
            squares += float(_first_floating(batch).double().square().sum())
            gaps.append(_gaps(*objective.forward(model, batch)).cpu().double())
    scale = complexity * math.sqrt(squares) / objective.samples
    settings = {"log10 complexity": math.log10(complexity)}
    return _quantile("spectral_margin", torch.cat(gaps).numpy() / scale, quantile, ground, settings, gradients=0.0)


def _complexity(weights: list[Tensor]) -> float:
    norms = [float(torch.linalg.matrix_norm(weight, 2)) for weight in weights]
    sums = [float(weight.norm(dim=1).sum()) for weight in weights]
    ratios = sum((b / s) ** (2 / 3) for b, s in zip(sums, norms, strict=True))
    return float(math.prod(norms) * ratios**1.5)


def _gaps(outputs: Any, targets: Any) -> Tensor:
    """How much larger the right score is than the largest other one, [N]."""
    scores = calling.predictions(outputs)
    good = isinstance(scores, Tensor) and scores.dim() == 2 and scores.shape[1] >= 2
    if not good or not isinstance(targets, Tensor) or targets.shape != scores.shape[:1] or targets.is_floating_point():
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise SpecError(f"margins need scores [N, classes] and class numbers [N]; the outputs are {got}")
    right = scores.gather(1, targets[:, None])
    others = scores.scatter(1, targets[:, None], -math.inf)
    gaps: Tensor = (right - others.max(dim=1, keepdim=True).values).squeeze(1)
    return gaps


def _first_floating(batch: Any) -> Tensor:
    for tensor in tensors_of(batch):
        if tensor.is_floating_point():
            return tensor
    raise SpecError("margins need an input of floating point; the batch has none (text has no distance)")


def _quantile(
    name: Any, margins: np.ndarray, quantile: float, ground: Ground, settings: dict[str, Any], *, gradients: float
) -> Sharpness:
    check_number("quantile", quantile)
    if not 0 <= quantile <= 1:
        raise SpecError(f"quantile={quantile!r}; expected a share from 0 to 1, such as 0.5 for the median")
    low, high = np.quantile(margins, [0.25, 0.75])
    return Sharpness(
        measure=name,
        value=float(np.quantile(margins, quantile)),
        spread=float(high - low) / 2,
        spread_is="half the distance between the quartiles of the samples",
        settings={"quantile": quantile, "share on the wrong side": float(np.mean(margins < 0)), **settings},
        evaluations=ground.evaluations + 1,
        gradients=gradients,
    )
