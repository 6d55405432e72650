"""
Four networks in one figure
===========================

An MLP, an MLP-Mixer, a vision transformer and an LSTM, trained on the same digits and drawn on one scale.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
landscapes = []
for name in ("mlp", "mixer", "vit", "lstm"):
    model = la.zoo.model(name, seed=0)
    inputs = x[:200].flatten(1) if name == "mlp" else x[:200]
    fit(model, (inputs, y[:200]), cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
    objective = la.Objective(model, (inputs, y[:200]), loss=cross_entropy, name=name)
    plane = la.Plane.random(objective, seed=0)
    landscapes.append(la.sample(objective, plane, la.Grid(x=(-1, 1, 13), y=(-1, 1, 13))))

la.draw(landscapes, "four.png")
