"""
Minima, saddles and basins
==========================

Himmelblau's function has four minima. Each point is coloured by the minimum it runs down to.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-5, 5, 81)
himmelblau = (x[:, None] ** 2 + x[None] - 11) ** 2 + (x[:, None] + x[None] ** 2 - 7) ** 2
landscape = la.landscape(x=x, y=x, loss=himmelblau, title="Himmelblau's function")
shape = la.topology(landscape)
la.draw(landscape, "basins.png", overlays=shape.overlay())
