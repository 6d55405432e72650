"""
Over the inputs
===============

The weights stay, ten inputs move: up the sign of their gradients along x, by random signs along y.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
model = la.zoo.model("mlp", widths=(64, 64, 32, 10), seed=0)
fit(model, (x[:1000], y[:1000]), cross_entropy, FitRecipe(steps=300, lr=0.003), progress=False)
objective = la.Objective(model, (x[1000:1100], y[1000:1100]), cross_entropy, name="MLP", data_name="digits")
plane = la.InputPlane.adversarial(objective, examples=range(10))
landscape = la.sample(objective, plane, la.Grid(x=(-2, 2, 41), y=(-2, 2, 41)))
la.draw(landscape, "inputs.png")
