"""Is the trained language model of 260,032 parameters the same model in Hugging Face's Llama and in the zoo's decoder?"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas.objective.language import Forward, cross_entropy

EXAMPLE = Path(__file__).parents[1] / "examples" / "stories260k.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("stories260k", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkpoint(folder):
    path = folder / "stories260K.pt"
    if not path.is_file():
        pytest.skip(f"the trained language model is not at {path}")
    return path


@pytest.mark.shared
def test_the_loss_is_that_of_the_published_model_in_both_forms(example, shared_data):
    pytest.importorskip("transformers")
    path = checkpoint(shared_data)
    data = example.blocks(shared_data / "tinystories_tokens.npz")
    own, theirs = example.decoder(path), example.hugging_face(path)
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in theirs.parameters()) == 260_032
    losses = [
        la.Objective(model, data, loss=cross_entropy, forward=Forward(), batch_size=16)()["loss"]
        for model in (own, theirs)
    ]
    assert losses[0] == pytest.approx(1.319, abs=5e-4)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    part = data[0][:2]
    with torch.no_grad():
        torch.testing.assert_close(own(part), theirs(part).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.shared
def test_both_forms_have_the_same_surface_and_the_same_continuations(example, shared_data):
    pytest.importorskip("transformers")
    path = checkpoint(shared_data)
    x, y = example.blocks(shared_data / "tinystories_tokens.npz")
    data = x[:2, :96], y[:2, :96]
    objectives = [example.measured(make(path), data, problems=4) for make in (example.decoder, example.hugging_face)]
    own = la.Plane.random(objectives[0], seed=0)
    theirs = la.Plane(objectives[1].origin, {axis: example.converted(dict(d)) for axis, d in own.directions.items()})
    grid = la.Grid(x=(-0.5, 0.5, 3), y=(-0.5, 0.5, 3))
    first, second = (la.sample(o, p, grid) for o, p in zip(objectives, (own, theirs), strict=True))
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=2e-5)
    for name in ("accuracy", "greedy_exact", "greedy_match"):
        np.testing.assert_array_equal(first[name], second[name])
    assert float(first["greedy_match"].max()) > 0.2
