"""
Numbers from another program
============================

Any arrays become a landscape: here Rosenbrock's function.
"""

import numpy as np

import lossatlas as la

x, y = np.linspace(-2, 2, 81), np.linspace(-1, 3, 81)
rosenbrock = (1 - x[:, None]) ** 2 + 100 * (y[None] - x[:, None] ** 2) ** 2
landscape = la.landscape(x=x, y=y, loss=rosenbrock, title="Rosenbrock's function")
la.draw(landscape, "rosenbrock.png")
