"""Is a surface looked at from where its valley is seen?"""

from __future__ import annotations

import numpy as np
import pytest

from lossatlas.draw import camera
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError


def test_a_wall_hides_the_valley_from_one_side_and_the_eye_goes_to_another():
    surface = np.zeros((41, 41))
    surface[30:34, :] = 1.0  # a wall at large x and one at small y, where the usual eye is
    surface[:, 7:11] = 1.0
    usual = camera._valley_seen(surface, camera.USUAL, 0.6)
    chosen = camera.chosen([surface], height=0.6)
    assert camera._valley_seen(surface, chosen, 0.6) > usual + 0.1
    assert 90 < chosen[1] % 360 < 180  # from small x and large y


def test_a_bowl_is_seen_from_the_usual_place():
    axis = np.linspace(-1, 1, 31)
    assert camera.chosen([0.3 * (axis[:, None] ** 2 + axis**2)], height=0.6) == camera.USUAL


def test_what_is_cut_off_hides_nothing():
    surface = np.zeros((41, 41))
    surface[30:34, :] = 1.5
    assert camera.chosen([surface], height=0.6) == camera.USUAL


def test_all_that_is_compared_has_one_eye_and_one_given_by_hand_stays(bowl):
    assert compile([bowl, bowl], View(kind="surface", camera=(20, 70))).camera == (20.0, 70.0)
    with pytest.raises(SpecError, match="camera='above': expected 'auto' or"):
        View(camera="above")
