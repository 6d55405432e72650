"""
Is the run really that flat?
============================

The share of the variance in each component, beside that of a random walk with the same steps.
"""

import torch
from torch.nn.functional import cross_entropy

import lossatlas as la

x, y = la.zoo.data("digits")
x, y = x[:200], y[:200]
model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
states = [{name: tensor.clone() for name, tensor in model.state_dict().items()}]
for _ in range(30):
    optimizer.zero_grad()
    cross_entropy(model(x), y).backward()
    optimizer.step()
    states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

path = la.Trajectory.open(states)
found = path.principal()
print(found.words)
la.draw(found, "variance.png")
