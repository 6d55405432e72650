"""Which sections the help of a command has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import click

from lossatlas.cli.needed import Checked

__all__ = ["Sectioned"]


class Sectioned(Checked):
    """A command whose help groups its flags; those that are in no section come under a heading of their own.

    Args:
        own: the heading of the flags that are in no section; they stand before the last section.
    """

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The headings, and the names of their flags."""

    def __init__(self, *args: Any, own: str = "Other", **options: Any) -> None:
        super().__init__(*args, **options)
        self.own = own

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each heading that has flags."""
        help_flag = self.get_help_option(ctx)
        asks = help_flag.name if help_flag else ""  # by its name, since click 8.1 creates the flag afresh on every call
        flags = [param for param in self.get_params(ctx) if isinstance(param, click.Option) and param.name != asks]
        rows = {param.name: row for param in flags if (row := param.get_help_record(ctx))}
        found = [(title, [rows.pop(name) for name in names if name in rows]) for title, names in self.sections.items()]
        # What only this command asks comes before where its answer goes.
        found.insert(-1, (self.own, list(rows.values())))
        if help_flag and (row := help_flag.get_help_record(ctx)):
            found.append(("Help", [row]))
        for title, lines in found:
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
