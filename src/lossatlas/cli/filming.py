"""Which flags say how long, fast and wide a film is, and how a training run is filmed: for every command that films."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from lossatlas.cli.needed import Need, needing
from lossatlas.errors import SpecError

__all__ = ["grown", "lengths", "walked"]


def lengths(needs: Need | tuple[Need, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the length, rate and width of a film.

    Args:
        needs: what they need in this command.

    Returns:
        A decorator.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shown: dict[str, Any] = {"needs": needs, "show_default": True}
        for option in (
            needing("--width", type=int, default=960, metavar="PIXELS", help="Width of the film.", **shown),
            needing("--rate", type=int, default=24, metavar="N", help="Frames per second.", **shown),
            needing("--seconds", type=float, default=6.0, metavar="S", help="Length of the film, in seconds.", **shown),
        ):
            command = option(command)
        return command

    return decorate


def walked(run: str) -> tuple[Any, list[Any], list[Any]]:
    """What a run folder keeps of a training run.

    Args:
        run: the folder.

    Returns:
        The surface, the paths over it, and what else lies there.

    Raises:
        SpecError: it keeps no path; the message says how to get one.
    """
    from lossatlas.figure.kept import kept
    from lossatlas.figure.overlays import Path
    from lossatlas.results.opening import kind_of, landscape_at
    from lossatlas.sampling.filling import preview

    upon = kept(run)
    paths = [one for one in upon if isinstance(one, Path)]
    if not paths and kind_of(run) is not None:
        raise SpecError(
            f"{run} holds no path of a training run over a surface; lossatlas trajectory --folder PATH --model … "
            "--data … --run NEW makes a run that does; PATH is what a lossatlas.Recorder wrote, or a folder of "
            "checkpoints"
        )
    return preview(landscape_at(run)), paths, [one for one in upon if not isinstance(one, Path)]


def grown(landscape: Any, out: str, paths: Any, upon: Sequence[Any] = (), **options: Any) -> None:
    """Film a training run as it grows over its surface, and say where the film is.

    Args:
        landscape: the surface.
        out: the film.
        paths: what :class:`lossatlas.draw.film.Grow` takes.
        upon: what lies on the surface besides.
        **options: what :func:`lossatlas.animate` takes.
    """
    from lossatlas.draw.film import Grow, animate

    beside: dict[str, Any] = {"overlays": list(upon)} if upon else {}
    click.echo(f"filmed: {animate(landscape, out, Grow(path=paths), **beside, **options)}")
