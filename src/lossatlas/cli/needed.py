"""Which flags would do nothing here? One rule: a flag without effect is refused, and the message says what it needs.

A flag says beside its option what it needs. Only flags on the command line are refused: a default asks for nothing, and
a settings file is shared by several commands, each of which reads its own part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lossatlas.errors import SpecError

__all__ = ["Checked", "Need", "Needing", "check_late", "flag", "needing", "says", "settled", "unless"]

Told = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Need:
    """What has to be there for a flag to do something.

    Attributes:
        words: what the flag is for; completes "--critical is for …".
        met: whether it is there, given all settings of the command: values by the names of its parameters.
        so: what to do; by default "add that, or leave the flag out".
        fact: a fact that is known only once something has been opened; ``met`` is then given the one from
            :func:`check_late`.
    """

    words: str
    met: Callable[[Told], object]
    so: str = ""
    fact: str = ""

    def sentence(self, flag: str) -> str:
        """The message where it is not met."""
        return f"{flag} is for {self.words}: {self.so or f'add that, or leave {flag} out'}"


def flag(*names: str, words: str = "") -> Need:
    """The need for one of several other flags.

    Args:
        *names: of parameters.
        words: for the sentence; left out, the flags by their names.

    Returns:
        It.

    Example:
        >>> flag("map").sentence("--critical")
        '--critical is for --map: add that, or leave --critical out'
    """
    flags = " or ".join(f"--{name.replace('_', '-')}" for name in names)
    return Need(words=words or flags, met=lambda told: any(told.get(name) for name in names))


def says(name: str, *values: str) -> Need:
    """The need for another flag with one of some values.

    Returns:
        It.

    Example:
        >>> says("by", "group").sentence("--group")
        '--group is for --by group: add that, or leave --group out'
    """
    flag = name.replace("_", "-")
    return Need(words=f"--{flag} {' or '.join(values)}", met=lambda told: told.get(name) in values)


def unless(*names: str, words: str) -> Need:
    """The need that none of some other flags is given.

    Args:
        *names: of parameters.
        words: what the flag is for, and what is in its way.

    Returns:
        It.
    """
    return Need(words=words, met=lambda told: not any(told.get(name) for name in names), so="leave one of them out")


class Needing(click.Option):
    """An option that says what it needs.

    Args:
        needs: all of which have to be met; the first that is not met is reported.
    """

    def __init__(self, *args: Any, needs: Need | tuple[Need, ...] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.needs = (needs,) if isinstance(needs, Need) else tuple(needs)

    def written(self, value: Any) -> str:
        """The flag as it was written, in its long form."""
        names = self.secondary_opts if value is False and self.secondary_opts else self.opts
        return max(names, key=len)


def needing(*declarations: str, needs: Need | tuple[Need, ...], **options: Any) -> Callable[[Any], Any]:
    """``click.option`` for a flag that needs something.

    Returns:
        The decorator.
    """
    return click.option(*declarations, cls=Needing, needs=needs, **options)


class Checked(click.Command):
    """A command that refuses flags which would do nothing, before it does anything itself."""

    def settings(self, config: Path) -> dict[str, Any]:
        """What a settings file says, by the names of parameters; nothing, where a command reads none."""
        return {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, then check."""
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            asked = [option for option in _asked(ctx) if any(not need.fact for need in option.needs)]
            told = _told(ctx) if asked else {}
            for option in asked:
                _refuse(ctx, option, told, "")
        return rest


def check_late(**facts: Any) -> None:
    """Refuse those flags of the running command that would do nothing, now that more is known.

    Args:
        **facts: what is known, by the names that needs read.
    """
    ctx = click.get_current_context(silent=True)
    for option in () if ctx is None else _asked(ctx):
        for fact in facts:
            _refuse(ctx, option, facts, fact)


def _asked(ctx: click.Context) -> Iterator[Needing]:
    """The options that were given on the command line and need something."""
    for option in ctx.command.params:
        name = option.name or ""
        asked = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if asked and isinstance(option, Needing) and option.needs:
            yield option


def _refuse(ctx: click.Context | None, option: Needing, told: Told, fact: str) -> None:
    for need in option.needs:
        if ctx is not None and need.fact == fact and not need.met(told):
            raise SpecError(need.sentence(option.written(ctx.params.get(str(option.name)))))


def _told(ctx: click.Context) -> dict[str, Any]:
    """All settings of a command: those of the file, overruled by the flags, and defaults."""
    return _merged(ctx, _settings(ctx, ctx.params.get("config")))


def _settings(ctx: click.Context, config: Path | None) -> dict[str, Any]:
    return ctx.command.settings(config) if config and isinstance(ctx.command, Checked) else {}


def _merged(ctx: click.Context, settings: Told) -> dict[str, Any]:
    flags = {
        name: value
        for name, value in ctx.params.items()
        if name not in settings or ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return {**settings, **flags}


def settled(ctx: click.Context, config: Path | None, told: dict[str, Any]) -> dict[str, Any]:
    """The settings of a command that owns its settings file.

    A setting that would do nothing in the file itself is refused, as a flag is; one that does nothing only because a
    flag overrules another is left out.

    Args:
        ctx: of the command.
        config: the file.
        told: the settings, overruled by the flags.

    Returns:
        The settings without those that do nothing.

    Raises:
        SpecError: a setting that does nothing.
    """
    alone = _settings(ctx, config)
    found, merged = dict(told), _merged(ctx, alone)
    options = [option for option in ctx.command.params if isinstance(option, Needing) and option.name in alone]
    for option in options:
        name = str(option.name)
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            continue
        for need in (need for need in option.needs if not need.fact and not need.met(merged)):
            if not need.met(alone):
                raise SpecError(f"{config}: {need.sentence(name)}")
            found.pop(name, None)
    return found
