"""What does a model do with a task's own problems? Callables get the model, and scores come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type
from lossatlas.results.landscape import Count

__all__ = ["Task", "Tasks"]

Task = Callable[[nn.Module], Any]
"""``task(model) -> scores``: one score for each problem, shape [n]; of type bool where a score is 0 or 1. A single
number is taken as it is, such as a corpus score. A task that gives several kinds of score has their ``names``, and
returns them by name."""


class Tasks:
    """The tasks of an objective, measured at each point on the private copy of the model.

    Args:
        given: by name.
        taken: names that are in use.

    Attributes:
        names: of the values: the task's own name, or ``task_score`` if it gives several scores.
        counts: how many problems are behind each mean, as far as they were counted.

    Raises:
        SpecError: a name is not valid, or a task is not callable.

    Example:
        >>> tasks = Tasks({"positive": lambda model: model.weight.flatten() > 0})
        >>> layer = nn.Linear(4, 1)
        >>> _ = nn.init.ones_(layer.weight)
        >>> tasks(layer), tasks.counts["positive"].number
        ({'positive': 1.0}, 4)
    """

    def __init__(self, given: Mapping[str, Task], *, taken: Iterable[str] = ()) -> None:
        check_kind("tasks", given, Mapping, 'callables (model) -> scores by name, such as {"solved": task}')
        self.given = dict(given)
        self.counts: dict[str, Count] = {}
        self._names: dict[str, dict[str, str]] = {}
        for name, task in self.given.items():
            if not callable(task):
                raise SpecError(f"tasks[{name!r}] is {described_type(task)}; expected a callable (model) -> scores")
            own = getattr(task, "names", None)
            self._names[name] = {score: f"{name}_{score}" for score in own} if own else {"": name}
        self.names = tuple(name for scores in self._names.values() for name in scores.values())
        wrong = [n for n in self.names if n in (*taken, "loss") or not n.isidentifier()]
        if wrong or len(set(self.names)) < len(self.names):
            raise SpecError(
                f"tasks: {(wrong or list(self.names))[0]!r} cannot name a score; choose an identifier that no other "
                "value has"
            )

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The mean score of each task, by value."""
        found = {}
        for name, task in self.given.items():
            scores = task(model)
            for score, value in self._names[name].items():
                if score and (not isinstance(scores, Mapping) or score not in scores):
                    raise SpecError(f"tasks[{name!r}] returned no score {score!r}, which its names promise")
                found[value] = self._mean(value, scores[score] if score else scores)
        return found

    def _mean(self, name: str, scores: Any) -> float:
        array = scores.detach().cpu().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
        if array.ndim > 1 or array.dtype.kind not in "biuf" or not array.size:
            raise SpecError(
                f"tasks[{name!r}] returned scores of shape {array.shape}, type {array.dtype}; expected one number for "
                "each problem, or a single number"
            )
        known = self.counts.get(name)
        count = Count(unit="problem", number=array.size, zero_one=array.dtype == np.bool_)
        if known is not None and known != count:
            raise SpecError(f"tasks[{name!r}] gave {known} at one point and {count} at another")
        self.counts[name] = count
        return math.fsum(array.astype(np.float64).ravel().tolist()) / array.size
