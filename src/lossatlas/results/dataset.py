"""How does a Landscape relate to ``xarray.Dataset``? It is one that shows its picture and can draw itself.

A notebook shows a Landscape as its picture, with the numbers folded away below. Every dataset, even one read by
``xarray.open_dataset``, offers its pictures as ``dataset.atlas`` (:class:`lossatlas.draw.accessor.Atlas`).
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import xarray as xr

__all__ = ["Landscape", "landscape_of"]


class Landscape(xr.Dataset):  # type: ignore[no-untyped-call]
    """A dataset of the schema of :mod:`lossatlas.results.landscape`. xarray's operations on it return another.

    Arithmetic may give a plain ``xarray.Dataset``, which everything in lossatlas takes as well.
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        """The picture, and what xarray shows below it; only the latter where there is nothing to draw."""
        plain = str(super()._repr_html_())
        try:
            return str(_notebook().page(self, plain))
        except Exception:
            return plain

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Text, html and, for viewers without html, just the picture."""
        shown: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        with contextlib.suppress(Exception):
            shown["image/png"] = _notebook().png(self)
        return shown


def landscape_of(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset as a Landscape.

    Args:
        dataset: any dataset.

    Returns:
        A Landscape with the same variables.

    Example:
        >>> type(landscape_of(xr.Dataset({"loss": ("x", [1.0, 0.0])}))).__name__
        'Landscape'
    """
    if isinstance(dataset, Landscape):
        return dataset
    made = Landscape(dict(dataset.data_vars), coords=dict(dataset.coords), attrs=dataset.attrs)
    made.encoding = dataset.encoding
    return made


def _notebook() -> Any:
    return importlib.import_module("lossatlas.draw.notebook")  # above this room: only when something is shown


@xr.register_dataset_accessor("atlas")  # type: ignore[no-untyped-call, untyped-decorator]
def _atlas(dataset: xr.Dataset) -> Any:
    return importlib.import_module("lossatlas.draw.accessor").Atlas(dataset)
