"""
Rise above the centre
=====================

With the value at the centre subtracted, networks with different losses can be compared in shape.
"""

import numpy as np

import lossatlas as la

x = np.linspace(-1, 1, 61)
valley = 4 * x[:, None] ** 2 + 9 * (x[None] - 0.5 * x[:, None] ** 2) ** 2
landscapes = [
    la.landscape(x=x, y=x, loss=valley + 0.1, title="trained to 0.1"),
    la.landscape(x=x, y=x, loss=0.5 * valley + 2, title="trained to 2"),
]
la.draw(landscapes, "rise.png", minus_centre=True)
