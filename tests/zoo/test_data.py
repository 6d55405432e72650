"""Are the data sets read as they were published, and nothing in them run?"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas import SpecError


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 32, 32, 3), np.uint8), generator.integers(0, 10, n)


def channel_rows(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2).reshape(len(x), 3072)


def write(folder, layout: str, parts) -> None:
    folder.mkdir(exist_ok=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name, (x, y) in zip(names, parts, strict=True):
        if layout == "binary":
            rows = np.concatenate([y[:, None].astype(np.uint8), channel_rows(x)], axis=1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            content = {b"data": channel_rows(x), b"labels": y.tolist(), b"batch_label": b"part"}
            (folder / name).write_bytes(pickle.dumps({k.decode(): v for k, v in content.items()}, protocol=2))


@pytest.mark.parametrize("layout", ["binary", "pickle"])
@pytest.mark.parametrize("nested", [False, True])
def test_cifar_in_both_layouts_with_the_papers_preprocessing(tmp_path, layout, nested):
    parts = [images(4, seed) for seed in range(6)]
    folder = (
        tmp_path / ("cifar-10-batches-bin" if layout == "binary" else "cifar-10-batches-py") if nested else tmp_path
    )
    write(folder, layout, parts)
    x, y = la.zoo.data("cifar10", root=tmp_path)
    raw = np.concatenate([part[0] for part in parts[:5]]).astype(np.float64)
    expected = (raw - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]
    np.testing.assert_allclose(x.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert y.tolist() == np.concatenate([part[1] for part in parts[:5]]).tolist()
    assert len(la.zoo.data("cifar10", split="test", root=tmp_path)[1]) == 4


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_code_in_a_pickled_data_set_is_not_run(tmp_path, capsys):
    write(tmp_path, "pickle", [images(4)] * 6)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(SpecError, match=r"the pickle asks for \w+.print, which no CIFAR-10 file needs; it was not run"):
        la.zoo.data("cifar10", root=tmp_path)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["binary", "pickle"])
def test_truncated_and_missing_files_are_named(tmp_path, layout):
    suffix = ".bin" if layout == "binary" else ""
    with pytest.raises(SpecError, match="has no CIFAR-10"):
        la.zoo.data("cifar10", root=tmp_path)
    write(tmp_path, layout, [images(4)] * 6)
    path = tmp_path / f"data_batch_2{suffix}"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SpecError, match="data_batch_2.*truncated"):
        la.zoo.data("cifar10", root=tmp_path)
    path.unlink()
    with pytest.raises(SpecError, match="data_batch_2.*incomplete"):
        la.zoo.data("cifar10", root=tmp_path)


def test_classes_that_do_not_exist_are_refused(tmp_path):
    x, y = images(4)
    write(tmp_path, "binary", [(x, y + 20)] * 6)
    with pytest.raises(SpecError, match="classes from 2[0-9] to 2[0-9]; CIFAR-10 has 0 to 9"):
        la.zoo.data("cifar10", root=tmp_path)


def test_digits_are_standardised_and_split_once_and_for_all():
    (x, y), (xt, yt) = la.zoo.data("digits"), la.zoo.data("digits", split="test")
    assert (x.shape, xt.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert float(x.mean()) == pytest.approx(0, abs=1e-6)
    assert float(x.std()) == pytest.approx(1, abs=1e-3)
    assert sorted(torch.unique(y).tolist()) == list(range(10))
    rows = {row.numpy().tobytes() for row in x}
    assert sum(row.numpy().tobytes() in rows for row in xt) == 0
    assert torch.equal(la.zoo.data("digits")[1], y)


def test_npz_files(tmp_path):
    x, y = images(5)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    found, classes = la.zoo.data("npz", path=tmp_path / "a.npz")
    assert found.shape == (5, 3, 32, 32)
    assert classes.tolist() == y.tolist()
    np.savez(tmp_path / "b.npz", x=x.astype(float), y=y)
    with pytest.raises(SpecError, match=r"x is float64 .*expected x uint8"):
        la.zoo.data("npz", path=tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.array([Evil()], object), y=y)
    with pytest.raises(SpecError, match="cannot be read as .npz"):
        la.zoo.data("npz", path=tmp_path / "c.npz")
    with pytest.raises(SpecError, match="no such file"):
        la.zoo.data("npz", path=tmp_path / "none.npz")


def test_bad_names_are_named():
    with pytest.raises(SpecError, match="data='imagenet' is unknown; choose one of: digits, cifar10, cifar100, npz"):
        la.zoo.data("imagenet")
    with pytest.raises(SpecError, match="split='val' is unknown; choose one of: train, test"):
        la.zoo.data("digits", split="val")
    with pytest.raises(SpecError, match="data 'cifar10'.*root"):
        la.zoo.data("cifar10")
