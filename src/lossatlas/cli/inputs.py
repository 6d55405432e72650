"""What does `lossatlas sample --input-plane` move, and what does it print besides the surface?"""

from __future__ import annotations

from typing import Any, get_args

from lossatlas.errors import SpecError, unknown

__all__ = ["PLANES", "build_input_plane", "check_inputs", "led", "plane_call", "said", "usual"]

PLANES = ("adversarial", "random")
"""Which planes of inputs have a name: up the gradient with random directions beside it, or random alone."""

FORMS = "adversarial, random, towards:EXAMPLE,… or token:POSITION:NUMBER,…, such as towards:7 or token:3:17"

_ONLY = ("examples", "norm", "clamp", "layer")


def led(scan: Any) -> tuple[str, int, tuple[int, ...]] | None:
    """What a plane of inputs leads to, where it leads to something.

    Args:
        scan: a :class:`lossatlas.cli.scan.Scan`.

    Returns:
        "towards", 0 and the numbers of examples, or "token", the position and the numbers of tokens; None where the
        plane has a name.

    Raises:
        SpecError: its form is unknown.
    """
    if scan.input_plane in PLANES:
        return None
    kind, _, rest = scan.input_plane.partition(":")
    at, _, listed = rest.partition(":") if kind == "token" else ("0", "", rest)
    try:
        position, numbers = int(at), tuple(int(number) for number in listed.split(","))
    except ValueError:
        numbers = ()
    if kind not in ("towards", "token") or not numbers or min(numbers) < 0:
        raise SpecError(f"--input-plane {scan.input_plane}; expected {FORMS}")
    return kind, position, numbers


def usual(scan: Any) -> tuple[str, ...]:
    """The axes of a plane for which none is given: a square, or a line to a single other input.

    Returns:
        Their names.
    """
    found = led(scan) if scan.input_plane else None
    return ("x",) if found and len(found[2]) == 1 else ("x", "y")


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
            raise SpecError(f"--{given[0]} needs --input-plane, which moves the inputs instead of the weights")
        return
    if found := led(scan):
        _check_led(scan, *found)
    from lossatlas.space.inputs import Norm

    if scan.norm and scan.norm not in get_args(Norm):
        raise SpecError(unknown("--norm", scan.norm, get_args(Norm)))
    others = ("directions", "towards", "only", "orthogonal", "canonical", "seeds")
    if wrong := [name for name in others if getattr(scan, name)]:
        raise SpecError(
            f"--{wrong[0]} is about directions of weights, but --input-plane moves the inputs; leave it out"
        )
    _options(scan)


def _check_led(scan: Any, kind: str, position: int, numbers: tuple[int, ...]) -> None:
    """Check what goes with a plane that leads to other inputs."""
    asked = f"--input-plane {scan.input_plane}"
    if len(numbers) != len(scan.axes):
        raise SpecError(
            f"{asked} names {len(numbers)}, but the axes are {', '.join(scan.axes)}: give one number for each axis"
        )
    if scan.norm:
        raise SpecError(
            f"--norm {scan.norm} is for adversarial and random; {asked} ends at what it names: leave it out"
        )
    if kind == "token" and not scan.layer:
        raise SpecError(f"{asked} needs --layer NAME, the embedding whose output moves")
    if kind == "token" and scan.clamp:
        raise SpecError(f"--clamp {scan.clamp} is for inputs, but {asked} moves an embedding: leave it out")


def build_input_plane(scan: Any, objective: Any) -> Any:
    """The plane of inputs that a scan asks for, a :class:`lossatlas.InputPlane`."""
    import lossatlas as la

    how, others, options = _made(scan)
    return getattr(la.InputPlane, how)(objective, *others, **options)


def plane_call(scan: Any) -> str:
    """The Python that makes the same plane."""
    how, others, options = _made(scan)
    words = ["objective", *map(str, others), *(f"{name}={value!r}" for name, value in options.items())]
    return f"la.InputPlane.{how}({', '.join(words)})"


def _made(scan: Any) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """The name of the method that makes the plane, the numbers it leads to, and its options."""
    axes, found = {"axes": tuple(scan.axes)}, led(scan)
    if found is None:
        return scan.input_plane, (), {"seed": scan.seed} | axes | _options(scan)
    kind, position, numbers = found
    if kind == "token":
        return "tokens", numbers, {"position": position} | axes | _options(scan)
    return "towards", numbers, axes | _options(scan)


def said(scan: Any, objective: Any, plane: Any, landscape: Any) -> list[str]:
    """Print, line by line, whether a gradient attack finds what the surface shows; otherwise, what moved where."""
    import lossatlas as la

    if scan.input_plane == "random":
        return ["inputs: moved at random, the weights fixed"]
    if scan.input_plane != "adversarial":
        ways = ", ".join(f"{label} ({axis})" for axis, label in plane.recipe.labels.items())
        return [f"inputs: moved {ways}, the weights fixed and the targets kept"]
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
        SpecError: the text does not have this form.

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
