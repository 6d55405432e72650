"""
A random direction and the worst one
====================================

Both have the same length in every filter. The random one says little about the worst.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
fit(model, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(model, data, loss=cross_entropy, name="an MLP", data_name="digits")

grid = la.Grid(x=(-0.3, 0.3, 31))
lines = []
for name, plane in {
    "random": la.Plane.random(objective, seed=0, axes=("x",)),
    "worst": la.Plane(objective, {"x": la.directions.worst(objective, radius=0.3)}),
}.items():
    lines.append(la.sample(objective, plane, grid).assign_attrs(title=name))

la.draw(lines, "worst.png")
