"""A measure: the Euclidean norm of the weights, which any rescaling changes."""

import math

from lossatlas import sharpness
from lossatlas.space.parameters import norm


class WeightNorm:
    """How long the vector of all parameters is; a callable that says what it is."""

    definition = sharpness.Definition(
        title="norm of the weights",
        formula="‖w‖",
        source="an example of lossatlas",
        cost="no evaluation",
        invariant_to=(),
    )

    def __call__(self, objective, params=None):
        """The norm at a point; by default at the origin."""
        value = norm({**objective.origin, **(params or {})})
        return sharpness.Sharpness(
            measure="weight_norm",
            value=value,
            spread=math.nan,
            spread_is="",
            settings={},
            evaluations=0.0,
            gradients=0.0,
        )


WEIGHT_NORM = WeightNorm()
