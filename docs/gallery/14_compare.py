"""
Two networks on one scale
=========================

Drawn together, networks share axes, levels and colours.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
landscapes = []
for width in (4, 64):
    model = la.zoo.model("mlp", widths=(64, width, 10), seed=0)
    fit(model, data, cross_entropy, FitRecipe(steps=200, lr=0.01), progress=False)
    objective = la.Objective(model, data, loss=cross_entropy, name=f"{width} hidden units")
    plane = la.Plane.random(objective, seed=0)
    landscapes.append(la.sample(objective, plane, la.Grid(x=(-1, 1, 17), y=(-1, 1, 17))))

la.draw(landscapes, "widths.png")
