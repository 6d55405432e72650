"""
A median and a band over directions
===================================

Eight random lines through one network: how much depends on the direction?
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
data = x[:200], y[:200]
model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
fit(model, data, cross_entropy, FitRecipe(steps=100, lr=0.01), progress=False)
objective = la.Objective(model, data, loss=cross_entropy, name="an MLP", data_name="digits")

found = la.seeds(objective, la.Grid(x=(-1, 1, 31)), seeds=range(8))
print(found.words())
la.draw(found.runs, "seeds.png")
