"""Does the user's ``forward=`` return a pair, outputs and targets? What it returned instead is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from lossatlas.errors import SpecError
from lossatlas.objective import calling
from lossatlas.objective.refusal import named
from lossatlas.oneline import number_of

__all__ = ["Paired", "checked_forward"]


@dataclass(frozen=True)
class Paired:
    """A user's function that has to return outputs and targets.

    If it were simply unpacked, a tensor of two rows would pass for a pair, and anything else would raise Python's own
    error.

    Args:
        function: of the model and a batch.
    """

    function: calling.Forward

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Any, Any]:
        """Call it.

        Returns:
            Outputs and targets.

        Raises:
            SpecError: it returns something else.
        """
        found: Any = self.function(model, batch)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            many = f"{number_of(len(found), 'value')}, " if isinstance(found, (tuple, list)) else ""
            got = "nothing" if found is None else f"{many}{named(found)}"
            raise SpecError(
                f"forward= returned {got}; expected a pair (outputs, targets), such as forward=lambda model, batch: "
                "(model(batch[0]), batch[1]); on the command line --forward file.py:function names such a function"
            )
        outputs, targets = found
        return outputs, targets


def checked_forward(forward: calling.Forward | None) -> calling.Forward:
    """How an Objective calls its model: the usual way, one of this package's, or a user's function, checked.

    Args:
        forward: as it was passed.

    Returns:
        It.
    """
    if forward is None:
        return calling.forward
    ours = forward is calling.forward or type(forward).__module__.partition(".")[0] == "lossatlas"
    return forward if ours else Paired(forward)
