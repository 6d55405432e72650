"""
Flatness of several networks
============================

Eight networks, two measures, and the rank correlation with their test error.
"""

from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("digits")
test = la.zoo.data("digits", split="test")
objectives, errors = {}, {}
for width in (4, 6, 8, 12, 16, 24, 32, 48):
    model = la.zoo.model("mlp", widths=(64, width, 10), seed=0)
    fit(model, (x[:200], y[:200]), cross_entropy, FitRecipe(steps=150, lr=0.01), progress=False)
    objectives[f"width {width}"] = la.Objective(model, (x[:100], y[:100]), cross_entropy)
    errors[f"width {width}"] = float((model(test[0]).argmax(1) != test[1]).float().mean())

la.draw(la.sharpness.table(objectives, ["sam", "fisher_rao"], against=errors), "flatness.png")
