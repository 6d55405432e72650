"""
Loss and accuracy of a language model
=====================================

A small decoder trained on bytes of text: two values from one run along a line, each with an axis of its own.
"""

import lossatlas as la
from lossatlas.objective.language import cross_entropy
from lossatlas.zoo.fit import FitRecipe, fit

x, y = la.zoo.data("reference", block=32)
model = la.zoo.model("decoder", seed=0, vocabulary=256, dim=32)
fit(
    model,
    (x[:8], y[:8]),
    lambda outputs, targets: cross_entropy(outputs, targets).values.mean(),
    FitRecipe(steps=150, lr=0.01),
    progress=False,
)
metrics = {"accuracy": la.metrics.token_accuracy}
objective = la.Objective(model, (x[:8], y[:8]), loss=cross_entropy, metrics=metrics)
landscape = la.sample(objective, la.Plane.random(objective, seed=0, axes=("x",)), la.Grid(x=(-1, 1, 21)))
la.draw(landscape, "language.png")
