"""The entry point of the command ``lossatlas``: what has to be settled before anything is imported."""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command; a Ctrl-C before it is imported, or after it ended, ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # an ignored signal stays ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lossatlas.cli import main as command

    command()
