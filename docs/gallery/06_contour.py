"""
Contour lines alone
===================

For print, where colour is dear.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
ripples = 0.25 * (2 - np.cos(14 * x[:, None]) - np.cos(11 * x[None]))
landscape = la.landscape(x=x, y=x, loss=valley, title="a bent valley")
la.draw(landscape, "contour.png", kind="contour", levels=18)
