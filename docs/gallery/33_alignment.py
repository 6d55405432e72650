"""
Permuted units are no barrier
=============================

Hidden units may be reordered without changing the function. Alignment lowers the barrier.
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

aligned = la.align(objective, nets[1])
lines = [
    la.interpolate(objective, nets[0], nets[1], steps=31).assign_attrs(title="as trained"),
    la.interpolate(objective, nets[0], aligned, steps=31).assign_attrs(title="aligned"),
]
la.draw(lines, "aligned.png")
