"""Which directions does a file give to the axes of a scan, and how is one towards a checkpoint labelled?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.results import interchange
from lossatlas.space.planefile import load_directions

__all__ = ["given_directions", "way_words"]


def given_directions(path: str, objective: Objective, axes: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """Directions from a file, of ours or of the original code, for the axes asked for.

    Returns:
        Tensors by name, by axis.

    Raises:
        SpecError: the file holds no directions, belongs to another model, or lacks an axis.
    """
    if Path(path).suffix == ".safetensors":
        found = load_directions(path)
    else:
        shapes = {name: tuple(tensor.shape) for name, tensor in objective.origin.items()}
        read = {axis: interchange.match(got, shapes) for axis, got in interchange.read_directions(path).items()}
        found = {
            axis: {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
            for axis, arrays in read.items()
        }
    for axis in axes:
        if axis not in found:
            raise SpecError(f"--directions {path} has the axes {list(found)}, not {axis!r}; leave --{axis} out")
    return {axis: found[axis] for axis in axes}


def way_words(scan: Any, path: str) -> str:
    """What a direction towards a checkpoint is called: a line is named by both of its ends, if both have a name.

    Args:
        scan: what was asked for.
        path: the other checkpoint.

    Returns:
        The label of the axis.
    """
    if len(scan.axes) > 1 or not scan.checkpoint:
        return f"towards {Path(path).name}"
    ends = scan.checkpoint, path
    alike = Path(ends[0]).name == Path(ends[1]).name
    return "from {} (0) to {} (1)".format(*(end if alike else Path(end).name for end in ends))
