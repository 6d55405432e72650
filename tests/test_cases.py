"""Does every small input that once failed give its right value? The scripts of ``../shared/cases``, run as they are."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas.draw.view import View, compile
from lossatlas.errors import RunMismatchError, SpecError

sys.path.append(str(Path(__file__).parents[1]))  # the benchmarks are no part of a package
judged = pytest.importorskip("benchmarks.adaptive", reason="the benchmarks are in a checkout alone").judged

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"

FORMER = {
    "lossatlas.analysis.convexity": "lossatlas.field.convexity",
    "lossatlas.analysis.streams": "lossatlas.paths.streams",
    "lossatlas.analysis.trajectories": "lossatlas.paths.trajectories",
    "lossatlas.checkpoints": "lossatlas.objective.checkpoints",
    "lossatlas.draw.ranges": "lossatlas.figure.ranges",
}
"""Names of version 0.1 that the scripts import, and where the same stands now."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ran:
    """What a script left behind: its names, its lines, and what it raised."""

    names: SimpleNamespace
    lines: list[str]
    error: Exception | None

    def line(self, start: str) -> str:
        """The one line that begins so."""
        (found,) = (line for line in self.lines if line.startswith(start))
        return found

    def numbers(self, start: str) -> list[float]:
        """The numbers after the beginning of that line."""
        return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", self.line(start)[len(start) :])]

    @property
    def failures(self) -> list[str]:
        """The lines of what was refused."""
        return [line for line in self.lines if "-> FAILS" in line]


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a script in a folder of its own, with the former names in place for as long."""
    if not CASES.is_dir():
        pytest.skip(f"the small inputs that failed are not at {CASES}")
    former = ModuleType("lossatlas.analysis")
    former.__path__ = []
    monkeypatch.setitem(sys.modules, "lossatlas.analysis", former)
    for name, now in FORMER.items():
        module = importlib.import_module(now)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, last = name.rpartition(".")
        if parent == "lossatlas.analysis":
            monkeypatch.setattr(former, last, module, raising=False)
    # A private key of 0.1, by which one script prints an order; what it asserts is printed by the command line.
    monkeypatch.setattr(
        sys.modules["lossatlas.analysis.trajectories"], "_numbers", lambda path: path.name, raising=False
    )
    monkeypatch.setitem(sys.modules, "common", None)
    monkeypatch.delitem(sys.modules, "common")
    monkeypatch.syspath_prepend(str(CASES))
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def ran(name: str, changes: Mapping[str, str] = MappingProxyType({})) -> Ran:
        text, script, error = (CASES / name).read_text(), tmp_path / name, None
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        script.write_text(text)
        capfd.readouterr()
        names: dict[str, Any] = {}
        try:
            names = runpy.run_path(str(script))
        except (SpecError, RunMismatchError) as raised:
            error = raised
        return Ran(SimpleNamespace(**names), capfd.readouterr().out.splitlines(), error)

    yield ran
    torch.set_num_threads(threads)


def test_the_peak_of_an_accuracy_on_the_second_axis_is_seen(run: Run) -> None:
    found = run("r01_second_axis_clip.py").names
    assert found.r.high >= found.acc.max()
    for clip in (None, "auto"):
        shown = compile(found.l, View(clip=clip)).beside_range
        assert shown is not None
        assert shown.low <= found.acc.min() < found.acc.max() <= shown.high


def test_samples_are_counted_by_their_targets(run: Run) -> None:
    found = run("r02_sample_count.py")
    assert not found.failures
    samples, _, loss, mean = found.numbers("graphs: samples")
    assert samples == 10
    assert loss == pytest.approx(mean, rel=1e-6)
    loss, mean, samples, _ = found.numbers("images of several sizes: loss")
    assert samples == 9
    assert loss == pytest.approx(mean, rel=1e-6)


@pytest.mark.soak
def test_folders_of_transformers_load_as_their_library_loads_them(run: Run) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    found = run("r03_hf_tied.py")
    assert not found.failures
    assert "absent=('lm_head.weight',)" in found.line("GPT-2 folder ->")
    assert "LoRA adapter into the same PeftModel -> Loaded" in "\n".join(found.lines)


def test_public_layouts_are_found_and_integers_are_refused(run: Run) -> None:
    found = run("r04_checkpoint_layouts.py")
    assert len(found.lines) == 11
    coded, gone = found.failures
    assert coded.startswith("int8 into float")
    assert "'0.weight' is int8" in coded
    assert "No module named 'gone'" in gone
    assert all("tensors=4" in line for line in found.lines if line not in found.failures)


def test_complex_weights_have_complex_directions_with_their_filters_norms(run: Run) -> None:
    names = run("r05_complex.py").names
    assert names.d.dtype == torch.complex64
    norms = [tensor.detach().abs().square().sum(1).sqrt() for tensor in (names.d, names.m.w)]
    torch.testing.assert_close(*norms)


def test_a_contrastive_loss_is_a_mean_over_batches_and_says_so_once(run: Run) -> None:
    with pytest.warns(UserWarning, match="a mean over batches") as told:
        found = run("r06_contrastive.py")
    assert len(found.lines) == 3
    assert not found.failures
    assert sum("a mean over batches" in str(one.message) for one in told) == 3  # once for each of three objectives


def test_a_wrapped_network_gives_the_picture_of_the_plain_one(run: Run) -> None:
    found = run("r07_wrappers_change_the_picture.py")
    plain = found.numbers("plain")
    assert len(plain) == 3
    for wrapped in ("DataParallel", "torch.compile"):
        assert found.numbers(wrapped) == pytest.approx(plain, rel=1e-6)


@pytest.mark.soak
def test_best_and_last_are_no_steps_of_a_path(run: Run) -> None:
    found = run("r08_trajectory_best_last.py")
    for folder in ("epochs alone", "with best, last"):
        assert "8 checkpoints, step 0 to 7" in found.line(folder)
    assert "left out: best.pth (its name has no number), last.pth" in found.line("with best, last")


def test_sparse_buffers_and_batches_work(run: Run) -> None:
    found = run("r09_sparse.py")
    assert len(found.lines) == 3
    assert not found.failures


def test_what_changed_is_named(run: Run) -> None:
    found = run("r10_wrong_blame.py")
    assert "because of random numbers in forward=, before the model" in found.line("diffusion")
    assert "module '1' (Obs), which changes its buffer 'top'" in found.line("a layer with state of its own")


@pytest.mark.soak
def test_derivatives_inside_the_loss_have_an_argument_and_a_flag(run: Run) -> None:
    found = run("r11_autograd.py")
    assert "pass autograd=True, or --autograd on the command" in found.line("autograd=False")
    assert "FAILS" not in found.line("autograd=True")
    assert "--autograd" in found.lines[-1]


def test_a_batch_keeps_its_class(run: Run) -> None:
    pytest.importorskip("transformers")
    assert not run("r12_batch_class_lost.py").failures


def test_lazy_modules_are_refused_in_a_sentence(run: Run) -> None:
    (refused,) = run("r13_lazy.py").failures
    assert "SpecError" in refused
    assert "its lazy modules have seen no batch" in refused


def test_ignored_pixels_that_lie_unevenly_do_not_change_the_mean(run: Run) -> None:
    found = run("r18_first_batch_only.py")
    loss, mean = found.numbers("la ")[:2]
    assert loss == pytest.approx(mean, rel=1e-6)


def test_a_hessian_of_zeros_has_a_density_of_finite_numbers(run: Run) -> None:
    found = run("r19_zero_hessian.py").names.d
    assert found.width > 1e-6
    assert np.isfinite(found.standard_error).all()
    assert np.isfinite(found.density).all()


@pytest.mark.soak
def test_coordinate_one_towards_an_adapter_is_the_merged_network(run: Run) -> None:
    pytest.importorskip("peft")
    found = run("r20_adapters.py")
    assert len(found.lines) == 3
    for line in found.lines:
        ours, merged = map(float, re.findall(r"(?:at 1|merged): ([\d.]+)", line))
        assert ours == pytest.approx(merged, abs=2e-5)


def test_two_trainings_are_never_one_path(run: Run) -> None:
    found = run("r21_recorder_twice.py")
    assert isinstance(found.error, RunMismatchError)
    assert "holds the path of another training" in str(found.error)
    assert found.numbers("checkpoints")[0] == 16


def test_of_several_methods_every_curve_is_seen_or_named(run: Run) -> None:
    scene = compile(run("r22_compared_curves.py").names.runs)
    for curve in scene.curves:
        values = curve.median("loss")
        assert scene.range.low <= values.min()
        assert values.max() <= scene.range.high
    assert scene.caption.what[0] == "A and B coincide: their values are equal"


def test_a_slice_says_where_it_lies_and_names_no_centre_outside_it(run: Run) -> None:
    scene = compile(run("r23_slice_of_three.py").names.s)
    assert scene.panels[0].note == "z = 1"
    assert not scene.panels[0].marks_centre
    assert "2.419" not in str(scene.caption)  # the loss at the centre of the whole


SUM = "('a sum in a lambda',lambda o,t:F.cross_entropy(o,t,reduction='sum'))"


def test_curvature_of_a_sum_is_refused_and_class_weights_do_not_feel_the_batches(run: Run) -> None:
    refused = run("r24_loss_is_a_mean.py").error
    assert "is a sum over samples, so its value depends on the batch size" in str(refused)
    found = run("r24_loss_is_a_mean.py", {SUM: "*()"})
    weighted = [line for line in found.lines if line.startswith("class weights")]
    assert len(weighted) == 3
    assert len({line.partition(":")[2] for line in weighted}) == 1
    assert "frozen" not in found.lines[-1]


@pytest.mark.soak
def test_no_convex_function_is_called_non_convex(run: Run) -> None:
    found = run("convex_losses.py")
    assert len(found.lines) == 5
    for line in found.lines:
        assert "proves nothing" in line
        assert line.endswith("share of the slice's Hessian 0.000")


def test_multiple_eigenvalues_are_found_and_zeros_bend_nowhere(run: Run) -> None:
    found = run("eigenvalues.py")
    true, *three = found.numbers("largest, each tenfold:")[:4]
    assert three == pytest.approx([true] * 3, rel=1e-5)
    assert "every direction" not in found.lines[1]
    assert "does not prove there is none" in found.lines[1]


RANGES = {
    "x^4 + 1": ("linear", 1, 2, 0),
    "barrier 2 exp(-(x/.2)^2) + .1": ("linear", 0.1, 2.1, 0),
    "flat line with a small bump": ("linear", 5.32, 6.12, 0),
    "accuracy with a narrow peak": ("linear", 0.1, 0.99, 0),
    "bowl from 1e-3 to 50": ("log", 1e-3, 50, 0),
    "one corner at 1e10": ("linear", 1, 2, 2),
}


def test_automatic_ranges_hide_nothing_but_what_is_far_from_the_rest(run: Run) -> None:
    found = run("ranges.py")
    assert len(found.lines) == len(RANGES)
    for name, (scale, low, high, above) in RANGES.items():
        line = found.line(f"{name}: ")
        said = re.search(r": (\w+), ([\d.e+-]+) to ([\d.e+-]+), above (\d+) %", line)
        assert said is not None
        assert said[1] == scale
        assert float(said[2]) == pytest.approx(low, rel=1e-3)
        assert float(said[3]) == pytest.approx(high, rel=1e-2)
        assert int(said[4]) == above


ROUGH = ("plateau and cliff", "narrow ring")
"""Fields that take hundreds of points."""


@pytest.mark.parametrize(
    "name",
    [
        "softplus bowl", "checkerboard of 1 %", "white noise of 1 %", "chirp",
        *(pytest.param(name, marks=pytest.mark.soak) for name in ROUGH),
    ],
)  # fmt: skip
def test_stated_errors_cover_the_interpolated_cells(run: Run, name: str) -> None:
    truth, scale = run("adaptive_fields.py").names.FIELDS[name]
    bounds = (-1, 1, len(truth))
    points, true, stated = judged(truth, la.Adaptive(x=bounds, y=bounds, scale=scale, clip=None))
    own = stated > 0
    assert points >= 25 + 29
    assert np.mean(stated[own] >= true[own] - 1e-12) >= 0.95
    assert np.mean(true <= 0.02) >= 0.98
