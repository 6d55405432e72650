"""Where do other projects document what our signatures name? Links for intersphinx, made without a network.

Sphinx reads an inventory from each project's site when it builds. Ours must build where there is no network, and links
to some twenty names, so their inventories are written here; a page that is opened asks nothing of those sites.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ELSEWHERE", "mapping"]

# Base address, then for each page the names on it; a second name is the module in which Python finds the class.
ELSEWHERE: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "python": (
        "https://docs.python.org/3",
        {
            "library/collections.abc.html": tuple(
                f"collections.abc.{name}"
                for name in ("Callable", "Generator", "Hashable", "Iterable", "Iterator", "Mapping", "Sequence", "Set")
            ),
            "library/concurrent.futures.html": ("concurrent.futures.Executor concurrent.futures._base.Executor",),
            "library/contextlib.html": ("contextlib.AbstractContextManager",),
            "library/os.html": ("os.PathLike",),
            "library/pathlib.html": ("pathlib.Path",),
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable",
        {
            "reference/generated/numpy.ndarray.html": ("numpy.ndarray",),
            "reference/random/generator.html": ("numpy.random.Generator numpy.random._generator.Generator",),
        },
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable",
        {
            "tensors.html": ("torch.Tensor Tensor",),
            "tensor_attributes.html": ("torch.dtype", "torch.device"),
            "generated/torch.Generator.html": ("torch.Generator torch._C.Generator",),
            "generated/torch.nn.Module.html": ("torch.nn.Module torch.nn.modules.module.Module nn.Module",),
            "optim.html": ("torch.optim.Optimizer torch.optim.optimizer.Optimizer",),
        },
    ),
    "xarray": (
        "https://docs.xarray.dev/en/stable",
        {
            "generated/xarray.Dataset.html": ("xarray.Dataset xarray.core.dataset.Dataset xr.Dataset",),
            "generated/xarray.DataArray.html": ("xarray.DataArray xarray.core.dataarray.DataArray",),
        },
    ),
    "matplotlib": (
        "https://matplotlib.org/stable",
        {
            "api/figure_api.html": ("matplotlib.figure.Figure Figure", "matplotlib.figure.SubFigure SubFigure"),
            "api/_as_gen/matplotlib.axes.Axes.html": ("matplotlib.axes.Axes matplotlib.axes._axes.Axes Axes",),
        },
    ),
}


def mapping(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the inventories into a folder, and say which project is documented where.

    Returns:
        What ``intersphinx_mapping`` takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for project, (base, pages) in ELSEWHERE.items():
        lines = [
            f"{name} py:class 1 {page}#{names.split()[0]} {names.split()[0]}"
            for page, every in pages.items()
            for names in every
            for name in names.split()
        ]
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        target = folder / f"{project}.inv"
        target.write_bytes(head.encode() + zlib.compress("\n".join(lines).encode()))
        found[project] = (base, str(target))
    return found
