"""What is measured at a point? Model + loss + metrics + data -> named numbers, as a function of the parameters."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown
from lossatlas.objective import arguments, calling, census, counting, losses, mixing, private, reduction, wrappers
from lossatlas.objective import batchnorm as bn
from lossatlas.objective.batches import Batches
from lossatlas.objective.described import Described
from lossatlas.objective.paired import checked_forward
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked
from lossatlas.objective.tasks import Task, Tasks
from lossatlas.objective.weighing import found
from lossatlas.results.landscape import Count

__all__ = ["GIB", "Objective", "Watch"]

GIB = 1024**3

Watch = Callable[[Any, Any, int], None]
"""An observer of a mean while it is taken: ``(outputs, targets, number of samples)`` of every batch."""


class Objective(private.Travelling, Described):
    r"""The function whose landscape is wanted.

    For parameters θ, N samples and a loss ℓ it is :math:`L(θ) = \frac{1}{N} \sum_i ℓ(f_θ(x_i), y_i)`, and the same mean
    for every metric. Means are weighted by sample, so it does not matter how the data are cut into batches. Where the
    loss has a value for each token, a sample is a token (:class:`lossatlas.objective.metrics.Weighted`).

    The model is never changed: all evaluations happen on a private copy. The data are read once, in order, and kept on
    the device if they fit into ``memory``.

    Args:
        model: any module. Its parameters, as they are now, are the origin; for a wrapper (DataParallel, DDP,
            ``torch.compile``, Fabric) the network inside counts.
        data: a DataLoader, a Dataset, any re-iterable of batches, or tensors with one row for each sample, as a tuple
            ``(x, y)`` or by name. A batch is any object: containers keep their class, tensors are moved to the device
            wherever they are found, and what ``forward`` gets is otherwise what the data gave.
        loss: ``(outputs, targets) -> scalar`` (a mean over samples) or one value for each sample, shape [N, ...].
            By default the model's own ``.loss`` is taken.
        metrics: by name, ``(outputs, targets) -> [N]``: one value for each sample (of type bool where it is a score of
            0 or 1, which then gets a binomial interval), or :class:`lossatlas.objective.metrics.Weighted`, or a
            :class:`lossatlas.objective.metrics.Derived` number.
        tasks: by name, ``model -> scores``: what the model does with problems of the task's own, see
            :mod:`lossatlas.objective.tasks`.
        forward: ``(model, batch) -> (outputs, targets)``; by default :func:`lossatlas.objective.calling.forward`.
        batchnorm: ``"frozen"``, ``"recalibrated"`` or ``"interpolated"``; see :mod:`lossatlas.objective.batchnorm`.
        device: where to evaluate; by default where the model is.
        memory: bytes of data that may be kept on the device.
        batch_size: rows evaluated at once if data is a tuple of tensors.
        training: evaluate in training mode instead of evaluation mode.
        in_place: move the model itself instead of a private copy, if there is no memory for two. Its weights are kept
            in a temporary file (in ``TMPDIR``) and restored bit for bit, even after an exception; see
            :mod:`lossatlas.evaluate.streaming`.
        autograd: let the forward pass take derivatives, with respect to inputs (a PINN) or weights (a step of MAML).
        size: the number of samples in every batch, or a function of a batch that gives it. By default it is read from
            the targets, or from the loss if that has one value for each sample; if neither reveals it, the data are
            refused. Batches that are seeds, or a loss over pairs, need it.
        name: what to call the model in pictures.
        data_name: what to call the data in pictures.

    Attributes:
        origin: the parameters (tied tensors once), detached, by name; with ``batchnorm="interpolated"`` also the
            running statistics.
        samples: number of samples N.
        sizes: number of samples of each batch.
        names: ``("loss", *metrics, *scores of tasks)``.
        measured: those of them that are measured batch by batch: without derived numbers and tasks.

    Raises:
        SpecError: an argument makes no sense; the message names it.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> x, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[3.0], [6.0]])
        >>> objective = Objective(model, (x, y), loss=nn.functional.mse_loss)
        >>> objective()
        {'loss': 0.5}
        >>> objective({"weight": torch.zeros(1, 2)})
        {'loss': 22.5}
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: reduction.Measure | None = None,
        *,
        metrics: Mapping[str, reduction.Measure | reduction.Derived] | None = None,
        tasks: Mapping[str, Task] | None = None,
        forward: calling.Forward | None = None,
        batchnorm: bn.Mode = "frozen",
        device: str | torch.device | None = None,
        memory: int = 2 * GIB,
        batch_size: int = 100,
        training: bool = False,
        autograd: bool = False,
        in_place: bool = False,
        size: counting.Size | None = None,
        name: str | None = None,
        data_name: str | None = None,
    ) -> None:
        arguments.check_callables(model, loss, forward)
        if batchnorm not in bn.MODES:
            raise SpecError(unknown("batchnorm", batchnorm, bn.MODES))
        self.model = model = wrappers.unwrapped(model)
        wrappers.check_ready(model)
        self.loss = loss
        self.metrics = arguments.checked_metrics(metrics)
        self.tasks = Tasks({} if tasks is None else tasks, taken=self.metrics)
        self.forward = checked_forward(forward)
        self.met = False  # whether model and loss have accepted data
        self.batchnorm, self.training = batchnorm, training
        self.autograd, self.in_place = autograd, in_place
        if in_place:
            private.check_in_place(model, batchnorm)
        self.device = arguments.device_of(model, device)
        self.size = counting.checked(size)
        plain, weighing = self.forward is calling.forward, reduction.by_target(loss)
        self._look = census.Look(self.size, plain=plain, weighing=weighing)
        self.batches = Batches(data, device=self.device, memory=memory, batch_size=batch_size, look=self._look)
        self.mean_checked, self.together, self.mixed = False, False, tuple[str, ...]()
        mixing.warn_of_mixing(model, self.batches.number, training=training)
        self.name = name or type(model).__name__
        self.data_name = data_name or arguments.data_name(data)
        self.origin = private.differentiable(_origin(model, statistics=batchnorm == "interpolated"), in_place)
        self.fingerprint = private.weights_fingerprint(model)
        self._counts: dict[str, Count] = {}

    @property
    def samples(self) -> int:
        """The number of samples behind each mean."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of samples of each batch."""
        return self._census.sizes

    @functools.cached_property
    def _census(self) -> census.Census:
        return census.take(self, self._look)

    @functools.cached_property
    def weighing(self) -> reduction.ByTarget | None:
        """How the loss weighs targets, if it is a mean of torch's own in which they do not all count the same."""
        return found(self, self._look)

    @property
    def batchnorm_words(self) -> str:
        """What BatchNorm normalised by, for a caption; empty if the model has none."""
        evaluated = None if self.in_place else vars(self).get("private")
        return bn.words(self.model, self.batchnorm, evaluated, training=self.training, mixed=self.mixed)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all values at a point, the loss first."""
        return ("loss", *self.metrics, *self.tasks.names)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of what is measured batch by batch, the loss first."""
        return ("loss", *(name for name in self.metrics if name not in self.derived))

    @property
    def derived(self) -> tuple[str, ...]:
        """The names of the metrics that follow from a mean."""
        return tuple(name for name, metric in self.metrics.items() if isinstance(metric, reduction.Derived))

    @property
    def counts(self) -> dict[str, Count]:
        """What a mean is over, by value, if that is not samples or the scores are 0 or 1; for the last point."""
        return self._counts | self.tasks.counts

    @functools.cached_property
    def private(self) -> nn.Module:
        """The copy on which everything is evaluated, at the origin until it is moved."""
        if self.in_place:
            return self.model
        return private.private_copy(self.model, device=self.device, training=self.training, autograd=self.autograd)

    @functools.cached_property
    def places(self) -> dict[str, Tensor]:
        """The tensors of the private copy that ``origin`` names: writing into them moves the copy."""
        return _origin(self.private, statistics=self.batchnorm == "interpolated")

    def __call__(self, params: Mapping[str, Tensor] | None = None) -> dict[str, float]:
        """Loss and metrics at a point.

        Args:
            params: tensors by name, shaped like those of ``origin``; names left out stay at the origin.

        Returns:
            The mean over all samples of the loss and of each metric, by name.

        Raises:
            SpecError: the model lacks a name or shape.
        """
        self.move(params)
        with asked(self):
            return self.measure()

    def move(self, params: Mapping[str, Tensor] | None = None) -> None:
        """Put the private copy at a point; names left out go to the origin.

        Raises:
            SpecError: the model lacks a name or shape.
        """
        point = dict(self.origin)
        for name, tensor in arguments.checked_params(params).items():
            if name not in point or point[name].shape != tensor.shape:
                expected = f"shape {tuple(point[name].shape)}" if name in point else f"one of {sorted(point)[:5]} …"
                raise SpecError(f"params[{name!r}] has shape {tuple(tensor.shape)}; expected {expected}")
            point[name] = tensor
        for name, place in self.places.items():
            if self.in_place and not private.same_memory(point[name], place):
                raise SpecError(private.ELSEWHERE)
            if not self.in_place:
                place.copy_(point[name])

    def posed(self) -> AbstractContextManager[None]:
        """The mode of evaluation, set on the model itself if it is moved in place, and restored afterwards."""
        return private.posed(self.model, training=self.training) if self.in_place else contextlib.nullcontext()

    def measure(self, seed: int = 0, watch: Watch | None = None) -> dict[str, float]:
        """Loss and metrics of the private copy at its present point.

        Args:
            seed: decides the random numbers of a stochastic model; the global random state is left alone.
            watch: called with outputs, targets and number of samples of every batch.

        Returns:
            Values by name, the loss first.
        """
        with self.posed(), self.batches.seeded(seed):
            if self.batchnorm == "recalibrated":
                bn.recalibrate(self.private, self.batches, self.forward)
            with self.grad_mode():
                found = self.mean(self.batches, watch)
                scores = self.tasks(self.private)
        return {name: scores[name] if name in scores else found[name] for name in self.names}

    def mean(self, batches: Iterable[Any], watch: Watch | None = None) -> dict[str, float]:
        """The weighted mean over batches, summed in double precision whatever the model's format; without tasks."""
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPU has no doubles
        rows, weights = [], []
        for batch in batches:
            parts = self.parts(batch, watch=watch)
            rows.append(torch.stack([part.mean.detach().to(exact) for part in parts]))
            weights.append(torch.stack([part.weight_on(self.device).to(exact) for part in parts]))
        table, shares = torch.stack(rows).cpu().double(), torch.stack(weights).cpu().double()
        self._count(parts, shares.sum(dim=0).tolist())
        means = (shares * table).sum(dim=0) / shares.sum(dim=0)
        return dict(zip(self.completed_names, self.completed(means[None].numpy())[0].tolist(), strict=True))

    def _count(self, parts: list[reduction.Part], totals: list[float]) -> None:
        for name, part, total in zip(self.measured, parts, totals, strict=True):
            if part.unit != "sample" or part.zero_one:
                self._counts[name] = Count(unit=part.unit, number=total, zero_one=part.zero_one)

    @property
    def completed_names(self) -> tuple[str, ...]:
        """The names of all values but those of tasks."""
        return ("loss", *self.metrics)

    def completed(self, means: np.ndarray) -> np.ndarray:
        """The derived numbers put among those that were measured.

        Args:
            means: float64 [n, measured].

        Returns:
            float64 [n, loss and metrics].
        """
        columns = dict(zip(self.measured, means.T, strict=True))
        for name, metric in self.metrics.items():
            if isinstance(metric, reduction.Derived):
                columns[name] = metric(columns[metric.of])
        return np.stack([columns[name] for name in self.completed_names], axis=1)

    def parts(
        self, batch: Any, model: nn.Module | None = None, watch: Watch | None = None, size: int | None = None
    ) -> list[reduction.Part]:
        """The mean of one batch, and its weight, for all that is measured; on the private copy or another model."""
        outputs, targets = self.forward(self.private if model is None else model, batch)
        shown = calling.predictions(outputs)
        parts = [self.loss_part(outputs, targets, batch, size, weighing=self.weighing)]
        size = parts[0].samples if size is None else size
        for name in self.measured[1:]:
            value = self.metrics[name](shown, targets)
            parts.append(reduction.part(reduction.metric_mean(name, value, size), value, size))
        if watch is not None:
            watch(shown, targets, size)
        return parts

    def loss_part(
        self,
        outputs: Any,
        targets: Any,
        batch: Any,
        size: int | None = None,
        weighing: reduction.ByTarget | None = None,
    ) -> reduction.Part:
        """The mean loss of one batch, and its weight.

        Args:
            outputs: of the model.
            targets: of the batch.
            batch: the batch itself.
            size: its samples; by default they are counted.
            weighing: how the targets weigh, if they do not all weigh the same.

        Returns:
            The part of the loss.

        Raises:
            SpecError: the loss has a shape that makes no mean, or the samples cannot be counted.
        """
        return losses.loss_part(self, outputs, targets, batch, size, weighing)

    @functools.cached_property
    def separate(self) -> bool:
        """Whether each value of the loss belongs to one row of the outputs, though there are fewer or more of them."""
        return losses.separate(self)

    def shares(self) -> list[float]:
        """The weight of each batch's mean loss in the loss: shares that sum to 1."""
        return losses.shares(self)

    def each(self) -> Tensor:
        """Loss and metrics of every sample at the private copy's present point, float64 [N, measured].

        Returns:
            A row for each sample; the columns are in the order of ``measured``.

        Raises:
            SpecError: the loss of a batch is not a mean over samples, or is the model's own.
        """
        with self.posed(), self.batches.seeded(0), self.grad_mode():
            return torch.cat([self.each_of(batch) for batch in self.batches])

    def each_of(self, batch: Any, size: int | None = None) -> Tensor:
        """The same for the samples of one batch, or of a part of one whose size is given."""
        if self.loss is None:
            raise SpecError("loss=None: a model's own loss is one number per batch; pass loss=... to see each sample")
        outputs, targets = self.forward(self.private, batch)
        shown, size = calling.predictions(outputs), self.loss_part(outputs, targets, batch, size).samples
        columns = [reduction.loss_each(self.loss, shown, targets, size)]
        columns += [reduction.metric_each(name, self.metrics[name](shown, targets), size) for name in self.measured[1:]]
        return torch.stack(columns, dim=1).detach().cpu()

    @contextlib.contextmanager
    def grad_mode(self) -> Iterator[None]:
        """Inference mode, or gradients if the objective needs them.

        Yields:
            Nothing.

        Raises:
            SpecError: the model or the loss takes derivatives, and ``autograd`` is not set.
            RuntimeError: whatever else goes wrong in the model.
        """
        try:
            with differentiated() if self.autograd else torch.inference_mode():
                yield
        except RuntimeError as fault:
            words = str(fault).splitlines()[0] if str(fault) else ""
            if self.autograd or not ("does not require grad" in words or "nference" in words):
                raise
            said = f"the forward pass or the loss takes derivatives, or needs tensors that can be ({words})"
            raise SpecError(f"{said}; pass autograd=True, or --autograd on the command line") from fault

    def assert_unchanged(self) -> None:
        """Check that model and data are as they were when the objective was made.

        Raises:
            SpecError: one has been changed since; the origin, or what is measured, would silently be another.
        """
        if private.weights_fingerprint(self.model) != self.fingerprint:
            raise SpecError(private.CHANGED)
        self.batches.assert_unchanged()


def _origin(model: nn.Module, *, statistics: bool) -> dict[str, Tensor]:
    origin = {name: tensor.detach() for name, tensor in model.named_parameters()}
    return origin | (bn.statistics(model) if statistics else {})
