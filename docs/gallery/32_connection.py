"""
A low way round a barrier
=========================

The straight line between two networks, and a curve trained to stay low.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.connect.curve import Training
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
nets = [la.zoo.model("mlp", widths=(64, 16, 10), seed=seed) for seed in (0, 1)]
for net in nets:
    fit(net, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(nets[0], data, loss=cross_entropy, name="an MLP", data_name="digits")

found = la.connect(objective, *nets, kind="bezier", training=Training(epochs=10))
la.draw(found, "ways.png")
surface = la.sample(objective, found.plane(), la.Grid(**found.bounds(13)))
la.draw(surface, "plane.png", overlays=found.overlay())
