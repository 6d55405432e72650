"""
Choose the camera
=================

Elevation and azimuth in degrees; by default the view is chosen to show the valley.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
ripples = 0.25 * (2 - np.cos(14 * x[:, None]) - np.cos(11 * x[None]))
landscape = la.landscape(x=x, y=x, loss=valley + ripples, title="from above")
la.draw(landscape, "camera.png", kind="surface", camera=(60, -20), contours=True)
