"""Does a film move as it says, in frames of one size, in every format?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from matplotlib.colors import rgb_to_hsv, to_rgb

from lossatlas.cli import atlas
from lossatlas.draw import film
from lossatlas.draw.view import View
from lossatlas.errors import SpecError
from lossatlas.figure.overlays import Path as Walk
from lossatlas.figure.palettes import THEMES

pytest.importorskip("pyvista")
image = pytest.importorskip("PIL.Image")
Make = Callable[..., xr.Dataset]
SMALL = {"seconds": 0.4, "rate": 10, "width": 160}


def test_a_turned_surface_comes_back_to_where_it_began(bowl: xr.Dataset) -> None:
    frames = list(film.Turn().frames([bowl], View(), np.array([0.0, 0.4, 1.0]), 60.0))
    assert len({frame.shape for frame in frames}) == 1
    assert np.abs(frames[0].astype(int) - frames[2]).mean() < 0.5
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 1


def test_a_morph_begins_and_ends_with_its_landscapes(make: Make) -> None:
    x = np.linspace(-1, 1, 9)
    a, b = make(x[:, None] ** 2 + x**2, x=x, y=x, title="a"), make(x[:, None] ** 2 + 3 * x**2, x=x, y=x, title="b")
    start, middle, end = (
        film._mixed(*film.compile([a, b], View(kind="surface", scale="linear")).panels, share, film.compile([a, b]))
        for share in (0.0, 0.5, 1.0)
    )
    assert np.array_equal(start.values["loss"], a["loss"].values)
    assert np.array_equal(end.values["loss"], b["loss"].values)
    assert middle.title == "a → b, 50 %"
    assert a["loss"].values[4, 0] < middle.values["loss"][4, 0] < b["loss"].values[4, 0]


def test_a_morph_reads_the_labels_it_is_given(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, titles = np.linspace(-1, 1, 5), []
    for name, steep in (("a", 1), ("b", 3)):
        make(x[:, None] ** 2 + steep * x**2, x=x, y=x, title="model").to_netcdf(tmp_path / f"{name}.nc")
    relief = film.static_surface.draw
    monkeypatch.setattr(
        film.static_surface,
        "draw",
        lambda scene, *rest, **told: (titles.append(scene.panels[0].title), relief(scene, *rest, **told))[1],
    )
    words = ["--film", "morph", "--seconds", "0.2", "--rate", "10", "--width", "200", "-o", str(tmp_path / "frames")]
    given = ["--label", f"without skips={tmp_path}/a.nc", "--label", f"with={tmp_path}/b.nc"]
    done = CliRunner().invoke(atlas, ["animate", *given, *words])
    assert done.exit_code == 0, done.output
    assert titles == ["without skips → with, 0 %", "without skips → with, 100 %"]
    assert "RUN is missing" in CliRunner().invoke(atlas, ["animate", *words]).output


def test_landscapes_over_other_coordinates_are_no_morph(make: Make) -> None:
    x = np.linspace(-1, 1, 5)
    one, other = make(np.ones((5, 5)) + x**2, x=x, y=x), make(np.ones((5, 5)) + x**2, x=2 * x, y=x)
    with pytest.raises(SpecError, match="on the same coordinates"):
        next(film.Morph().frames([one, other], View(), np.array([0.0]), 60.0))


def test_a_zoom_ends_at_a_share_of_the_reach(make: Make, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 33)
    field = make(x[:, None] ** 2 + x**2, x=x, y=x)
    assert film._cropped(field, 4.0)["x"].values[[0, -1]] == pytest.approx([-0.3125, 0.3125])
    with pytest.raises(SpecError, match="fewer than three points along 'x'"):
        film._cropped(field, 100.0)
    with pytest.raises(SpecError, match="^factor: 100 times closer"):  # before the first frame, not at the last
        next(film.Zoom(factor=100).frames([field], View(), np.array([0.0, 1.0]), 60.0))
    film.animate(field, tmp_path / "frames", film.Zoom(factor=4), **SMALL)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir())[-1] == "00003.png"


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_every_format_holds_all_its_frames(make: Make, tmp_path: Path, suffix: str) -> None:
    x = np.linspace(-1, 1, 9)
    path = film.animate(make(x[:, None] ** 2 + x**2, x=x, y=x), tmp_path / f"a{suffix}", film.Zoom(factor=1.5), **SMALL)
    if suffix == ".mp4":
        ffmpeg = pytest.importorskip("imageio_ffmpeg")
        frames, seconds = ffmpeg.count_frames_and_secs(str(path))
        assert (frames, seconds) == (4, pytest.approx(0.4, abs=0.11))
    else:
        assert image.open(path).n_frames == 4


def test_a_path_grows_between_its_points_and_keeps_its_words() -> None:
    walk = Walk(x=np.array([0.0, 1.0, 3.0]), y=np.array([0.0, 0.0, 2.0]), words=[(0, "start"), (2, "end")])
    half = film._up_to(walk, 1.5)
    assert half.x.tolist() == [0.0, 1.0, 2.0]
    assert half.y.tolist() == [0.0, 0.0, 1.0]
    assert list(half.words) == [(0, "start")]


def test_what_makes_no_film_is_refused(bowl: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"'\.avi'.*\.mp4, \.gif, \.webp"):
        film.animate(bowl, tmp_path / "a.avi")
    with pytest.raises(SpecError, match="rate=0"):
        film.animate(bowl, tmp_path / "a.gif", rate=0)
    with pytest.raises(SpecError, match="field of View='colour'"):
        film.animate(bowl, tmp_path / "a.gif", colour="red")
    assert not list(tmp_path.iterdir())


def test_a_training_run_grows_over_its_surface(make: Make, tmp_path: Path) -> None:
    findings = pytest.importorskip("lossatlas.paths.findings")
    x = np.linspace(-1, 1, 15)
    places = np.column_stack([np.linspace(-0.9, 0, 12), 0.5 * np.cos(np.linspace(0, 5, 12))])
    loss = (places**2).sum(axis=1) + 0.01
    along = findings.PathLosses(
        checkpoints=[findings.Checkpoint(step=i, epoch=float(i), loss=loss[i], lr=0.1) for i in range(12)],
        projected=findings.Projected(
            axes=("x", "y"), coordinates=places, residual=np.zeros(12), distance=np.linalg.norm(places, axis=1)
        ),
        own={"loss": loss},
        surface={"loss": loss},
    )
    field = make(x[:, None] ** 2 + x**2, x=x, y=x)
    frames = list(film.Grow(path=along).frames([field], View(), np.array([0.0, 0.5, 1.0]), 120.0))
    assert len({frame.shape for frame in frames}) == 1
    left = [frame[:, : frame.shape[1] // 2].astype(int) for frame in frames]
    warm = [((part[..., 0] > 220) & (part[..., 1] < 120) & (part[..., 2] < 90)).sum() for part in left]
    assert warm[0] < warm[1] < warm[2]  # ever more of the path's colour
    film.animate(field, tmp_path / "frames", film.Grow(path=along), seconds=0.2, rate=10, width=400)


def test_kept_paths_grow_with_what_is_known_of_them(make: Make, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 9)
    field = make(x[:, None] ** 2 + x**2, x=x, y=x)
    alone = Walk(x=[-0.5, 0.0], y=[0.5, 0.0])
    noted = {"step": [0, 10], "epoch": [0, 0.5], "loss in training": [2.0, 1.0], "loss of the network": [np.nan] * 2}
    recorded = Walk(x=[0.5, 0.0], y=[0.5, 0.0], along=noted)
    wide = {}
    for name, paths in {"alone": [alone], "recorded": [recorded], "both": [alone, recorded]}.items():
        film.animate(field, tmp_path / name, film.Grow(path=paths), **SMALL)
        wide[name] = image.open(tmp_path / name / "00003.png")
    assert {one.width for one in wide.values()} == {160}
    assert wide["alone"].height > 1.5 * wide["recorded"].height  # no half is left for losses that nobody knows
    one, two = film._losses([recorded], View()), film._losses([alone, recorded], View())
    assert [series.label for series in one.panels[0].series] == ["as recorded in training"]
    ((label, color),) = [(series.label, series.color) for series in two.panels[0].series]
    assert label == "run 2"
    for name in ("light", "dark", "talk"):  # the run has on the paper the hue that its path has on the map
        hues = [rgb_to_hsv(to_rgb(one))[0] for one in THEMES[name].lines]
        path = rgb_to_hsv(to_rgb(THEMES[name].upon[1]))[0]
        assert color == min(range(len(hues)), key=[abs(hue - path) for hue in hues].__getitem__), name
    with pytest.raises(SpecError, match="got 1 and 0 paths"):
        film.animate(field, tmp_path / "none", film.Grow(path=[]), **SMALL)
