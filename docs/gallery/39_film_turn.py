"""
A film for a talk: the surface turns
====================================

One turn round the surface, as a gif; mp4 and webp work too.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
ripples = 0.25 * (2 - np.cos(14 * x[:, None]) - np.cos(11 * x[None]))
landscape = la.landscape(x=x[::3], y=x[::3], loss=(valley + ripples)[::3, ::3], title="a rippled valley")
la.animate(landscape, "turn.gif", seconds=1.5, rate=8, width=420)
