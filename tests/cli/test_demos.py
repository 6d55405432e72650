"""Do the demos of language models and of recurrent nets run from end to end, and say what they saw?"""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas, demo
from lossatlas.results.landscape import Axis, build, value_names
from lossatlas.zoo.train import Scores, Trained


@pytest.mark.slow
def test_the_language_demo_draws_loss_perplexity_and_accuracy_of_one_run(tmp_path):
    command = ["demo", "--language", "--quick", "--no-open", "--out", str(tmp_path)]
    run = CliRunner().invoke(atlas, command)
    assert run.exit_code == 0, run.output
    for name in ("loss.png", "perplexity.png", "accuracy.png", "index.html"):
        assert (tmp_path / name).stat().st_size > 5000
    assert value_names(la.open(tmp_path / "lstm" / "plane")) == ("loss", "perplexity", "accuracy")
    line = la.open(tmp_path / "transformer" / "line")
    assert "greedy_exact_low" in line
    page = (tmp_path / "index.html").read_text()
    assert "greedy continuations that are right" in page
    assert "PSF licence" in page


@pytest.mark.slow
def test_the_recurrent_demo_shows_four_nets_side_by_side(tmp_path):
    run = CliRunner().invoke(atlas, ["demo", "--recurrent", "--quick", "--no-open", "--out", str(tmp_path)])
    assert run.exit_code == 0, run.output
    for words in ("vanilla RNN", "LSTM", "residual", "plain", "area that bends down"):
        assert words in run.output
    titles = {la.open(tmp_path / name / "seed0").attrs["title"] for name in ("rnn", "lstm", "residual", "plain")}
    missed = ", not trained to the end"
    kinds = ("vanilla RNN, 16 steps", "LSTM, 16 steps", "residual, 16 layers", "plain, 16 layers")
    assert titles == {kind + missed for kind in kinds}
    assert (tmp_path / "landscapes.png").stat().st_size > 20_000


@pytest.mark.slow
def test_a_net_that_misses_its_loss_is_named_in_table_page_and_picture(tmp_path):
    run = CliRunner().invoke(atlas, ["demo", "--recurrent", "--quick", "--no-open", "--out", str(tmp_path)])
    words = "did not reach it in 60 steps and must not be compared"
    assert words in run.output
    assert "(missed)" in run.output
    page = (tmp_path / "index.html").read_text()
    assert words in page
    assert "(missed)" in page
    assert la.open(tmp_path / "plain" / "seed0").attrs["title"] == "plain, 16 layers, not trained to the end"


@pytest.mark.parametrize(("losses", "compared"), [((0.004, 0.003), True), ((0.004, 0.012), False)])
def test_no_comparison_is_drawn_from_a_network_that_missed_its_loss(losses, compared):
    axis = Axis(coordinates=np.linspace(-1, 1, 5), length=1.0)
    fields = [build({"x": axis, "y": axis}, {"loss": sign * axis.coordinates[:, None] ** 2 + 0 * axis.coordinates})
              for sign in (1, -1)]  # fmt: skip
    found = {
        name: (Trained(epochs=1, losses=(), train=Scores(loss=loss, error=0.0), reached=loss < 0.005), [field] * 2)
        for name, loss, field in zip(demo.NETWORKS, losses, fields, strict=True)
    }
    said = " ".join(demo._verdict(found, 0.005))
    assert ("No comparison: the network without skip connections did not reach" in said) != compared
    assert ("bends down over more" in said) == compared
