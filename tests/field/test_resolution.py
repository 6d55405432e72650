"""What imported values say of their own rounding: a convex function that was rounded is never called non-convex."""

import numpy as np
import pytest

import lossatlas as la
from lossatlas.field.convexity import negative_share, proof
from lossatlas.field.resolution import rounded, short_format
from lossatlas.field.ruggedness import ruggedness
from lossatlas.field.stated import stated_error

LINE = np.linspace(-1, 1, 21)
PLANE = np.linspace(-1, 1, 31)
BOWL = PLANE[:, None] ** 2 + 2 * PLANE**2


def _printed(values, how):
    return np.array([float(format(value, how)) for value in np.ravel(values)]).reshape(np.shape(values))


@pytest.mark.parametrize("how", [".1f", ".2f", ".4f", ".2g", ".3g", ".4g", ".3e"])
@pytest.mark.parametrize("offset", [0.0, 0.7, 100.0])
def test_a_bowl_from_a_table_of_few_digits_proves_nothing(how, offset):
    for scale in (0.01, 1.0, 3.3):
        if offset == 100 and how in (".2g", ".3g"):
            continue  # whole numbers, see below
        landscape = la.landscape(x=PLANE, y=PLANE, loss=_printed(offset + scale * BOWL, how))
        assert not proof(landscape).proves
        assert negative_share(landscape) == 0
        assert not ruggedness(landscape).proves
        assert not proof(la.landscape(x=LINE, loss=_printed(offset + scale * LINE**2, how))).proves


@pytest.mark.parametrize("kept", [np.float16, np.float32, np.float64])
def test_a_bowl_kept_as_float16_proves_nothing_whatever_holds_it_now(kept):
    for offset in (1.0, 100.0):
        values = (offset + BOWL).astype(np.float16).astype(kept)
        landscape = la.landscape(x=PLANE, y=PLANE, loss=values)
        assert not proof(landscape).proves
        assert negative_share(landscape) == 0


def test_a_table_of_few_digits_still_proves_what_exceeds_them():
    bumpy = _printed(2.3 + np.cos(9 * LINE), ".2f")
    found = proof(la.landscape(x=LINE, loss=bumpy))
    assert found.proves
    assert "values rounded to 2 decimals" in found.words


def test_whole_numbers_and_few_values_are_taken_as_they_are():
    assert not rounded(np.array([3.0, 2.0, 7.0]))[0].any()
    assert not rounded(np.random.default_rng(0).normal(size=50))[0].any()
    assert not rounded(np.random.default_rng(0).normal(size=50).astype(np.float32))[0].any()
    assert short_format(np.array([0.5, 0.25, 2.0])) == ""


@pytest.mark.parametrize("how", [".2g", ".3g", ".4g", ".5g", ".0f"])
@pytest.mark.parametrize("offset", [100.0, 120.0, 990.0, 1200.0, 12345.0])
@pytest.mark.parametrize("scale", [0.02, 0.2, 1.5])
def test_whole_numbers_of_a_bowl_from_a_table_prove_nothing(offset, scale, how):
    """Two numbers may be left of it."""
    landscape = la.landscape(x=LINE, loss=_printed(offset * (1 + scale * LINE**2), how))
    assert not proof(landscape).proves
    assert not ruggedness(landscape).proves


@pytest.mark.parametrize(
    ("values", "half", "words"),
    [
        ([98.7, 101, 103], [0.05, 0.5, 0.5], "rounded to 3 digits"),
        ([120, 118, 103, 100], [0.5] * 4, "rounded to whole numbers"),
        ([20300, 19600, 18800, 18100], [50] * 4, "rounded to multiples of 100"),
        ([1020, 1010, 998, 994], [5, 5, 0.5, 0.5], "rounded to 3 digits"),
        ([100, 200, 300], [0, 0, 0], ""),
        ([3, 12, 99], [0, 0, 0], ""),
    ],
)
def test_the_place_of_the_last_digit_counts_whatever_the_magnitude(values, half, words):
    error, said = rounded(np.array(values, float))
    assert said == words
    assert error == pytest.approx(half)


def test_whole_numbers_still_prove_what_exceeds_them():
    assert proof(la.landscape(x=LINE, loss=np.rint(200 + 50 * np.cos(9 * LINE)))).proves


def test_rows_of_any_size_are_rounded_to_their_own_digits():
    error, words = rounded(np.array([0.01234, 1.234, 123.4, 0.5678, 9.876]))
    assert words == "rounded to 4 digits"
    assert error == pytest.approx([0.5e-5, 0.5e-3, 0.05, 0.5e-4, 0.5e-3])


def test_the_stated_error_holds_the_rounding_of_the_values():
    error, words = stated_error(la.landscape(x=LINE, loss=_printed(2 + LINE**2, ".2f")))
    assert error.min() >= 0.005
    assert words == "float32 rounding, assumed, values rounded to 2 decimals"
    error, words = stated_error(la.landscape(x=LINE, loss=(2 + LINE**2).astype(np.float16)))
    assert words == "float16 rounding"


@pytest.mark.parametrize("offset", [1e6, 1e9, 1.0])
def test_what_differs_beyond_the_digits_of_float32_was_not_rounded_to_them(offset):
    """A total loss of a million in double precision: float32 would hold one value for all."""
    error, words = rounded(offset + 1e-9 * offset * BOWL)
    assert not error.any()
    assert words == ""
