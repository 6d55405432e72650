"""Does each study judge planted rows rightly: the claim, its opposite, and rows with nothing in them?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.stats

from lossatlas.results.landscape import Axis, build
from lossatlas_studies import (
    batch_size,
    batch_statistics,
    convex_slices,
    critical_sharpness,
    dense_connections,
    edge_of_stability,
    flat_minima,
    language,
    learning_coefficient,
    quantisation,
    recurrent,
    repeatability,
    trajectories,
    width,
)
from lossatlas_studies.images import Row, fair
from lossatlas_studies.verdicts import CANNOT_TELL, LEVEL, NOT_SEEN, SEEN, Verdict

Noise = Callable[[], float]


def row(
    of: dict[str, Any], *, bend: float = 0.3, seed: int = 0, loss: float = 0.004, error: float = 0.02, **more: Any
) -> Row:
    extra = more.pop("extra", {})
    scores = {"train_loss": loss, "test_error": error}
    return Row(label="net", of=of, seed=seed, scores=scores, bend=bend, extra=extra, **more)


def width_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = [
        row(
            {"width": w, "skip": skip}, seed=seed, bend=0.4 - effect * w / 40 + 0.02 * noise(),
            valley=0.2 + effect * w / 80 + 0.01 * noise(), error=0.03 - effect * w / 1000 + 0.002 * noise(),
        )
        for w in (2, 4, 8, 16) for skip in (True, False) for seed in range(3)
    ]  # fmt: skip
    return width.judge(rows, width.Settings())


def dense_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = []
    for kind, sign in (("dense", -1), ("plain", 1)):
        rows += [
            row(
                {}, bend=0.4 + 0.1 * sign * effect + 0.02 * noise(), valley=0.2 - 0.1 * sign * effect + 0.02 * noise(),
                error=0.03 + 0.01 * sign * effect + 0.002 * noise(), extra={"kind": kind},
            )
            for _ in range(4)
        ]  # fmt: skip
    return dense_connections.judge(rows, dense_connections.Settings())


def batch_rows(effect: float, noise: Noise) -> list[Verdict]:
    """The order on the line flips with decay; along normalised directions it does not, and agrees with the error."""
    rows = []
    for decay, flip in ((0.0, 1), (5e-4, -1)):
        for size, large in (("small", -1), ("large", 1)):
            for seed in range(4):
                line = 10 ** (0.3 * effect * flip * large + 0.05 * noise())
                sharp = {way: 10 ** (0.3 * effect * (large + flip / 4) + 0.05 * noise()) for way in batch_size.WAYS}
                error = 0.05 + 0.02 * abs(effect) * (large + flip / 4) + 0.001 * noise()
                extra = {"line": line, **sharp}
                rows.append(row({"size": size, "decay": decay}, seed=seed, error=error, extra=extra))
    return batch_size.judge(rows)


def repeat_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = []
    for seed in range(2):
        for skip, sign in ((True, -1), (False, 1)):
            bends = tuple(0.4 + 0.1 * sign * effect + 0.03 * noise() for _ in range(10))
            valleys = [0.2 - 0.1 * sign * effect + 0.03 * noise() for _ in range(10)]
            rows.append(row({"skip": skip}, seed=seed, bends=bends, extra={"valleys": valleys}))
    return repeatability.judge(rows, repeatability.Settings())


def slice_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = []
    for number in range(10):
        low = -0.2 * (1 + number)
        shows = float(np.clip(0.5 - 0.4 * effect + 0.1 * noise(), 0, 1))
        ratio = abs(low) / 10 - 0.02 * effect + 0.005 * noise()
        bend = 0.3 + 0.03 * effect * number + 0.05 * noise()
        rows.append(
            row({"number": number}, bend=bend, low=low, high=10.0, extra={"shows": shows, "slice_ratio": ratio})
        )
    return convex_slices.judge(rows)


def flat_rows(effect: float, noise: Noise) -> list[Verdict]:
    settings = flat_minima.Settings()
    rows = []
    for task in flat_minima.TASKS:
        for share in settings.spiral_poison if task == "spirals" else settings.poison:
            for _ in range(settings.seeds):
                radius = 0.5 - 0.15 * effect * share + 0.03 * noise()
                extra = {"radius": radius, "margin": 1 - 0.3 * share + 0.05 * noise(), "clean_loss": 0.01}
                rows.append(row({"task": task, "share": share}, error=0.1 + 0.2 * share + 0.01 * noise(), extra=extra))
    return flat_minima.judge(rows, settings)


def recurrent_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = []
    for depth in (4, 8):
        for skip, plain in ((True, -1), (False, 1)):
            for tied, more in ((True, 1), (False, -1)):
                for seed in range(3):
                    bend = 0.4 + effect * (0.1 * plain + 0.05 * more) + 0.02 * noise()
                    gradients = -(1.5 + abs(effect) * (0.5 * plain + 0.25 * more) + 0.1 * noise())
                    of = {"skip": skip, "tied": tied, "depth": depth, "cell": ""}
                    rows.append(row(of, seed=seed, bend=bend, extra={"gradients": gradients}))
    for cell, more in (("rnn", 1), ("lstm", -1)):
        rows += [row({"cell": cell, "depth": 0}, bend=0.4 + 0.1 * effect * more + 0.02 * noise()) for _ in range(4)]
    return recurrent.judge(rows, recurrent.Settings())


def language_rows(effect: float, noise: Noise) -> list[Verdict]:
    """Both areas grow with pretraining, so they agree whatever the sign; the score's is the larger one by the effect."""
    rows = []
    for kind, sign in (("pretrained", 1), ("random", -1), ("shuffled", -1)):
        for number in range(4):
            for run in range(2):
                level = 0.3 + 0.05 * sign * effect + 0.01 * noise()
                extra = {
                    "radius": 0.2 + 0.05 * sign * effect + 0.01 * noise(),
                    "plateau": level,
                    "loss_plateau": level - 0.05 * effect + 0.01 * noise(),
                    "risen": 0.0,
                    "fallen": 0.1,
                    "tau": 0.8 + 0.05 * sign * effect + 0.01 * noise(),
                    "held_out": 0.4 + 0.2 * sign * effect + 0.02 * noise(),
                }
                of = {"kind": kind, "start": f"{kind} {number}"}
                rows.append(row(of, seed=run, valley=0.4 + 0.05 * sign * effect + 0.01 * noise(), extra=extra))
    ways = [
        row({"kind": kind}, extra={"barrier": 1 + height * effect + 0.1 * noise()})
        for kind, height in (
            (language.ONE["pretrained"], -0.5),
            (language.ONE["random"], 0),
            (language.TWO["random"], 1),
        )
        for _ in range(4)
    ]
    return language.judge(rows, ways, language.Settings())


def statistics_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = []
    for number in range(10):
        bend, valley = 0.3 + 0.05 * noise(), 0.2 + 0.05 * noise()
        again = bend if effect else 0.3 + 0.05 * noise()
        extra = {"bend_again": again + 0.2 * effect, "valley_again": valley + 0.1 * effect + 0.03 * noise()}
        extra["bend_again"] += 0.01 * noise() if effect else 0.0
        rows.append(row({"number": number}, bend=bend, valley=valley, extra=extra))
    return batch_statistics.judge(rows)


def path_rows(effect: float, noise: Noise) -> list[Verdict]:
    """Paths that are flatter than walks, large batches and Adam the more so, that run straight down to a drop."""
    ways = []
    for optimizer, adam in (("sgd", -1), ("adam", 1)):
        for size, large in (("small", -1), ("large", 1)):
            for seed in range(4):
                excess = effect * (0.1 + 0.03 * large + 0.02 * adam) + 0.01 * noise()
                ratio = {1.0: 1.0, 0.0: trajectories.CHANCE[1], -1.0: 2.0}[effect] + 0.03 * noise()
                ways.append(
                    trajectories.Course(
                        optimizer=optimizer, size=size, seed=seed, rates=np.repeat([0.1, 0.01], [11, 10]),
                        cosines=np.array([cosine(effect, large, step, noise) for step in range(20)]),
                        numbers={"share": 0.8 + excess, "walk": 0.8, "ratio": ratio},
                        own=10 ** (0.3 * effect + 0.1 * np.array([noise() for _ in range(21)])), surface=np.ones(21),
                    )
                )  # fmt: skip
    return trajectories.judge(ways)


def cosine(effect: float, large: int, step: int, noise: Noise) -> float:
    """At an angle that knows nothing without an effect; with one small batches turn away from the slope."""
    if effect == 0:
        return float(np.cos(2 * np.pi * scipy.stats.norm.cdf(noise())))
    turned = 0.1 * large if step >= 5 else 0.0
    return 0.85 + turned + 0.01 * noise() if effect > 0 else -0.4 + turned + 0.01 * noise()


@dataclass(frozen=True)
class Planted:
    """A study's judge on planted rows, the verdicts whose opposite cannot be planted by a sign, those that never tell."""

    judge: Callable[[float, Noise], list[Verdict]]
    either_way: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    """Verdicts whose settings are too few for any outcome to reach the level."""
    loose: tuple[int, ...] = ()
    """Verdicts that are no test of the effect at zero: the planted margins and errors agree whatever the radius."""


STUDIES = {
    "width": Planted(width_rows),
    "dense": Planted(dense_rows),
    "batch": Planted(batch_rows),
    "repeat": Planted(repeat_rows),
    "slices": Planted(slice_rows),
    "paths": Planted(path_rows, either_way=(1, 2)),
    "flat": Planted(flat_rows),
    "recurrent": Planted(recurrent_rows),
    "language": Planted(language_rows, either_way=(5, 6, 7), never=(6,)),
    "statistics": Planted(statistics_rows, either_way=(0, 1), loose=(2,)),
}


def gaussian(seed: int) -> Noise:
    return np.random.default_rng(seed).standard_normal


@pytest.mark.parametrize("name", STUDIES)
def test_a_planted_claim_is_seen(name):
    verdicts = STUDIES[name].judge(1.0, gaussian(0))
    never = STUDIES[name].never
    words = [CANNOT_TELL if place in never else SEEN for place in range(len(verdicts))]
    assert [verdict.word for verdict in verdicts] == words


@pytest.mark.parametrize("name", STUDIES)
def test_the_opposite_is_not_seen_unless_either_way_was_asked(name):
    planted = STUDIES[name]
    for place, verdict in enumerate(planted.judge(-1.0, gaussian(0))):
        if place not in planted.loose:
            word = SEEN if place in planted.either_way else NOT_SEEN
            assert verdict.word == (CANNOT_TELL if place in planted.never else word), verdict.claim


@pytest.mark.parametrize("name", STUDIES)
def test_with_nothing_planted_no_verdict_claims_more_than_its_rate(name):
    runs = 25
    claims = np.array([[v.word == SEEN for v in STUDIES[name].judge(0.0, gaussian(seed))] for seed in range(runs)])
    assert (claims.sum(axis=0) <= scipy.stats.binom.ppf(0.9995, runs, LEVEL)).all()


def descents(late: float, noise: Noise) -> list[edge_of_stability.Run]:
    steps = np.arange(30.0)
    runs = []
    for rate in (0.1, 0.2):
        for seed in range(4):
            ratio = np.concatenate([np.linspace(0.5, late, 15), np.full(15, late + 0.02 * noise())])
            runs.append(
                edge_of_stability.Run(rate=rate, seed=seed, step=steps, sharpness=2 * ratio / rate, loss=np.exp(-steps))
            )
    return runs


def test_the_edge_is_where_it_is_planted():
    assert [v.word for v in edge_of_stability.judge(descents(1.02, gaussian(0)))] == [SEEN, SEEN]
    assert [v.word for v in edge_of_stability.judge(descents(0.6, gaussian(0)))] == [NOT_SEEN, SEEN]
    assert [v.word for v in edge_of_stability.judge(descents(0.3, gaussian(0)))] == [NOT_SEEN, NOT_SEEN]


def critical_descents(late: float, noise: Noise) -> list[critical_sharpness.Run]:
    return [
        critical_sharpness.Run(rate=one.rate, seed=one.seed, step=one.step, critical=one.sharpness, loss=one.loss)
        for one in descents(late, noise)
    ]


def test_critical_sharpness_settles_where_it_is_planted():
    assert [v.word for v in critical_sharpness.judge(critical_descents(1.02, gaussian(0)))] == [SEEN, SEEN]
    assert [v.word for v in critical_sharpness.judge(critical_descents(0.6, gaussian(0)))] == [NOT_SEEN, SEEN]
    assert [v.word for v in critical_sharpness.judge(critical_descents(0.3, gaussian(0)))] == [NOT_SEEN, NOT_SEEN]


def quantised_rows(effect: float, noise: Noise) -> list[Verdict]:
    settings = quantisation.Settings()
    rows = []
    for number, (rate, batch) in enumerate((rate, batch) for rate in (0.01, 0.03, 0.1, 0.3) for batch in (16, 128)):
        for seed in range(2):
            flat = 0.1 * number
            rises = {name: 1 - effect * flat + 0.05 * noise() for name in ("bits", "few")}
            extra = {f"rise_{name}": rise for name, rise in rises.items()}
            extra |= {"radius": flat + 0.01 * noise(), "trace": -flat + 0.01 * noise(), "error_few": rises["few"]}
            extra |= {"forecast_bits": rises["bits"] + 0.01 * noise()}
            rows.append(row({"rate": rate, "batch": batch, "decay": 0.0}, seed=seed, extra=extra))
    return quantisation.judge(rows, settings)


def test_what_rounding_costs_is_ranked_as_it_is_planted():
    assert [v.word for v in quantised_rows(1.0, gaussian(0))] == [SEEN] * 5
    flipped = quantised_rows(-1.0, gaussian(0))
    assert [v.word for v in flipped] == [NOT_SEEN, NOT_SEEN, NOT_SEEN, SEEN, NOT_SEEN]


def test_where_flatness_and_rounding_have_nothing_in_common_nothing_is_claimed():
    claims = sum(quantised_rows(0.0, gaussian(seed))[0].word == SEEN for seed in range(60))
    assert claims <= scipy.stats.binom.ppf(0.999, 60, LEVEL)


def test_a_network_that_was_not_trained_is_no_example_of_rounding():
    rows = [row({"rate": 0.1, "batch": 16, "decay": 0.0}, loss=2.3, extra=dict.fromkeys(
        ("rise_bits", "rise_few", "radius", "trace", "error_few", "forecast_bits"), 1.0))]  # fmt: skip
    found = quantisation.judge(rows, quantisation.Settings())
    assert found[0].word == CANNOT_TELL
    assert "1 networks did not reach a training loss of 0.02" in found[0].caveat


def walked_rows(effect: float, noise: Noise) -> list[Verdict]:
    rows = []
    for rate in (0.02, 0.05, 0.1, 0.2):
        for place, batch in enumerate((16, 32, 64)):
            for seed in range(3):
                llc = 20 - effect * (math.log2(rate / 0.02) - 1.5 * place) + 0.2 * noise()
                error, high = 0.02 + effect * llc / 1000 + 0.0002 * noise(), 1 + effect * llc / 10 + 0.02 * noise()
                extra = {"llc": llc, "lambda_max": high, "refused": ""}
                rows.append(row({"rate": rate, "batch": batch}, seed=seed, error=error, extra=extra))
    return learning_coefficient.judge(rows, learning_coefficient.Settings())


def test_learning_coefficients_are_ranked_as_it_is_planted():
    assert [v.word for v in walked_rows(1.0, gaussian(0))] == [SEEN] * 4
    assert [v.word for v in walked_rows(-1.0, gaussian(0))] == [NOT_SEEN] * 4


def test_where_learning_coefficients_go_with_nothing_nothing_is_claimed():
    found = [walked_rows(0.0, gaussian(seed)) for seed in range(40)]
    for claim in range(4):
        assert sum(verdicts[claim].word == SEEN for verdicts in found) <= scipy.stats.binom.ppf(0.999, 40, LEVEL)


def test_chains_that_are_refused_take_part_in_no_verdict_and_are_counted():
    of = [{"rate": rate, "batch": 16} for rate in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)]
    values = [60.0, 50.0, 40.0, 30.0, 20.0, 1e6]  # the last would turn the order
    refused = ["", "", "", "", "", "R-hat, negative"]
    rows = [
        row(one, extra={"llc": value, "lambda_max": value, "refused": kinds})
        for one, value, kinds in zip(of, values, refused, strict=True)
    ]
    rows.append(
        row({"rate": 0.5, "batch": 16}, loss=2.3, extra={"llc": -5.0, "lambda_max": 1.0, "refused": "negative"})
    )
    found = learning_coefficient.judge(rows, learning_coefficient.Settings())
    assert found[0].word == SEEN
    assert found[0].n == "5 settings of 5 networks"
    assert "The chains of 1 networks were refused (R-hat, negative): left out." in found[0].caveat
    assert "1 networks did not reach a training loss of 0.005: left out." in found[0].caveat


def test_a_hessian_without_negative_eigenvalues_says_nothing_of_slices():
    rows = [row({}, low=-1e-9, high=10.0, extra={"shows": 0.0, "slice_ratio": 0.0}) for _ in range(9)]
    verdicts = convex_slices.judge(rows)
    assert verdicts[0].word == CANNOT_TELL
    assert "9 of 9 networks have no negative eigenvalue" in verdicts[0].caveat


def test_networks_that_did_not_train_are_left_out_block_by_block_and_named():
    rows = [row({"depth": 8}), row({"depth": 14}, loss=2.3), row({"depth": 14}), row({"depth": 26}, loss=float("nan"))]
    own, said = fair(rows, "depth", 0.02)
    assert [one["depth"] for one in own] == [8]
    assert "training loss of 0.02: depth 14, 26." in said
    assert said.endswith("Training losses of those compared: 0.004 to 0.004.")


def test_sharpness_of_a_line_is_taken_where_it_has_values():
    """Interpolated variances can fall below zero outside the line, where the loss is not a number."""
    x = np.linspace(-0.5, 1.5, 9)
    loss = np.where(x > 1, np.nan, (x - 1) ** 2)
    line = build({"x": Axis(coordinates=x, length=1.0)}, {"loss": loss})
    found = batch_size._row(
        batch_size_case(), "large", 0.0, line, {way: [line.isel(x=slice(0, 7))] for way in batch_size.WAYS}
    )
    assert found["line"] == pytest.approx(0.25**2 / 2)


def batch_size_case() -> Any:
    from torch import nn

    from lossatlas_studies.networks import Case, Net

    return Case(net=Net(label="n", model="mlp"), model=nn.Linear(2, 2), scores={}, key={}, seconds=0.0)


def test_poison_is_wrong_and_the_clean_data_stays():
    import torch

    settings = flat_minima.Settings(train_samples=50, spirals=30, poison=(0.0, 1.0), spiral_poison=(0.0, 1.0))
    for task in flat_minima.tasks(settings, "cpu"):
        clean, poisoned = task.clean.train, task.poisoned(1.0).train
        assert len(poisoned[1]) == 2 * len(clean[1])
        assert torch.equal(poisoned[0][: len(clean[1])], clean[0])
        assert bool((poisoned[1][len(clean[1]) :] != task.pool[1][: len(clean[1])]).all())
    with pytest.raises(Exception, match="use fewer train_samples"):
        flat_minima.tasks(flat_minima.Settings(train_samples=1000), "cpu")[1].poisoned(2.0)
