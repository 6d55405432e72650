"""On real networks with nothing to find, untrained ones and ones trained on shuffled labels, is nothing claimed?"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from lossatlas import zoo
from lossatlas.zoo.train import TrainRecipe
from lossatlas_studies.comparisons import agreement, larger
from lossatlas_studies.measures import shape
from lossatlas_studies.networks import Data, Look, Net, surface, trained
from lossatlas_studies.stages import Bench
from lossatlas_studies.verdicts import LEVEL, SEEN

pytestmark = pytest.mark.slow

NETWORKS = 24
RUNS = 200


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Shape, training loss and test error of networks: hardly trained, on labels that were shuffled for each network."""
    bench = Bench(folder=tmp_path_factory.mktemp("stages"), device="cpu")
    (x, y), test = zoo.data("digits"), zoo.data("digits", split="test")
    found = []
    for seed in range(NETWORKS):
        shuffled = y[:64][torch.from_numpy(np.random.default_rng(seed).permutation(64))]
        data = Data(name="shuffled digits", train=(x[:64], shuffled), test=test)
        options = {"widths": [64, 8, 10]}
        case = trained(
            bench, Net(label="n", model="mlp", options=options, seed=seed, recipe=TrainRecipe(epochs=3)), data
        )
        landscape = surface(bench, case, data, Look(points=7, samples=64))
        form = shape([landscape])
        found.append((form.bend, float(landscape["loss"].mean()), case.scores["test_error"]))
    return np.array(found).T


def test_arbitrary_groups_of_networks_do_not_differ_more_often_than_the_nominal_rate(measured):
    bend, mean, _ = measured
    for values in (bend, mean):
        claims = 0
        for run in range(RUNS):
            order = np.random.default_rng(run).permutation(NETWORKS)
            claims += larger("c", values[order[:6]], values[order[6:12]], quantity="q", seed=run).word == SEEN
        assert claims <= scipy.stats.binom.ppf(0.999, RUNS, LEVEL)


def test_a_landscape_does_not_rank_networks_by_errors_that_were_dealt_out_at_random(measured):
    _, mean, error = measured
    assert len(set(mean)) == NETWORKS
    claims = 0
    for run in range(RUNS):
        dealt = error[np.random.default_rng(run).permutation(NETWORKS)]
        claims += agreement("c", mean[:12], dealt[:12], seed=run).word == SEEN
    assert claims <= scipy.stats.binom.ppf(0.999, RUNS, LEVEL)


def test_networks_that_learned_shuffled_labels_know_nothing_of_the_test_set(measured):
    _, mean, error = measured
    assert abs(error.mean() - 0.9) < 0.05
    assert agreement("c", mean, error).word != SEEN
