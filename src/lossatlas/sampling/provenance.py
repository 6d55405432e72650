"""What is a run, for the record? What must be the same to resume it, and where its numbers come from."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lossatlas.objective import Objective
from lossatlas.objective.code import code_of
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.model_code import code_of_model
from lossatlas.objective.paired import Paired
from lossatlas.objective.probe import Centre
from lossatlas.objective.reduction import name_of
from lossatlas.results.landscape import About, Axis
from lossatlas.results.naming import OWN_LOSS
from lossatlas.results.spec import RunSpec
from lossatlas.sampling.samplers import Sampler
from lossatlas.space.charts import Chart
from lossatlas.space.facts import Facts, facts
from lossatlas.space.shifting import Moved, Shifted

__all__ = ["code_identity", "question_identity", "repeated_by", "run_spec", "subject_identity"]

_PROGRAM: ContextVar[str] = ContextVar("program", default="")


@contextlib.contextmanager
def repeated_by(program: str) -> Iterator[None]:
    """Record with every run begun here the Python program that repeats it.

    Args:
        program: as `lossatlas sample --print-python` prints it.

    Yields:
        Nothing.
    """
    token = _PROGRAM.set(program)
    try:
        yield
    finally:
        _PROGRAM.reset(token)


def run_spec(
    objective: Measurable,
    chart: Chart,
    sampler: Sampler,
    centre: Centre,
    precision: str = "exact",
    errors: tuple[str, ...] = (),
    code: Mapping[str, Any] | None = None,
) -> RunSpec:
    """Describe a run.

    Args:
        objective: what is measured.
        chart: where.
        sampler: which points; its axes are in the order of the dimensions.
        centre: the values at the origin.
        precision: number format of the evaluation, a name of ``plans.PRECISIONS``.
        errors: names of the standard errors kept beside the values.
        code: what model, loss, metrics and forward do, see :func:`code_identity`.

    Returns:
        Identity, axes and description.
    """
    axes = sampler.axes
    known = facts(chart, axes)
    return RunSpec(
        identity=_identity(objective, known, axes, centre)
        | {"precision": precision, "sampler": dict(sampler.identity)}
        | {"device": objective.device.type}
        | ({"standard errors": list(errors)} if errors else {})
        | ({"code": dict(code)} if code else {}),
        axes={
            name: Axis(coordinates=coordinates, length=known.lengths[name], label=known.labels[name], unit=known.unit)
            for name, coordinates in axes.items()
        },
        values=(*objective.names, *errors),
        about=_about(objective, known, centre, precision),
    )


def code_identity(objective: Measurable) -> dict[str, dict[str, str]]:
    """What model, loss, metrics and forward do, as far as it can be read; hashes by name."""
    if isinstance(objective, Function):
        return {"loss": code_of(objective.loss)}
    read: dict[str, Any] = {f"metric {name}": metric for name, metric in objective.metrics.items()}
    read |= {"loss": objective.loss} if objective.loss is not None else {}
    forward = objective.forward
    forward = forward.forward if isinstance(forward, Shifted) else forward
    read |= {"forward": forward.function if isinstance(forward, Paired) else forward}
    told = {name: code_of(function) for name, function in read.items()}
    network = code_of_model(_network(objective), read.values())
    return told | ({"model": network} if network else {})


def subject_identity(objective: Measurable) -> dict[str, str]:
    """What the loss is a function of, apart from where it is measured."""
    if isinstance(objective, Function):  # its data is what its code reads
        return {"model": objective.fingerprint, "loss": _loss_name(objective), "calls": objective.calls}
    return {
        "model": objective.fingerprint,
        "data": objective.batches.fingerprint,
        "loss": _loss_name(objective),
        "batchnorm": objective.batchnorm,
    }


def question_identity(objective: Objective, chart: Chart, sampler: Sampler) -> dict[str, Any]:
    """The part of a run's identity that is known before the samples are."""
    known = {name: part for name, part in subject_identity(objective).items() if name != "data"}
    if not isinstance(objective.model, Moved):  # if inputs move, the record has the plane, not the line within it
        known |= facts(chart, sampler.axes).identity
    return {**known, "grid": {name: _grid_line(coordinates) for name, coordinates in sampler.axes.items()}}


def _identity(objective: Measurable, known: Facts, axes: Mapping[str, np.ndarray], centre: Centre) -> dict[str, Any]:
    return {
        **subject_identity(objective),
        "metrics": list(objective.names[1:]),
        "training mode": objective.training,
        **known.identity,
        "grid": {name: _grid_line(coordinates) for name, coordinates in axes.items()},
        "centre": centre.values,
    }


def _kind(objective: Measurable) -> str:
    """The class of the model; if its inputs move, that of the network inside."""
    return objective.kind if isinstance(objective, Function) else type(_network(objective)).__name__


def _network(objective: Objective) -> nn.Module:
    model = objective.model
    return model.network if isinstance(model, Moved) else model


def _about(objective: Measurable, known: Facts, centre: Centre, precision: str) -> About:
    return About(
        title=objective.name,
        model=_kind(objective),
        data=objective.data_name,
        loss=_loss_name(objective),
        samples=objective.samples,
        counts={name: asdict(count) for name, count in objective.counts.items()},
        normalisation=known.by,
        still=known.still,
        batchnorm=objective.batchnorm_words,
        seed=known.seed,
        dtype=known.dtype if precision == "exact" else precision,
        device=objective.device.type,
        centre=centre.values,
        cosines=known.cosines,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=f"lossatlas {version('lossatlas')}",
        provenance=_provenance(objective, centre) | dict(known.more),
    )


def _provenance(objective: Measurable, centre: Centre) -> dict[str, Any]:
    program = _PROGRAM.get()
    return {
        "command": _command(sys.argv),
        **({"python": program} if program else {}),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "xarray")},
        },
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "fingerprints": {name: told for name, told in subject_identity(objective).items() if name in ("model", "data")},
        "seconds per point": round(centre.seconds, 6),
        "notes": list(centre.notes),
    }


def _command(arguments: list[str]) -> str:
    """The command as a user types it, wherever its program is."""
    program, *rest = arguments or [""]
    own = Path(program).name == "lossatlas" or Path(program).parts[-2:] == ("lossatlas", "__main__.py")
    return shlex.join(["lossatlas" if own else program, *rest])


def _loss_name(objective: Measurable) -> str:
    if isinstance(objective, Function):
        return name_of(inspect.unwrap(objective.loss))
    return OWN_LOSS if objective.loss is None else name_of(objective.loss)


def _grid_line(coordinates: np.ndarray) -> str:
    digest = hashlib.blake2b(coordinates.astype("<f8").tobytes(), digest_size=4).hexdigest()
    return f"{len(coordinates)} points from {coordinates[0]:g} to {coordinates[-1]:g} ({digest})"
