"""
Cut off what is far above
=========================

Everything above the clip is cut away; the caption says how much of the plane that is.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
ripples = 0.25 * (2 - np.cos(14 * x[:, None]) - np.cos(11 * x[None]))
steep = valley**2 / 4 + 2 * ripples
landscape = la.landscape(x=x, y=x, loss=steep, title="steep walls")
la.draw(landscape, "clip.png", kind="surface", clip=10, scale="linear")
