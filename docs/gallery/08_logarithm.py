"""
Linear or logarithmic
=====================

A logarithm shows the bottom of the valley, a linear scale its walls.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
landscape = la.landscape(x=x, y=x, loss=valley + 1e-3, title="a bent valley")
la.draw(landscape, "linear.png", scale="linear")
la.draw(landscape, "logarithm.png", scale="log")
