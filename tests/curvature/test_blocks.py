"""Are the blocks of a curvature matrix those of the dense matrix, for eigenvalues, traces, densities and mini-batches?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature import subspace
from lossatlas.curvature.blocks import blocks_of
from lossatlas.curvature.minibatches import batch_eigenvalues
from lossatlas.curvature.products import Matrix
from lossatlas.figure.words import number


class UpAndDown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 5), nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.tanh(self.up(x)))


def deep(batch_size: int = 20, samples: int = 50) -> la.Objective:
    torch.manual_seed(0)
    blocks = nn.ModuleDict(
        {
            "stem": nn.Linear(4, 6),
            "layers": nn.ModuleList(UpAndDown() for _ in range(2)),
            "head": nn.Linear(6, 3),
        }
    )

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = blocks
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.parts["stem"](x)
            for layer in self.parts["layers"]:
                x = layer(x)
            return self.parts["head"](x) * self.scale

    x, y = torch.randn(samples, 4).double(), torch.randint(0, 3, (samples,))
    return la.Objective(Net().double(), (x, y), F.cross_entropy, batch_size=batch_size)


def dense(matrix: Matrix) -> np.ndarray:
    return torch.stack([matrix @ row for row in torch.eye(matrix.size).double()]).numpy()


def places_in_vector(matrix: Matrix, prefix: str) -> np.ndarray:
    sizes = [tensor.numel() for tensor in matrix.tensors]
    starts = np.cumsum([0, *sizes])
    fits = [i for i, name in enumerate(matrix.names) if name == prefix or name.startswith(prefix + ".")]
    return np.concatenate([np.arange(starts[i], starts[i + 1]) for i in fits])


# A GGN has too many eigenvalues of zero for an iteration to say that it has passed over none.
@pytest.mark.parametrize(("kind", "below"), [("hessian", (0, 0)), ("hessian", subspace.WHOLE), ("ggn", subspace.WHOLE)])
@pytest.mark.parametrize("by", ["layer", "block"])
def test_the_ends_of_each_block_are_those_of_the_dense_block(kind, below, by, monkeypatch) -> None:
    monkeypatch.setattr(subspace, "WHOLE", below)
    objective = deep()
    matrix = Matrix(objective, kind=kind)
    whole = dense(matrix)
    found = la.eigenvalues(objective, kind=kind, by=by, k=2, tolerance=1e-5)
    assert len(found) == (7 if by == "layer" else 5)
    for name, ends in found.items():
        where = places_in_vector(matrix, name)
        exact = np.linalg.eigvalsh(whole[np.ix_(where, where)])
        count = min(2, len(exact))
        wanted = [*exact[:count], *exact[-count:]] if len(exact) > 2 * count else exact
        np.testing.assert_allclose(ends.values, np.unique(wanted) if len(exact) == 1 else wanted, atol=1e-7)
        assert ends.converged.all()
        assert ends.subject.size == len(where)
        assert set(ends.vectors[0]) <= set(matrix.names)


def test_blocks_are_named_as_the_modules_are() -> None:
    matrix = Matrix(deep())
    layers = ["scale", "parts.stem", *[f"parts.layers.{i}.{j}" for i in (0, 1) for j in ("up", "down")], "parts.head"]
    assert [block.name for block in blocks_of(matrix, "layer")] == layers
    assert [block.name for block in blocks_of(matrix, "block")] == [
        "scale", "parts.stem", "parts.layers.0", "parts.layers.1", "parts.head"
    ]  # fmt: skip
    ups = blocks_of(matrix, "*.up")
    assert [block.name for block in ups] == ["parts.layers.0.up", "parts.layers.1.up"]
    assert [block.name for block in blocks_of(matrix, "*.up.weight")] == [
        "parts.layers.0.up.weight", "parts.layers.1.up.weight"
    ]  # fmt: skip
    with pytest.raises(la.SpecError, match="matches no module"):
        blocks_of(matrix, "decoder.*")


def test_the_traces_of_blocks_come_from_the_same_products_and_add_up() -> None:
    objective = deep()
    matrix = Matrix(objective)
    whole = dense(matrix)
    found = la.trace(objective, by="layer", probes=150, seed=1)
    alone = la.trace(objective, probes=150, seed=1)
    assert sum(one.value for one in found.values()) == pytest.approx(alone.value, rel=1e-9)
    for name, one in found.items():
        where = places_in_vector(matrix, name)
        assert one.value == pytest.approx(np.trace(whole[np.ix_(where, where)]), abs=5 * one.standard_error + 1e-9)


def test_the_density_of_a_block_integrates_to_one_and_has_its_mean() -> None:
    objective = deep()
    matrix = Matrix(objective)
    whole = dense(matrix)
    found = la.spectral_density(objective, by="block", probes=40, steps=12)
    for name, one in found.items():
        where = places_in_vector(matrix, name)
        exact = np.linalg.eigvalsh(whole[np.ix_(where, where)])
        assert float(np.trapezoid(one.density, one.eigenvalues)) == pytest.approx(1, abs=0.02)
        error = 5 * exact.std() / np.sqrt(40 * len(exact)) + 1e-9
        assert float(one.nodes @ one.weights) == pytest.approx(exact.mean(), abs=3 * error)


def test_each_batch_is_linearised_once_for_all_blocks(monkeypatch) -> None:
    objective = deep()
    matrix = Matrix(objective, memory=0)
    blocks = blocks_of(matrix, "layer")
    calls = []
    monkeypatch.setattr(matrix, "_loss", lambda batch, real=matrix._loss: (calls.append(0), real(batch))[1])
    vectors = [torch.ones(block.size, dtype=torch.float64) for block in blocks]
    together = matrix.blocks(vectors, [block.places for block in blocks])
    assert len(calls) == objective.batches.number
    for block, vector, found in zip(blocks, vectors, together, strict=True):
        np.testing.assert_array_equal(matrix.blocks([vector], [block.places])[0], found)


def test_a_picture_of_blocks_names_them_and_says_what_they_do_not_prove() -> None:
    objective = deep()
    for found in (
        la.eigenvalues(objective, by="block"),
        la.trace(objective, by="block", probes=3),
        la.spectral_density(objective, by="block", probes=2, steps=4),
    ):
        plot = found.plot()
        text = " ".join(plot.caption)
        assert plot.title == f"{next(iter(found.values())).heading} of {objective.name} by block"
        assert "is no larger than that of any block" in text
        names = [word for _, word in plot.panels[0].x_ticks] or [series.label for series in plot.panels[0].series]
        assert "parts.layers.1" in names
    part = la.trace(objective, by="parts.layers.*.up", probes=3)
    assert f"{Matrix(objective).size - 2 * 35} parameters belong to no block" in " ".join(part.caveats)


def test_no_value_of_a_block_hides_behind_another_and_the_trace_stands_beside_the_ends() -> None:
    objective = deep()
    ends, traces = la.eigenvalues(objective, by="block"), la.trace(objective, by="block", probes=3)
    panel = ends.plot(beside=traces).panels[0]
    assert [one.label for one in panel.series] == ["λmax", "λmin", "trace"]
    places = np.array([one.x for one in panel.series])
    assert (np.diff(places, axis=0) > 0).all()
    assert np.abs(places - np.array([at for at, _ in panel.x_ticks])).max() < 0.5
    for series, values, errors in (
        (panel.series[0], [one.values[-1] for one in ends.values()], [one.errors[-1] for one in ends.values()]),
        (panel.series[1], [one.values[0] for one in ends.values()], [one.errors[0] for one in ends.values()]),
        (panel.series[2], [one.value for one in traces.values()], [one.standard_error for one in traces.values()]),
    ):
        np.testing.assert_allclose(series.y, values)
        np.testing.assert_allclose(series.high - series.y, errors, rtol=1e-6, atol=1e-12)
        assert series.style == "points"
    with pytest.raises(la.SpecError, match="beside has the blocks"):
        ends.plot(beside=la.trace(objective, by="layer", probes=3))


def test_blocks_say_what_was_found_and_of_many_which_curves_most() -> None:
    few = la.trace(deep(), by="block", probes=3)
    assert all(f"{name}: trace {number(one.value)} ± " in few.words for name, one in few.items())
    net = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(8))).double()
    many = la.eigenvalues(
        la.Objective(net, (torch.ones(4, 2).double(), torch.zeros(4, 2).double()), F.mse_loss), by="layer"
    )
    most = max(many, key=lambda name: many[name].values[-1])
    assert f"Largest of 8 blocks: {most}: λmin " in many.words


def test_the_largest_eigenvalue_of_each_batch_is_that_of_its_dense_hessian() -> None:
    objective = deep(batch_size=50)
    found = batch_eigenvalues(objective, batch_size=20, tolerance=1e-4)
    assert found.sizes.tolist() == [20, 20, 10]
    x, y = next(iter(objective.batches))
    for at, start in enumerate((0, 20, 40)):
        part = la.Objective(objective.model, (x[start : start + 20], y[start : start + 20]), F.cross_entropy)
        exact = np.linalg.eigvalsh(dense(Matrix(part)))
        np.testing.assert_allclose([found.smallest[at], found.largest[at]], exact[[0, -1]], rtol=1e-5)
    whole = la.eigenvalues(objective, tolerance=1e-4).values[-1]
    assert whole <= (found.largest @ found.sizes) / found.sizes.sum() + 1e-12
    counts = found.plot().panels[0].series[0].y
    assert "3 batches of 10 to 20 samples" in found.plot().caption[0]
    assert counts.max() >= 1
    with pytest.raises(la.SpecError, match="single batch"):
        batch_eigenvalues(objective)
