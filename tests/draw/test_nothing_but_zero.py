"""Is a value that is zero everywhere drawn on an axis that begins there, and a loss without a name called a loss?"""

from __future__ import annotations

import numpy as np
import pytest

import lossatlas as la
from lossatlas.draw import brief, captions, static
from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.figure.ranges import choose


@pytest.mark.parametrize("style", ["line", "both", "bars"])
def test_a_plot_of_zeros_shows_no_numbers_below_zero(style):
    x = np.arange(5.0)
    series = [Series(x=x, y=np.zeros(5), label="8 bits", style=style), Series(x=x, y=np.zeros(5), style=style)]
    figure = static.figure(Plot(panels=[Panel(series=series, x_label="share", y_label="error")]))
    low, high = figure.axes[0].get_ylim()
    assert -0.05 < low <= 0
    assert high == 1
    shown = [tick for tick in figure.axes[0].get_yticks() if low <= tick <= high]
    assert min(shown) == 0


def test_a_plot_of_zeros_shows_the_whole_of_their_intervals():
    x = np.arange(5.0)
    series = Series(x=x, y=np.zeros(5), low=np.full(5, -3.0), high=np.full(5, 2.0))
    figure = static.figure(Plot(panels=[Panel(series=[series], x_label="share", y_label="barrier")]))
    low, high = figure.axes[0].get_ylim()
    assert low <= -3 and high >= 2


def test_a_loss_that_the_model_itself_returns_is_called_a_loss():
    x = np.linspace(-1, 1, 5)
    known = la.landscape(x=x, loss=x**2)
    own, named = known.assign_attrs(loss="the model's own"), known.assign_attrs(loss="cross_entropy")
    assert captions.loss([own]) == "the model's own loss"
    assert captions.loss([named, own]) == "cross_entropy, the model's own loss"
    assert captions.loss([known.assign_attrs(loss="")]) == ""
    assert "the model's own loss" in brief.what([own], choose(x**2))
    assert "the model's own loss" in captions.about([own])


def test_data_without_a_name_is_not_named_after_its_type():
    x = np.linspace(-1, 1, 5)
    known = la.landscape(x=x, loss=x**2)
    for nameless in ("tensors", "batches"):
        one = known.assign_attrs(data=nameless, model="MLP", samples=20)
        assert captions.about([one]).startswith("MLP · 20 samples")
        assert nameless not in brief.what([one], choose(x**2))
    assert "digits" in captions.about([known.assign_attrs(data="digits")])
