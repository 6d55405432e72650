"""
A film: one landscape becomes another
=====================================

Between its two ends a morph is drawn, not measured.
"""

import numpy as np

import lossatlas as la
from lossatlas.draw.film import Morph

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
ripples = 0.25 * (2 - np.cos(14 * x[:, None]) - np.cos(11 * x[None]))
landscapes = [
    la.landscape(x=x[::3], y=x[::3], loss=valley[::3, ::3] + 0.05, title="smooth"),
    la.landscape(x=x[::3], y=x[::3], loss=(valley + 2 * ripples)[::3, ::3] + 0.05, title="rippled"),
]
la.animate(landscapes, "morph.gif", Morph(), seconds=1.5, rate=8, width=420)
