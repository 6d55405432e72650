"""How a curve is kept on disk: one safetensors file, entries named ``number of the point/tensor``."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save_file

from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.objective import sealing
from lossatlas.space.curves import Curve
from lossatlas.space.planefile import load_directions
from lossatlas.untrusted import reading, safetensors_header

__all__ = ["load_curve", "save_curve"]


def save_curve(curve: Curve, path: str | os.PathLike[str]) -> Path:
    """Write the points of a curve, whole or not at all; an existing file is replaced.

    Args:
        curve: the curve; its kind is stored in the file's metadata.
        path: the file, usually ``curve.safetensors``.

    Returns:
        The path.
    """
    target = Path(path)
    tensors = {
        f"{number}/{name}": tensor.detach().cpu().contiguous()
        for number, point in enumerate(curve.points)
        for name, tensor in point.items()
    }
    with replacing(target) as scratch:
        save_file(tensors, scratch, metadata=sealing.sealed(tensors, {"kind": curve.kind}))
    return target


def load_curve(path: str | os.PathLike[str]) -> Curve:
    """Read a curve.

    Args:
        path: a file as :func:`save_curve` writes it: ``curve.safetensors`` in the folder of ``lossatlas connect``.

    Returns:
        The curve, on the CPU.

    Raises:
        SpecError: the file is missing, damaged, or holds no curve.

    Example:
        >>> import tempfile, torch
        >>> curve = Curve([{"w": torch.zeros(2)}, {"w": torch.ones(2)}], "polygon")
        >>> load_curve(save_curve(curve, f"{tempfile.mkdtemp()}/curve.safetensors")).kind
        'polygon'
    """
    source = Path(path)
    points = load_directions(source)
    kind = safetensors_header(source).get("__metadata__", {}).get("kind")
    missing = [str(number) for number in range(len(points)) if str(number) not in points]
    if kind is None or missing:
        what = "'kind'" if kind is None else f"point {missing[0]}"
        raise SpecError(f"{source} holds no curve: {what} is missing, so it was not written by save_curve")
    with reading(source, "a curve"):
        try:
            return Curve([points[str(number)] for number in range(len(points))], kind)
        except SpecError as fault:
            raise SpecError(f"{source}: {fault}") from fault
