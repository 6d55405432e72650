"""What is a filter? Which entries of a tensor are scaled together, by type of module, from one table of rules.

A *filter* is what produces one output of a layer: all weights into one channel of a convolution, into one unit of a
linear layer, or the vector of one token (Li et al. 2018, section 4). The next layer can often undo the scaling of a
filter by a constant, so the size of a filter has no meaning of its own, and a random direction must be scaled to
it.

A rule for a class of your own:

>>> import lossatlas as la
>>> import torch
>>> from torch import nn
>>> class MyLayer(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.kernel = nn.Parameter(torch.ones(4, 2, 3))
>>> def by_both(module, name, tensor):
...     return la.filters.along(tensor, 0, 1, rule="output and channel")
>>> la.filters.register(MyLayer, by_both)
>>> la.filters.table(MyLayer())["kernel"].layout.count
8
>>> la.filters.unregister(MyLayer)
"""

from __future__ import annotations

from lossatlas.space.filters.layout import ROLES, Layout, LayoutRule, Role, WithinRule, along, whole
from lossatlas.space.filters.modules import register, rows, unregister
from lossatlas.space.filters.selection import matching
from lossatlas.space.filters.table import Row, table
from lossatlas.space.filters.through import Through
from lossatlas.space.filters.wrapped import quantised

__all__ = [
    "ROLES",
    "Layout",
    "LayoutRule",
    "Role",
    "Row",
    "Through",
    "WithinRule",
    "along",
    "matching",
    "quantised",
    "register",
    "rows",
    "table",
    "unregister",
    "whole",
]


def __dir__() -> list[str]:
    return list(__all__)
