"""Which second loss does critical sharpness follow along the update of the first?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lossatlas.cli.needed import Need, needing
from lossatlas.errors import SpecError

if TYPE_CHECKING:
    from torch import nn

    from lossatlas.cli.scan import Scan
    from lossatlas.objective import Objective

__all__ = ["Second", "second_options"]


@dataclass(frozen=True, kw_only=True)
class Second:
    """Other data or another loss for the same network, as given to a command.

    Attributes:
        data: as ``--data``; empty for the same.
        loss: as ``--loss``; empty for the same.
    """

    data: str
    loss: str

    @classmethod
    def taken(cls, given: dict[str, Any]) -> Second | None:
        """Take the two flags out of a command's settings; ``None`` where neither is given."""
        told = cls(data=given.pop("second_data"), loss=given.pop("second_loss"))
        return told if told.data or told.loss else None

    def objective(self, scan: Scan, model: nn.Module | None) -> Objective:
        """The second loss on the network of the first.

        Returns:
            The objective.

        Raises:
            SpecError: a function of arrays, or data and loss that are those of the first.
        """
        from lossatlas.cli.scan import build_objective

        if model is None:
            raise SpecError(
                "--second-data and --second-loss need a torch model; a function of arrays has only one loss"
            )
        other = replace(scan, data=self.data or scan.data, loss=self.loss or scan.loss, metric=())
        if (other.data, other.loss) == (scan.data, scan.loss):
            raise SpecError("--second-data and --second-loss are the same as the first data and loss; give others")
        return build_objective(other, model)


def second_options(needs: Need) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The flags of a second loss.

    Args:
        needs: what they need in this command.

    Returns:
        A decorator.
    """
    told = "critical sharpness: how the loss on"
    data = needing(
        "--second-data",
        needs=needs,
        default="",
        metavar="FILE:NAME",
        help=f"For {told} these data bends along the gradient of --data, such as an earlier task's.",
    )
    loss = needing(
        "--second-loss",
        needs=needs,
        default="",
        metavar="NAME",
        help="The same for another loss, such as a task's own beside the one that is trained.",
    )
    return lambda command: data(loss(command))
