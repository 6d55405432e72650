"""How does an Objective show itself in a few lines, without evaluating anything?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from lossatlas.figure.words import means_over
from lossatlas.oneline import number_of
from lossatlas.results.naming import OWN_LOSS

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["Described", "samples_words"]


def samples_words(objective: Objective) -> str:
    """How many samples, and what the means are over if that is something else, once a point has been evaluated."""
    told = {name: asdict(count) for name, count in objective.counts.items()}
    return ", ".join(filter(None, [number_of(objective.samples, "sample"), means_over(told, samples=False)]))


class Described:
    """What has a line for its model, one for its data, one for what is measured and one for where."""

    def __repr__(self: Objective) -> str:  # type: ignore[misc]
        """Four lines; nothing is evaluated for them."""
        size = sum(tensor.numel() for tensor in self.origin.values())
        known = f"{number_of(self.samples, 'sample')} in " if "_census" in vars(self) else ""
        loss = getattr(self.loss, "__name__", type(self.loss).__name__) if self.loss is not None else OWN_LOSS
        statistics = f", BatchNorm {self.batchnorm_words}" if self.batchnorm_words else ""
        return (
            f"Objective({self.name}: {size:,} parameters in {number_of(len(self.origin), 'tensor')}\n"
            f"  data: {self.data_name}, {known}{number_of(self.batches.number, 'batch', 'batches')}\n"
            f"  values: {', '.join((f'loss ({loss})', *self.names[1:]))}\n"
            f"  device: {self.device}{statistics})"
        )
