"""
From one network to another
===========================

The loss on the straight line between two trained networks rises to a barrier.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
nets = [la.zoo.model("mlp", widths=(64, 16, 10), seed=seed) for seed in (0, 1)]
for net in nets:
    fit(net, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(nets[0], data, loss=cross_entropy, name="an MLP", data_name="digits")

landscape = la.interpolate(objective, nets[0], nets[1], steps=41, x=(-0.3, 1.3))
la.draw(landscape, "between.png")
