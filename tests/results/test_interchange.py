"""Are files of the original code read and written as their code does?"""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossatlas import SpecError
from lossatlas.results import interchange
from lossatlas.results.landscape import Axis, Status, build


def as_their_code_writes(path, function, x, y):
    """Their loop in short: meshgrid, ravel, write the flat index into an array allocated [len(x), len(y)]."""
    xs, ys = np.meshgrid(x, y)
    losses = -np.ones((len(x), len(y)))
    for index, (a, b) in enumerate(zip(xs.ravel(), ys.ravel(), strict=True)):
        losses.ravel()[index] = function(a, b)
    with h5py.File(path, "w") as file:
        file["xcoordinates"], file["ycoordinates"] = x, y
        file["train_loss"], file["train_acc"] = losses, 100 - losses
        file["dir_file"] = "d.h5"


@pytest.mark.parametrize(("nx", "ny"), [(4, 4), (5, 3), (3, 5)])
def test_a_surface_written_by_their_loop_is_read_the_right_way_round(tmp_path, nx, ny):
    x, y = np.linspace(-1, 1, nx), np.linspace(0, 2, ny)
    as_their_code_writes(tmp_path / "s.h5", lambda a, b: a + 10 * b + 5, x, y)
    landscape = interchange.read_surface(tmp_path / "s.h5")
    np.testing.assert_allclose(landscape["loss"].values, x[:, None] + 10 * y[None, :] + 5)
    np.testing.assert_allclose(landscape["accuracy"].values, (95 - x[:, None] - 10 * y[None, :]) / 100)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=2), st.integers(0, 2**31))
def test_what_is_written_reads_back(tmp_path_factory, shape, seed):
    generator = np.random.default_rng(seed)
    axes = {
        n: Axis(coordinates=np.sort(generator.normal(size=k)), length=1.0) for n, k in zip("xy", shape, strict=False)
    }
    values = {"loss": generator.normal(size=shape), "accuracy": generator.uniform(size=shape)}
    status = generator.choice([Status.OK, Status.NOT_SAMPLED], size=shape)
    landscape = build(axes, values, status)
    path = interchange.write_surface(landscape, tmp_path_factory.mktemp("h5") / "s.h5", direction_file="d.h5")
    back = interchange.read_surface(path)
    assert back["status"].values.tolist() == status.tolist()
    for name in values:
        done = status == Status.OK
        np.testing.assert_allclose(back[name].values[done], values[name][done], rtol=1e-12)
        assert np.isnan(back[name].values[~done]).all()


def test_the_error_is_written_as_the_accuracy_it_implies(tmp_path):
    axes = {"x": Axis(coordinates=np.array([0.0, 1.0]), length=1.0)}
    landscape = build(axes, {"loss": np.array([1.0, 2.0]), "error": np.array([0.25, 1.0])})
    with h5py.File(interchange.write_surface(landscape, tmp_path / "s.h5")) as file:
        assert file["train_acc"][()].tolist() == [75, 0]
        assert "ycoordinates" not in file


def test_a_negative_loss_is_no_missing_one(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["xcoordinates"] = [0.0, 1.0, 2.0, 3.0]
        file["train_loss"], file["train_acc"] = [-1.0, -1.0, np.nan, -0.5], [50.0, -1.0, 50.0, 0.0]
    status = interchange.read_surface(tmp_path / "s.h5")["status"].values.tolist()
    assert status == [Status.OK, Status.NOT_SAMPLED, Status.NON_FINITE, Status.OK]


def test_directions_are_ordered_by_number_and_named_by_the_model(tmp_path):
    shapes = {f"layer{i}.weight": (i + 1, 2) for i in range(12)}
    arrays = {name: np.full(shape, float(i)) for i, (name, shape) in enumerate(shapes.items())}
    path = interchange.write_directions(tmp_path / "d.h5", {"x": arrays, "y": {}}, shapes)
    found = interchange.read_directions(path)
    assert [float(a.flat[0]) for a in found["x"]] == list(range(12))
    assert all((a == 0).all() for a in found["y"])
    assert interchange.match(found["x"], shapes)["layer10.weight"].shape == (11, 2)
    assert interchange.is_directions(path)


def test_directions_of_another_model_are_refused_with_the_first_that_differs():
    with pytest.raises(SpecError, match=r"entry 1 has shape \(3,\); the model's 'b' there has \(2,\)"):
        interchange.match([np.zeros(2), np.zeros(3)], {"a": (2,), "b": (2,)})
    with pytest.raises(SpecError, match="1 entry; the model has 2 parameters"):
        interchange.match([np.zeros(2)], {"a": (2,), "b": (2,)})


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        interchange.read_surface(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(SpecError, match="cannot be read as a file of the original code"):
        interchange.read_surface(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = [1.0]
    with pytest.raises(SpecError, match=r"is not a surface: it has \['a'\]"):
        interchange.read_surface(tmp_path / "other.h5")
    with pytest.raises(SpecError, match=r"has no direction: it has \['a'\]"):
        interchange.read_directions(tmp_path / "other.h5")
    with h5py.File(tmp_path / "short.h5", "w") as file:
        file["xcoordinates"], file["train_loss"] = [0.0, 1.0], [1.0]
    with pytest.raises(SpecError, match="train_loss has 1 value; the coordinates need 2"):
        interchange.read_surface(tmp_path / "short.h5")


def test_three_axes_have_no_place_there(tmp_path):
    axes = {name: Axis(coordinates=np.array([0.0, 1.0]), length=1.0) for name in "xyz"}
    with pytest.raises(SpecError, match="holds a loss on one or two axes"):
        interchange.write_surface(build(axes, {"loss": np.zeros((2, 2, 2))}), tmp_path / "s.h5")
    with pytest.raises(SpecError, match="one or two directions"):
        interchange.write_directions(tmp_path / "d.h5", {axis: {} for axis in "xyz"}, {})


@pytest.mark.shared
def test_the_authors_files(shared_data, tmp_path):
    """Their surface against an independent evaluation of the first 100 of its 500 images, which is close, not equal."""
    surface = interchange.read_surface(shared_data / "resnet56_surf.h5")
    assert surface["loss"].shape == (15, 15)
    assert float(surface["loss"].sel(x=0, y=0, method="nearest")) == pytest.approx(0.0007, abs=5e-5)
    dense = np.load(shared_data / "resnet56_dense51.npz")
    near = [[np.abs(dense[axis] - value).argmin() for value in surface[axis].values] for axis in "xy"]
    theirs, other = np.log(surface["loss"].values), np.log(dense["loss"][np.ix_(*near)])
    straight, transposed = (np.corrcoef(theirs.ravel(), array.ravel())[0, 1] for array in (other, other.T))
    assert straight > 0.98
    assert straight > transposed + 0.01
    back = interchange.read_surface(interchange.write_surface(surface, tmp_path / "s.h5"))
    np.testing.assert_allclose(back["loss"], surface["loss"], rtol=1e-12)
    directions = interchange.read_directions(shared_data / "resnet56_dir.h5")
    assert [len(arrays) for arrays in directions.values()] == [173, 173]


def written(path, **content):
    with h5py.File(path, "w") as file:
        for name, array in content.items():
            file[name] = array
    return path


def test_a_file_of_test_values_alone_is_read_and_says_so(tmp_path):
    path = written(tmp_path / "s.h5", xcoordinates=[0.0, 1.0], test_loss=[2.0, 3.0], test_acc=[50.0, 25.0])
    surface = interchange.read_surface(path)
    assert surface["loss"].values.tolist() == [2.0, 3.0]
    assert surface["accuracy"].values.tolist() == [0.5, 0.25]
    assert surface.attrs["data"] == "test set"
    both = written(tmp_path / "b.h5", xcoordinates=[0.0, 1.0], train_loss=[1.0, 1.0], test_loss=[2.0, 3.0])
    assert interchange.read_surface(both)["test_loss"].values.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("value", ["train_acc", "train_loss", "test_acc"])
def test_a_file_of_one_value_alone_is_read(tmp_path, value):
    path = written(tmp_path / "s.h5", xcoordinates=[0.0, 1.0], **{value: [50.0, 25.0]})
    assert list(interchange.read_surface(path)) == [value.split("_")[1].replace("acc", "accuracy"), "status"]


def test_other_axes_names_and_plain_arrays_are_read(tmp_path):
    path = written(tmp_path / "s.h5", alpha_coordinates=[0.0, 1.0], beta_coordinates=[0.0, 1.0, 2.0], train_loss=[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])  # fmt: skip
    surface = interchange.read_surface(path)
    assert surface["loss"].dims == ("alpha", "beta")
    assert float(surface["loss"].sel(alpha=1, beta=2)) == 5.0
    plain = interchange.read_surface(
        written(tmp_path / "p.h5", x=[0.0, 1.0], y=[0.0, 1.0, 2.0], loss=np.arange(6.0).reshape(2, 3))
    )
    assert float(plain["loss"].sel(x=1, y=2)) == 5.0


def test_what_the_original_layout_does_not_know_is_unknown(tmp_path):
    surface = interchange.read_surface(written(tmp_path / "s.h5", xcoordinates=[0.0, 1.0], train_loss=[2.0, 3.0]))
    assert (surface.attrs["dtype"], surface.attrs["device"], surface.attrs["samples"]) == ("unknown", "unknown", 0)
    assert np.isnan(surface["x_length"]).all()
