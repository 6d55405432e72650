"""What is measured at a point? A model, a loss, metrics and data become named numbers."""

from lossatlas.objective.objective import Objective

__all__ = ["Objective"]
