"""Does the sampler of devinterp walk to the same λ̂? Importing it takes seconds, so it has a file of its own."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.flatness.degeneracy import llc
from lossatlas.flatness.degeneracy.chains import mean_error


class Tokens(nn.Module):
    """Predicts the next token from the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(4, 3), nn.Linear(3, 4)

    def forward(self, ids):
        return self.head(self.embedding(ids))


def test_devinterp_walks_to_the_same_value_on_a_small_language_model():
    reason = "devinterp is not installed: the dependency group oracles has it"
    sampler = pytest.importorskip("devinterp.slt.sampler", reason=reason)
    optim = pytest.importorskip("devinterp.optim", reason=reason)
    from devinterp.slt.lm_loss import compute_per_token_loss, make_evaluate_fn

    torch.manual_seed(0)
    ids, net = torch.randint(4, (32, 9)), Tokens()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = compute_per_token_loss(net, ids).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    net.zero_grad()
    options = {"lr": 1e-3, "nbeta": 200.0, "localization": 50.0}
    losses: list[list[float]] = []
    for chain in range(4):
        losses.append([])
        sampler.sample_single_chain(
            net, [{"input_ids": row} for row in ids], make_evaluate_fn(), dict.fromkeys(dict(net.named_parameters())),
            num_draws=300, num_burnin_steps=60, sampling_method=optim.SGMCMC.sgld, sampling_method_kwargs=options,
            chain=chain, seed=chain, dataloader_seed=chain, batch_size=32,
            callbacks=[lambda loss, **_: losses[-1].append(float(loss.mean()))],
        )  # fmt: skip
    start = float(compute_per_token_loss(net, ids).mean().detach())
    theirs = options["nbeta"] * (np.array(losses) - start)
    objective = la.Objective(
        net,
        ids,
        forward=lambda model, batch: (model(batch[0][:, :-1]).flatten(0, 1), batch[0][:, 1:].flatten()),
        loss=F.cross_entropy,
    )
    ours = llc(objective, nbeta=200.0, gamma=50.0, step=1e-3, draws=300, burn=60, averaged=False, progress=False)
    assert abs(ours.raw - theirs.mean()) < 4 * math.hypot(ours.error, mean_error(theirs))
    assert 0.5 < ours.raw < 14
    assert "devinterp" in sys.modules
