"""What ``--function`` names: a ``la.Function`` instead of a model and its data, and which flags go with it."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

from lossatlas.cli import names
from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.objective.function import Function
from lossatlas.space.charts import Plane

__all__ = ["FITTING", "build_function", "build_function_plane", "check_function"]

FITTING = (
    "function", "x", "y", "z", "radius", "seed", "normalize", "still", "only", "orthogonal", "adaptive", "executor",
    "shard", "retry", "strict", "seeds", "run", "out", "mark", "title", "view",
)  # fmt: skip
"""The settings that apply to a function of arrays."""


def check_function(scan: Any) -> None:
    """Check that nothing is asked of a function that only a model and its data can answer.

    Args:
        scan: a :class:`lossatlas.cli.scan.Scan`.

    Raises:
        SpecError: such a setting is given; the message names it.
    """
    if not scan.function:
        return
    given = [f.name for f in fields(scan) if f.name not in FITTING and getattr(scan, f.name) != f.default]
    if given:
        flag = given[0].replace("_", "-")
        raise SpecError(
            f"--{flag} is about a torch model and its data, but --function {scan.function} is a function of arrays: "
            f"leave one of them out"
        )


def build_function(scan: Any) -> Function:
    """The function that ``--function`` names.

    Args:
        scan: a scan with a function.

    Returns:
        It, under the title of the scan if there is one, or where its loss has no name under that of what made it.

    Raises:
        SpecError: it is something else, or cannot be made.
    """
    name = names.parse(scan.function, "file.py:callable or package.module:callable")
    found = names.made(name, (Function,))
    if not isinstance(found, Function):
        raise SpecError(
            f"--function {scan.function} is {described_type(found)}; expected a lossatlas.Function, or a callable that "
            "returns one: la.Function(loss, parameters)"
        )
    if scan.title or "<lambda>" in found.name:
        found = copy.copy(found)
        found.name = scan.title or scan.function.partition("(")[0].rpartition(":")[2]
    return found


def build_function_plane(scan: Any, function: Function) -> Plane:
    """Random directions for a function.

    Args:
        scan: a scan with a function.
        function: whose arrays move.

    Returns:
        The plane.
    """
    options: dict[str, Any] = {"by": scan.normalize, "still": scan.still, "only": scan.only}
    return Plane.random(function, seed=scan.seed, axes=tuple(scan.axes), orthogonal=scan.orthogonal, **options)
