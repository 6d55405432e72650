"""Do the demos of language models and of recurrent nets run from end to end, and say what they saw?"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.results.landscape import value_names


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
    assert titles == {
        "vanilla RNN, 16 steps", "LSTM, 16 steps", "residual, 16 layers", "plain, 16 layers",
    }  # fmt: skip
    assert (tmp_path / "landscapes.png").stat().st_size > 20_000
