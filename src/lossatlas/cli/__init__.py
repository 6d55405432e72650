"""The command line: flags and TOML become the same objects as in Python, one call for each command."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import click

from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.extras import MissingExtraError

__all__ = ["BAD_INPUT", "COMMANDS", "ELSEWHERE", "MODULES", "Atlas", "BadInput", "Failure", "atlas", "main"]

COMMANDS = {
    "demo": "Train two small networks and look at their landscapes: the place to start.",
    "sample": "Measure the landscape of your own model.",
    "draw": "Draw a result as png, pdf, svg, html, vtp, vti, glb or stl.",
    "serve": "Open runs in the browser, finished or still growing.",
    "animate": "Make a film: a surface that turns, a morph, a zoom.",
    "eigen": "Measure how the loss curves: both ends of the spectrum, their ratio on a map, the trace, the density.",
    "report": "Put runs on one page: pictures, what each slice proves and what is known about the curvature.",
    "explain": "Show, for every tensor of a model, what its filters are and whether it moves.",
    "trajectory": "Show the path of a training run, and draw it on the surface.",
    "connect": "Measure the barrier between two networks, align them, and train a low-loss curve around it.",
    "study": "Test a claim about loss landscapes by experiment, with a verdict.",
    "topology": "Find the minima, saddles and basins of a result, and how they are connected.",
    "sharpness": "Measure how flat trained networks are, and what each measure is invariant to.",
    "quantise": "Measure what rounding the weights to a few bits costs, and compare it with the curvature's forecast.",
    "llc": "Measure how degenerate a minimum is, by its local learning coefficient.",
    "compare": "Test whether two models differ by more than the spread over random directions.",
    "check": "Check whether a picture can be trusted: what is odd, and what to do about it.",
    "merge": "Merge the shards of independent jobs into one run.",
    "info": "Show what a run is and how far it has got.",
    "repair": "Check a run for damage, and recompute what is damaged.",
    "doctor": "Check what is installed and whether it works here.",
    "import": "Read numbers from other programs: tables, arrays, files from the original code.",
    "export": "Write files that the original code can read.",
}
MODULES = {"import": "interchange", "export": "interchange"}

ELSEWHERE = {"study": "lossatlas-studies"}
"""Commands that come with a distribution of their own, found through the entry points ``lossatlas.commands``."""

BAD_INPUT = 2


class BadInput(click.ClickException):
    """Bad input: the message alone, and exit code 2."""

    exit_code = BAD_INPUT

    def show(self, file: Any = None) -> None:
        """Print the message on stderr."""
        click.echo(f"lossatlas: {self.format_message()}", err=True)


class Failure(BadInput):
    """A run that failed: exit code 1."""

    exit_code = 1


class Atlas(click.Group):
    """Commands that are imported when they are called, so that help never waits for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in COMMANDS:
            return None
        from lossatlas.cli import signals

        with signals.nothing_to_lose():
            if name in ELSEWHERE:
                return _from_elsewhere(name)
            module = importlib.import_module(f"lossatlas.cli.{MODULES.get(name, name)}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments, which is where the help of the whole is printed."""
        with _system_heard():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the user can fix becomes a message, anything else keeps its traceback."""
        from lossatlas.cli import signals

        with warnings.catch_warnings(), signals.answered():
            warnings.showwarning = _show_note
            if ctx.params.get("debug"):
                return super().invoke(ctx)
            with _system_heard():
                return self._said_in_words(ctx)

    def _said_in_words(self, ctx: click.Context) -> Any:
        from lossatlas import stopping

        try:
            return super().invoke(ctx)
        except click.BadOptionUsage as fault:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            raise _saying_what_it_takes(fault, command) from fault
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # a closed pipe too: whoever read has read enough, as in `| head`, and click ends quietly
        except Exception as fault:
            if stopping.ended():  # a library caught the signal, and failed over what was left undone
                raise click.Abort from fault
            if isinstance(fault, RunMismatchError):
                from lossatlas.cli.asked_before import with_flags

                raise BadInput(with_flags(fault, sys.argv)) from fault
            if isinstance(fault, (SpecError, MissingExtraError)):
                raise BadInput(str(fault)) from fault
            raise


@contextlib.contextmanager
def _system_heard() -> Iterator[None]:
    """What the system refuses becomes a sentence; a closed pipe is left to click."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise Failure(_of_system(fault)) from fault


def _saying_what_it_takes(fault: click.BadOptionUsage, command: click.Command | None) -> click.BadOptionUsage:
    """An error about the values of an option, under the names they have in its help."""
    options = command.params if command else []
    option = next((one for one in options if fault.option_name in one.opts), None)
    if not isinstance(option, click.Option) or not option.metavar:
        return fault
    words = f"{fault.message.rstrip('.')}: {fault.option_name} {option.metavar}"
    return click.BadOptionUsage(fault.option_name, words, fault.ctx)


def _of_system(fault: OSError) -> str:
    """What the system said about a file, or about printing, as a sentence, without Python's error number."""
    if fault.filename2 is not None or not fault.strerror:
        return str(fault)
    return f"{fault.filename}: {fault.strerror}" if isinstance(fault.filename, str) else fault.strerror


def _from_elsewhere(name: str) -> click.Command:
    """A command of another distribution, or one that says how to install it."""
    for found in entry_points(group="lossatlas.commands", name=name):
        command: click.Command = found.load()
        return command
    missing = f"`lossatlas {name}` comes with {ELSEWHERE[name]}; install it: pip install {ELSEWHERE[name]}"

    @click.command(name, help=f"{COMMANDS[name]}  (not installed: pip install {ELSEWHERE[name]})")
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def absent(words: tuple[str, ...]) -> None:
        raise MissingExtraError(missing)

    absent.ignore_unknown_options = True
    return absent


def _show_note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        click.echo(f"note: {message}", err=True)


@click.group(
    cls=Atlas,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.version_option(package_name="lossatlas")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def atlas(ctx: click.Context, debug: bool) -> None:
    """See and measure the loss landscape of a neural network.

    \b
    Start here:
      lossatlas demo
      lossatlas sample --model train.py:make_model --data train.py:loader --checkpoint best.pt --out best.html
      lossatlas draw runs/a -o a.png

    Exit codes: 0 all is well; 1 a run failed or was stopped; 2 the input is wrong.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """The entry point of the command ``lossatlas``."""
    sys.exit(atlas())
