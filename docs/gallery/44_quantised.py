"""
Ready to be quantised?
======================

Loss and error on the way to rounded weights, the forecast of second order, and each layer by itself.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
model = la.zoo.model("mlp", widths=(64, 64, 32, 10), seed=0)
fit(model, (x[:1000], y[:1000]), cross_entropy, FitRecipe(steps=300, lr=0.003), progress=False)
objective = la.Objective(
    model, (x[:1000], y[:1000]), cross_entropy, metrics={"error": la.metrics.error}, name="MLP", data_name="digits"
)
la.draw(la.quantise(objective, (6, 4, 3)), "quantised.png")
