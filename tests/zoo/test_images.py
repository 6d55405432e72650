"""Are images read as their files say, and refused where they say something else?"""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas import SpecError


def write_idx(path, array, packed=False):
    raw = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(raw) if packed else raw)


def write_mnist(folder, packed):
    generator = np.random.default_rng(0)
    suffix = ".gz" if packed else ""
    for split, count in (("train", 5), ("t10k", 3)):
        write_idx(
            folder / f"{split}-images-idx3-ubyte{suffix}", generator.integers(0, 256, (count, 28, 28), np.uint8), packed
        )
        write_idx(
            folder / f"{split}-labels-idx1-ubyte{suffix}", generator.integers(0, 10, count).astype(np.uint8), packed
        )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.2860, 0.3530)])
def test_idx_files(tmp_path, packed, name, mean, std):
    write_mnist(tmp_path, packed)
    x, y = la.zoo.data(name, path=tmp_path)
    raw = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    np.testing.assert_allclose(x.numpy()[:, 0], (raw / 255 - mean) / std, atol=1e-6)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert len(la.zoo.data(name, path=tmp_path, split="test")[0]) == 3


def test_damaged_idx_files_are_refused(tmp_path):
    write_mnist(tmp_path, False)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(SpecError, match=r"its header says \(5, 28, 28\)"):
        la.zoo.data("mnist", path=tmp_path)
    path.write_bytes(b"\x00\x00\x0d\x03" + whole[4:])
    with pytest.raises(SpecError, match="begins with 00000d03"):
        la.zoo.data("mnist", path=tmp_path)
    path.unlink()
    with pytest.raises(SpecError, match="has no train-images-idx3-ubyte"):
        la.zoo.data("mnist", path=tmp_path)


@pytest.mark.parametrize("layout", ["binary", "pickle"])
def test_cifar_100_has_its_fine_classes(tmp_path, layout):
    import pickle

    generator = np.random.default_rng(0)
    raw, fine = generator.integers(0, 256, (4, 3072), np.uint8), np.array([3, 99, 0, 50])
    if layout == "binary":
        rows = np.concatenate([np.array([[7]] * 4), fine[:, None], raw], axis=1).astype(np.uint8)
        (tmp_path / "train.bin").write_bytes(rows.tobytes())
    else:
        content = {"data": raw, "fine_labels": fine.tolist(), "coarse_labels": [7] * 4}
        (tmp_path / "train").write_bytes(pickle.dumps(content, protocol=2))
    x, y = la.zoo.data("cifar100", root=tmp_path)
    assert y.tolist() == fine.tolist()
    pixel = raw.reshape(4, 3, 32, 32)[:, 0]
    np.testing.assert_allclose(x.numpy()[:, 0], (pixel - 125.3) / 63.0, atol=1e-5)
    with pytest.raises(SpecError, match="has no CIFAR-100"):
        la.zoo.data("cifar100", root=tmp_path, split="test")


def test_a_folder_of_pictures_by_class(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split, colours in (
        ("train", {"cat": (255, 0, 0), "dog": (0, 0, 255)}),
        ("val", {"cat": (0, 255, 0), "dog": (9, 9, 9)}),
    ):
        for name, colour in colours.items():
            (tmp_path / split / name).mkdir(parents=True)
            image.new("RGB", (40, 60), colour).save(tmp_path / split / name / "one.png")
    x, y = la.zoo.data("folder", path=tmp_path, size=16, mean=0.0, std=1.0)
    assert x.shape == (2, 3, 16, 16)
    assert x[:, :, 3, 5].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert y.tolist() == [0, 1]
    assert la.zoo.data("folder", path=tmp_path, split="test", mean=0.0, std=1.0)[0][0, :, 0, 0].tolist() == [0, 1, 0]
    (tmp_path / "train" / "cat" / "two.png").write_bytes(b"none")
    with pytest.raises(SpecError, match="two.png cannot be read as a picture"):
        la.zoo.data("folder", path=tmp_path)
    with pytest.raises(SpecError, match="no pictures in folders of classes"):
        la.zoo.data("folder", path=tmp_path / "val" / "cat")


def test_a_data_set_of_hugging_face_on_disk(tmp_path):
    library = pytest.importorskip("datasets")
    rows = {"input_ids": [[1, 2], [3, 4], [5, 6]], "labels": [[2, 3], [4, 5], [6, 7]], "text": ["a", "b", "c"]}
    library.DatasetDict({"train": library.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / "set"))
    first, last = la.zoo.data("datasets", path=tmp_path / "set", batch=2)
    assert sorted(first) == ["input_ids", "labels"]
    assert last["labels"].tolist() == [[6, 7]]
    pair = la.zoo.data("datasets", path=tmp_path / "set", columns=("input_ids", "labels"))
    assert pair[0][0].tolist() == rows["input_ids"]
    for options, message in (
        ({"split": "test"}, r"has the splits \['train'\], not 'test'"),
        ({"columns": ("input_ids", "label")}, "has no column 'label'"),
        ({"columns": ("input_ids", "text")}, "column 'text' has rows of different shapes or no numbers"),
    ):
        with pytest.raises(SpecError, match=message):
            la.zoo.data("datasets", path=tmp_path / "set", **options)
    with pytest.raises(SpecError, match="not a data set that save_to_disk wrote"):
        la.zoo.data("datasets", path=tmp_path)
