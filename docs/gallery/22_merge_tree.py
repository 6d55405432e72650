"""
A merge tree
============

As the level rises, basins meet at their passes. The persistence diagram tells deep minima from shallow ones.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-5, 5, 81)
himmelblau = (x[:, None] ** 2 + x[None] - 11) ** 2 + (x[:, None] + x[None] ** 2 - 7) ** 2
landscape = la.landscape(x=x, y=x, loss=himmelblau, title="Himmelblau's function")
shape = la.topology(landscape)
la.draw(shape, "tree.png")
