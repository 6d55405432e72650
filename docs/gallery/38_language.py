"""
Loss and accuracy of a language model
=====================================

An untrained decoder on bytes of text: two values from one run along a line.
"""

import lossatlas as la
from lossatlas.objective.language import cross_entropy

x, y = la.zoo.data("reference", block=32)
model = la.zoo.model("decoder", seed=0, vocabulary=256, dim=32)
metrics = {"accuracy": la.metrics.token_accuracy, "perplexity": la.metrics.perplexity}
objective = la.Objective(model, (x[:8], y[:8]), loss=cross_entropy, metrics=metrics)
landscape = la.sample(objective, la.Plane.random(objective, seed=0, axes=("x",)), la.Grid(x=(-1, 1, 21)))
la.draw(landscape, "perplexity.png", value="perplexity")
