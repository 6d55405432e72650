"""
Three directions
================

A volume is drawn as the slices through its centre.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
fit(model, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(model, data, loss=cross_entropy, name="an MLP", data_name="digits")

plane = la.Plane.random(objective, seed=0, axes=("x", "y", "z"))
landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 9), y=(-1, 1, 9), z=(-1, 1, 9)))
la.draw(landscape, "volume.png")
