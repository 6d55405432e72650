"""Which flags say how a printed picture is set? Their names are the fields of a View and the keys of ``[view]``."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.forms import LINE, MAP, PAGE, RELIEF, shown_by
from lossatlas.cli.needed import needing
from lossatlas.errors import SpecError

__all__ = ["PRINTED", "given", "named", "printed"]

_SET = "set on a page (png, pdf, svg)"
_page = functools.partial(needing, needs=shown_by(*PAGE, words=f"what is {_SET}"))
_flat = functools.partial(needing, needs=shown_by(LINE, MAP, words=f"lines and maps that are {_SET}"))
_upright = functools.partial(needing, needs=shown_by(MAP, RELIEF, words=f"maps and reliefs that are {_SET}"))

PRINTED: dict[str, Callable[[Any], Any]] = {
    "width": _page(
        "--width",
        metavar="WIDTH",
        help="column (3.3 in), text (6.8), slide (10), a number of inches, or a length such as 84mm.",
    ),
    "height": _page("--height", metavar="HEIGHT", help="Inches or a length (default: what the content needs)."),
    "aspect": _page("--aspect", type=float, metavar="RATIO", help="Height of a panel over its width."),
    "font": _page("--font", metavar="FAMILY", help="sans-serif (default), serif, monospace or one installed."),
    "font_size": _page("--font-size", type=float, metavar="POINTS", help="Size of labels; other text scales with it."),
    "dpi": _page("--dpi", type=int, metavar="N", help="Dots per inch of png, jpg and webp (300)."),
    "colours": click.option(
        "--colours", metavar="MAP", help="auto (default), diverging, or any matplotlib colour map."
    ),
    "x_label": _page("--x-label", metavar="TEXT", help="Label of the horizontal axis."),
    "y_label": _upright("--y-label", metavar="TEXT", help="Label of the vertical axis of maps and reliefs."),
    "value_label": click.option("--value-label", metavar="TEXT", help="Label of the value."),
    "letters": _page("--letters", is_flag=True, default=None, help="Put (a), (b), … before the panels' titles."),
    "legend": _page("--legend/--no-legend", default=None, help="Show the legend below the panels."),
    "ticks": _flat("--ticks", metavar="STYLE", help="out (default), in, none."),
    "units": _flat("--units/--no-units", default=None, help="Show units and the second scale, of length."),
    "caption": _page(
        "--caption",
        metavar="KIND",
        help="short (default: two lines), full or none; the file's metadata hold the full text anyway.",
    ),
}
"""The flags of a page, by the names of the fields."""


def printed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of a page.

    Returns:
        The command.
    """
    for option in reversed(PRINTED.values()):
        command = option(command)
    return command


def given(config: Path | None, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a View that a file sets, overruled by the flags that were given.

    Args:
        config: a TOML file with a table ``[view]``; its other tables are ignored.
        fields: values by the names of flags, ``None`` where they were not given.

    Returns:
        Values by the names of the fields.

    Raises:
        SpecError: the file is missing or damaged, or a key or value is wrong.
    """
    from lossatlas.cli.seen import view_fields

    found: dict[str, Any] = {}
    if config is not None:
        try:
            content = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as fault:
            raise SpecError(f"--config {config} cannot be read: {fault.strerror or fault}") from fault
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            raise SpecError(f"--config {config} is not valid TOML: {fault}") from fault
        found = view_fields(config, content.get("view", {}))
    asked = {name: value for name, value in fields.items() if value is not None}
    for name in ("width", "height"):
        if name in asked:
            asked[name] = _number_or_text(asked[name])
    return found | asked


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def named(
    runs: tuple[str, ...], labels: tuple[str, ...], plain: str = "a run folder", form: str = "NAME=RUN"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Runs and what they are called: those given plainly first, then those that only ``--label NAME=RUN`` gives.

    Args:
        runs: without names.
        labels: ``NAME=RUN``; of several =, the last one followed by an existing file or folder counts.
        plain: how a run is given without a name, for the message.
        form: how it is given with one.

    Returns:
        The runs, and a name for each, empty where it has its own; no names at all where none is given.

    Raises:
        SpecError: a label without =, or no run at all.

    Example:
        >>> named(("runs/a",), ("SGD=runs/b",))
        (('runs/a', 'runs/b'), ('', 'SGD'))
        >>> named(("runs/a", "runs/b"), ("SGD=runs/b",))
        (('runs/a', 'runs/b'), ('', 'SGD'))
    """
    pairs = []
    for label in labels:
        splits = [(label[: found.start()], label[found.end() :]) for found in re.finditer("=", label)]
        splits = [(name, run) for name, run in splits if name and run]
        if not splits:
            raise SpecError(f"--label {label!r}: expected {form}, such as 'SGD=runs/a'")
        pairs.append(next((split for split in reversed(splits) if Path(split[1]).exists()), splits[0]))
    if not runs and not pairs:
        raise SpecError(f"{form.partition('=')[2]} is missing: give {plain}, or --label {form}")
    every, names = list(runs), [""] * len(runs)
    for name, run in pairs:
        plainly = [at for at, one in enumerate(runs) if Path(one) == Path(run) and not names[at]]
        if plainly:
            names[plainly[0]] = name
        else:
            every.append(run)
            names.append(name)
    return tuple(every), tuple(names) if pairs else ()
