"""Names of version 0.1 that still work for now, with a warning."""

from __future__ import annotations

from typing import Any, Literal

import xarray as xr

from lossatlas.objective import Objective
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Sampler
from lossatlas.sampling.subset import Subset
from lossatlas.space.charts import Chart
from lossatlas.warned import warn

__all__ = ["sample_subset"]


def sample_subset(
    objective: Objective,
    plane: Chart,
    grid: Sampler,
    *,
    samples: int | Literal["auto"] = "auto",
    tolerance: float = 0.02,
    seed: int = 0,
    **options: Any,
) -> xr.Dataset:
    """The old name of ``sample(..., samples=Subset(size=samples, tolerance=tolerance, seed=seed))``.

    Args:
        objective: what is measured, with all its data.
        plane: where.
        grid: which points.
        samples: the size of a :class:`~lossatlas.Subset`.
        tolerance: of the subset.
        seed: of the subset.
        **options: of :func:`lossatlas.sample`.

    Returns:
        As of :func:`lossatlas.sample`.

    Example:
        >>> import inspect
        >>> "Subset" in inspect.getdoc(sample_subset)
        True
    """
    warn(
        "sample_subset is now sample(..., samples=lossatlas.Subset(size=..., tolerance=..., seed=...))",
        DeprecationWarning,
    )
    subset = Subset(size=samples, tolerance=tolerance, seed=seed)
    return sample(objective, plane, grid, samples=subset, **options)
