"""Are numbers of other programs, arrays and tables, read the right way round, and nothing claimed that they do not say?"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas import SpecError
from lossatlas.cli import atlas
from lossatlas.draw.view import compile
from lossatlas.field.convexity import proof
from lossatlas.field.lowest import lowest
from lossatlas.results.arrays import read_table
from lossatlas.results.landscape import Status

X, Y = np.linspace(-1, 1, 5), np.array([0.0, 0.5, 2.0])
TILTED = 3 + X[:, None] + 10 * Y[None, :]


def rows(order=None):
    """The tilted plane as a table of points in some order."""
    points = np.array([(x, y, 3 + x + 10 * y) for y in Y for x in X])
    return points if order is None else points[np.random.default_rng(order).permutation(len(points))]


def test_arrays_on_a_grid_keep_their_orientation():
    found = la.landscape(x=X, y=Y, loss=TILTED)
    np.testing.assert_array_equal(found["loss"].values, TILTED)
    assert float(found["loss"].sel(x=0.5, y=2.0)) == 23.5


def test_coordinates_that_run_backwards_are_turned_with_their_values():
    found = la.landscape(x=X[::-1], y=Y, loss=TILTED[::-1])
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["loss"], TILTED)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshes_are_read_alike_in_either_order(indexing):
    x, y = np.meshgrid(X, Y, indexing=indexing)
    np.testing.assert_allclose(la.landscape(x=x, y=y, loss=3 + x + 10 * y)["loss"], TILTED)


def test_a_transposed_array_is_refused_with_the_remedy():
    with pytest.raises(
        SpecError, match=r"values need the shape \(5, 3\).*give the transpose, values\[i, j\] at x\[i\]"
    ):
        la.landscape(x=X, y=Y, loss=TILTED.T)


def test_what_the_source_does_not_say_is_unknown_and_draws_no_second_scale(tmp_path):
    found = la.landscape(x=X, y=Y, loss=TILTED)
    assert (found.attrs["dtype"], found.attrs["device"], found.attrs["samples"]) == ("unknown", "unknown", 0)
    assert np.isnan(found["x_length"]).all()
    words = " ".join(compile(found).sentences)
    assert "direction of unknown length" in words
    assert "Number of samples unknown" in words
    assert "nan" not in words
    figure = la.draw(found, tmp_path / "a.svg").read_text()
    assert "length in parameter norm" not in figure
    path = la.results.landscape.save(found, tmp_path / "a.nc")
    shown = CliRunner().invoke(atlas, ["info", str(path)]).output
    assert "length unknown" in shown
    assert "samples: unknown" in shown
    assert "dtype: unknown" in shown


def test_what_is_known_is_kept():
    found = la.landscape(x=X, loss=X**2, lengths={"x": 2.0}, samples=50, title="net", labels={"x": "towards B"})
    assert found["x_length"].values.tolist() == (2 * X).tolist()
    assert (found.attrs["samples"], found.attrs["title"], found["x"].attrs["long_name"]) == (50, "net", "towards B")


@pytest.mark.parametrize("order", [None, 0, 1])
@pytest.mark.parametrize(("head", "axes"), [("x,y,loss", ()), ("X;Y;value", ()), ("alpha\tbeta\tval_loss", ()),
    ("first,second,train/loss", ()), ("p,q,r", ("p", "q")), (None, ())])  # fmt: skip
def test_a_table_in_any_order_under_any_names_is_read(tmp_path, order, head, axes):
    mark = "," if head is None else next(mark for mark in "\t;," if mark in head)
    lines = [mark.join(map(repr, map(float, row))) for row in rows(order)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([*([head] if head else []), *lines]) + "\n")
    found = read_table(path, axes=axes)
    np.testing.assert_array_equal(found["loss"].values, TILTED)
    names = ("x", "y") if head is None else tuple(head.split(mark)[:2])
    assert found["loss"].dims == names


def test_points_that_a_table_leaves_out_are_not_sampled_and_what_is_not_finite_stays_so(tmp_path):
    table = rows()
    table[4, 2] = np.nan
    np.savez(tmp_path / "t.npz", x=table[:-1, 0], y=table[:-1, 1], value=table[:-1, 2])
    found = read_table(tmp_path / "t.npz")
    assert found["status"].values[-1, -1] == Status.NOT_SAMPLED
    assert found["status"].values[-1, 0] == Status.NON_FINITE
    assert (found["status"] == Status.OK).sum() == 13


def test_a_scattered_table_and_a_point_given_twice_are_refused(tmp_path):
    generator = np.random.default_rng(0)
    with pytest.raises(SpecError, match="30 points have 30 × 30 different coordinates.*form no grid"):
        la.landscape(x=generator.normal(size=30), y=generator.normal(size=30), loss=np.ones(30))
    table = np.concatenate([rows(), rows()[:1]])
    with pytest.raises(SpecError, match=r"the point x = -1, y = 0 is given 2 times"):
        la.landscape(x=table[:, 0], y=table[:, 1], loss=table[:, 2])


def test_coordinates_that_differ_by_the_rounding_of_a_text_are_one():
    table = rows()
    table[:, 0] += 1e-9 * np.arange(len(table))
    assert la.landscape(x=table[:, 0], y=table[:, 1], loss=table[:, 2])["loss"].shape == (5, 3)


def test_three_axes_one_axis_and_scores_alone():
    z = np.array([0.0, 1.0])
    assert la.landscape(x=X, y=Y, z=z, loss=TILTED[..., None] + z)["loss"].shape == (5, 3, 2)
    line = la.landscape(t=X, loss=X**2, accuracy=1 - X**2)
    assert compile(line).beside == ("accuracy",)
    scores = la.landscape(x=X, y=Y, accuracy=TILTED / 30)
    assert compile(scores).value == "accuracy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x,y,loss\n", "expected"),
        ("x,y,loss\n1,2\n", r"row 1 has 2 fields; the first row has 3"),
        ("x,y,loss\n1,2,three\n", "could not convert string to float: 'three'; expected numbers below"),
        ("x,loss\nnan,1\n", "x has a coordinate that is not a number"),
        ("x,status,loss\n1,1,1\n2,1,1\n", "'status' cannot name a value"),
    ],
)
def test_a_table_that_is_none_says_why(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SpecError, match=message):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("first", [0, 1])
def test_the_index_that_pandas_writes_is_no_value(tmp_path, first):
    rows = [(x, y, x * x + y) for x in (-1, 0, 1) for y in (0, 1)]
    text = "\n".join(f"{number},{x},{y},{value}" for number, (x, y, value) in enumerate(rows, first))
    (tmp_path / "frame.csv").write_text(f",x,y,loss\n{text}\n")
    found = read_table(tmp_path / "frame.csv")
    assert found.sizes == {"x": 3, "y": 2}
    assert list(found.data_vars) == ["loss", "status"]
    np.testing.assert_allclose(found["loss"], [[1, 2], [0, 1], [1, 2]])


def test_a_nameless_column_of_anything_else_is_asked_about(tmp_path):
    (tmp_path / "other.csv").write_text(",x,loss\n3,0,1\n8,1,2\n")
    with pytest.raises(SpecError, match="cannot name a value"):
        read_table(tmp_path / "other.csv")


def test_decimal_commas_between_semicolons_are_read(tmp_path):
    (tmp_path / "sheet.csv").write_text("x;loss\n-0,5;1,25\n0;1\n0,5;1,25e1\n")
    found = read_table(tmp_path / "sheet.csv")
    np.testing.assert_allclose(found["x"], [-0.5, 0, 0.5])
    np.testing.assert_allclose(found["loss"], [1.25, 1, 12.5])


def test_who_is_asked_for_axes_is_told_the_flag_too(tmp_path):
    np.savez(tmp_path / "values.npz", loss=np.zeros((2, 2)))
    result = CliRunner().invoke(atlas, ["import", str(tmp_path / "values.npz")])
    assert result.exit_code == 2
    assert "--axis" in result.output


def test_arrays_with_code_inside_are_not_run(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.array([print], dtype=object), loss=np.ones(1))
    with pytest.raises(SpecError, match="cannot be read as arrays"):
        read_table(tmp_path / "t.npz")


def test_the_command_line_reads_a_table_and_draws_it(tmp_path):
    path = tmp_path / "t.csv"
    np.savetxt(path, rows(2), delimiter=",", header="a1,a2,loss", comments="")
    run = CliRunner().invoke(atlas, ["import", str(path), "--axis", "a1", "--axis", "a2", "--samples", "7"])
    assert run.exit_code == 0, run.output
    found = la.open(tmp_path / "t.nc")
    assert (found["loss"].dims, found.attrs["samples"]) == (("a1", "a2"), 7)
    assert CliRunner().invoke(atlas, ["draw", str(tmp_path / "t.nc"), "-o", str(tmp_path / "t.png")]).exit_code == 0
    directly = CliRunner().invoke(atlas, ["draw", str(path), "-o", str(tmp_path / "directly.png")])
    assert directly.exit_code == 0 and la.open(path)["loss"].equals(found["loss"])


def test_no_torch_is_needed_to_read_arrays():
    code = "import lossatlas as la, sys; la.landscape(x=[0, 1], loss=[1, 2]); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_columns_that_are_no_directions_prove_nothing_and_have_no_centre(tmp_path):
    """Of a learning rate a picture said "multiples of the direction", and that "this slice" proves a loss non-convex."""
    rate, step = np.linspace(0.0, 0.1, 7), np.arange(0.0, 70.0, 10.0)
    values = np.sin(40 * rate)[:, None] + np.cos(step / 9) + 3
    table = la.landscape(axes=("lr", "step"), lr=np.repeat(rate, 7), step=np.tile(step, 7), loss=values.ravel())
    scene = compile(table)
    assert (scene.panels[0].axes[0].counted, scene.panels[0].marks_centre) == ("", False)
    assert scene.caption.axes == "lr: column of a table; step: column of a table."
    assert scene.caption.caveat.startswith("Along a table of lr and step even a convex loss may rise and fall")
    found = lowest(table)
    assert (found.centre, found.words) == (None, f"Lowest point: {values.min():.3g} at lr = 0.1, step = 30.")
    with pytest.raises(la.SpecError, match="the points lie along a table of lr and step"):
        proof(table)


@pytest.mark.parametrize("names", [("x1", "x2"), ("alpha", "beta"), ("pc_1", "pc_2"), ("direction_x", "direction_y")])
def test_columns_that_are_directions_are_taken_for_them_by_name_or_by_word(names):
    grid = dict(zip(names, np.meshgrid(X, X, indexing="ij"), strict=True))
    bumpy = np.sin(4 * grid[names[0]]) + grid[names[1]] ** 2
    assert proof(la.landscape(axes=names, **grid, loss=bumpy)).proves
    other = dict(zip(("sharp", "flat"), grid.values(), strict=True))
    said = la.landscape(axes=("sharp", "flat"), **other, loss=bumpy, labels={"sharp": "sharpest", "flat": "flattest"})
    assert proof(said).proves
    with pytest.raises(la.SpecError, match="labels: no axis 'z'; there are"):
        la.landscape(axes=names, **grid, loss=bumpy, labels={"z": "none"})
