"""
Paths of two optimisers
=======================

A path is any list of points on the plane.
"""

import numpy as np

import lossatlas as la
from lossatlas.figure.overlays import Path

x, y = np.linspace(-2, 2, 81), np.linspace(-1, 3, 81)
landscape = la.landscape(x=x, y=y, loss=(1 - x[:, None]) ** 2 + 10 * (y[None] - x[:, None] ** 2) ** 2, title="a valley")
paths = []
for name, momentum in (("gradient descent", 0.0), ("with momentum", 0.9)):
    point, speed, way = np.array([-1.8, 0.5]), np.zeros(2), []
    for _ in range(150):
        way.append(point.copy())
        a, b = point
        gradient = np.array([-2 * (1 - a) - 40 * a * (b - a**2), 20 * (b - a**2)])
        speed = momentum * speed - 0.002 * gradient
        point = point + speed
    paths.append(Path(x=np.array(way)[:, 0], y=np.array(way)[:, 1], label=name, dots=False))

la.draw(landscape, "optimisers.png", overlays=paths)
