"""Does the study of skip connections judge planted rows rightly, and say what could not be trained?"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.stats

import lossatlas as la
from lossatlas_studies.charts import against
from lossatlas_studies.images import Row, measured
from lossatlas_studies.networks import Case, Net
from lossatlas_studies.skip_connections import Settings, judge
from lossatlas_studies.stages import Bench
from lossatlas_studies.verdicts import CANNOT_TELL, LEVEL, NOT_SEEN, SEEN

SETTINGS = Settings(depths=(8, 14, 20, 26), seeds=3)


def rows(bend, loss=lambda depth, skip: 0.004, seed=0):
    """Planted rows: the share that bends down as a function of depth and kind, with noise between seeds."""
    rng = np.random.default_rng(seed)
    found = []
    for depth in SETTINGS.depths:
        for skip in (True, False):
            for number in range(SETTINGS.seeds):
                share = bend(depth, skip) + 0.02 * rng.normal()
                found.append(
                    Row(
                        label="net", of={"depth": depth, "skip": skip}, seed=number, bend=share,
                        scores={"train_loss": loss(depth, skip), "test_error": 0.02 + 0.002 * rng.normal()},
                    )
                )  # fmt: skip
    return found


def words(found):
    return [verdict.word for verdict in found]


def test_chaos_of_deep_plain_networks_is_seen():
    found = judge(rows(lambda depth, skip: 0.1 if skip else 0.1 + depth / 40), SETTINGS)
    assert words(found) == [SEEN, SEEN, NOT_SEEN]


def test_three_depths_are_too_few_to_tell_a_trend_from_chance():
    three = [row for row in rows(lambda depth, skip: 0.1 if skip else 0.1 + depth / 40) if row["depth"] != 20]
    assert words(judge(three, SETTINGS))[1] == CANNOT_TELL


def test_the_opposite_is_not_seen():
    found = judge(rows(lambda depth, skip: 0.6 if skip else 0.6 - depth / 50), SETTINGS)
    assert words(found)[:2] == [NOT_SEEN, NOT_SEEN]


def test_a_depth_that_cannot_be_trained_is_left_out_and_named():
    def loss(depth, skip):
        return 1.5 if depth == 26 and not skip else 0.004

    found = judge(rows(lambda depth, skip: 0.1 if skip else 0.5, loss), SETTINGS)
    assert found[0].n == "9 against 9 networks"
    assert "did not reach a training loss of 0.02: depth 26." in found[0].caveat
    none = judge(rows(lambda depth, skip: 0.1, lambda depth, skip: 1.5), SETTINGS)
    assert set(words(none)) == {CANNOT_TELL}


def test_of_networks_that_do_not_differ_no_more_than_the_nominal_rate_is_claimed():
    runs = 200
    claims = np.zeros(3)
    for seed in range(runs):
        claims += [word == SEEN for word in words(judge(rows(lambda depth, skip: 0.3, seed=seed), SETTINGS))]
    assert (claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)).all()


def test_a_single_seed_cannot_tell():
    few = [row for row in rows(lambda depth, skip: 0.1 if skip else 0.9) if row.seed == 0]
    assert judge(few, dataclasses.replace(SETTINGS, seeds=1))[0].word == CANNOT_TELL


def test_a_network_that_diverged_is_left_out_and_its_figures_are_drawn_without_it(tmp_path):
    net = Net(label="plain", model="mlp", options={"depth": 8, "skip": False}, seed=0, recipe=SETTINGS.recipe)
    scores = {"train_loss": float("nan"), "test_error": 0.9, "epochs": 1}
    case = Case(net=net, model=la.zoo.model("mlp"), scores=scores, key={}, seconds=0.0)
    lost, landscapes = measured(Bench(folder=tmp_path), case, None, SETTINGS)
    own = [lost, *rows(lambda depth, skip: 0.1 if skip else 0.1 + depth / 40)]
    assert landscapes == []
    assert not any(tmp_path.iterdir())
    assert "Left out" in judge(own, SETTINGS)[0].caveat
    groups = {"residual": {"skip": True}, "plain": {"skip": False}}
    la.draw(against(own, "depth", {"bend": "bends down"}, groups, x_label="layers"), tmp_path / "a.png")
