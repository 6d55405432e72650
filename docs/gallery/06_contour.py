"""
Contour lines alone
===================

For print: lines on white, no filled areas.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
landscape = la.landscape(x=x, y=x, loss=valley, title="a bent valley")
la.draw(landscape, "contour.png", kind="contour", levels=18)
