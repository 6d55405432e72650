"""
Values that are not finite
==========================

They are shown as such and never filled in.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
valley[45:, 40:] = np.nan
valley[:8, :12] = np.inf
landscape = la.landscape(x=x, y=x, loss=valley, title="a valley with holes")
la.draw(landscape, "holes.png")
