"""
A slice through the extreme eigenvectors
========================================

Along x the loss bends up most steeply, along y it bends down most.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
fit(model, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(model, data, loss=cross_entropy, name="an MLP", data_name="digits")

ends = la.eigenvalues(objective, k=1)
axes = {"x": la.directions.eigen(ends), "y": la.directions.eigen(ends, which="smallest")}
landscape = la.sample(objective, la.Plane(objective, axes), la.Grid(x=(-1, 1, 21), y=(-1, 1, 21)))
la.draw(landscape, "slice.png")
