"""What does `lossatlas sample --input-plane` move, and what does it say besides the surface?"""

from __future__ import annotations

from typing import Any, get_args

from lossatlas.errors import SpecError, unknown

__all__ = ["PLANES", "build_input_plane", "check_inputs", "plane_call", "said"]

PLANES = ("adversarial", "random")
"""Which planes of inputs have a name: up the gradient with random directions beside it, or random alone."""

_ONLY = ("examples", "norm", "clamp", "layer")


def check_inputs(scan: Any) -> None:
    """Check the flags of a plane of inputs.

    Args:
        scan: a :class:`lossatlas.cli.scan.Scan`.

    Raises:
        SpecError: a flag that needs --input-plane, or that does not go with it.
    """
    given = [name for name in _ONLY if getattr(scan, name)]
    if not scan.input_plane:
        if given:
            raise SpecError(f"--{given[0]} goes with --input-plane, which moves the inputs instead of the weights")
        return
    if scan.input_plane not in PLANES:
        raise SpecError(unknown("--input-plane", scan.input_plane, PLANES))
    from lossatlas.space.inputs import Norm

    if scan.norm and scan.norm not in get_args(Norm):
        raise SpecError(unknown("--norm", scan.norm, get_args(Norm)))
    others = ("directions", "towards", "only", "orthogonal", "canonical", "seeds")
    if wrong := [name for name in others if getattr(scan, name)]:
        raise SpecError(
            f"--{wrong[0]} is about directions of weights, and --input-plane moves the inputs; leave it out"
        )
    _options(scan)


def build_input_plane(scan: Any, objective: Any) -> Any:
    """The plane of inputs that a scan asks for, a :class:`lossatlas.InputPlane`."""
    import lossatlas as la

    make = la.InputPlane.adversarial if scan.input_plane == "adversarial" else la.InputPlane.random
    return make(objective, seed=scan.seed, axes=tuple(scan.axes), **_options(scan))


def plane_call(scan: Any) -> str:
    """The Python that makes the same plane."""
    options = "".join(f", {name}={value!r}" for name, value in _options(scan).items())
    return f"la.InputPlane.{scan.input_plane}(objective, seed={scan.seed}, axes={tuple(scan.axes)}{options})"


def said(objective: Any, plane: Any, landscape: Any) -> list[str]:
    """Whether an attack by gradients finds what the surface shows, in lines; nothing for a random plane."""
    import lossatlas as la

    if "gradient" not in str(plane.recipe.labels.get(plane.axes[0], "")):
        return []
    found = la.masked_gradients(objective, plane, landscape)
    return [f"attack: {found.words}", f"attack: {found.caveat}"]


def _options(scan: Any) -> dict[str, Any]:
    """The options that are given, in the types of Python."""
    found: dict[str, Any] = {}
    if scan.examples:
        found["examples"] = _examples(scan.examples)
    if scan.norm:
        found["norm"] = scan.norm
    if scan.clamp:
        found["clamp"] = _clamp(scan.clamp)
    if scan.layer:
        found["layer"] = scan.layer
    return found


def _examples(text: str) -> list[int]:
    """Numbers of examples from a text.

    Returns:
        The numbers.

    Raises:
        SpecError: it is no such text.

    Example:
        >>> _examples("0,3,7-9")
        [0, 3, 7, 8, 9]
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise SpecError(f"--examples {text}; expected numbers counted from 0, such as 0,3,7 or 0-9")
        found += range(int(first), int(last if dash else first) + 1)
    return found


def _clamp(text: str) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        raise SpecError(f"--clamp {text}; expected LOW,HIGH, such as 0,1") from None
    return low, high
