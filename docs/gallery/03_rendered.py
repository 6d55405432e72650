"""
A rendered relief
=================

Soft light and shadow in the hollows, for a cover or a talk.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
fit(model, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(model, data, loss=cross_entropy, name="an MLP", data_name="digits")

landscape = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 25), y=(-1, 1, 25)))
la.draw(landscape, "rendered.png", render=True, contours=True, scale="linear")
