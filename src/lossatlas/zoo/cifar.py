"""How are CIFAR-10 and CIFAR-100 read from their published files without running what these contain?

Layouts (https://www.cs.toronto.edu/~kriz/cifar.html): ``data_batch_1.bin`` … with records of one byte for the class and
3072 for the image, channel by channel; or pickled dictionaries ``data_batch_1`` … with ``data`` uint8 [10000, 3072] and
``labels``. A pickle can run code when it is read, so this reader admits only what these files consist of.
"""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas.errors import SpecError

__all__ = ["ADMITTED", "FILES", "MEAN", "RECORD", "STD", "present", "read", "read_fine"]

MEAN = (125.3, 123.0, 113.9)
STD = (63.0, 62.1, 66.7)
"""Mean and standard deviation of the channels that the paper's code uses, of values from 0 to 255."""

RECORD = 3073
FILES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


def read(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one split.

    Args:
        root: the folder, or the one that holds ``cifar-10-batches-bin`` or ``cifar-10-batches-py``.
        split: ``"train"`` or ``"test"``.

    Returns:
        Images uint8 [N, 32, 32, 3] and classes int64 [N].

    Raises:
        SpecError: there are no such files, or one is damaged or holds something else.
    """
    for paths, ending in _layouts(root, split):
        if paths[0].is_file():
            parts = [_binary(_existing(path)) if ending else _pickled(_existing(path)) for path in paths]
            return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    raise SpecError(f"{root} has no CIFAR-10: expected {FILES[split][0]}.bin or {FILES[split][0]} in it")


def present(root: Path) -> bool:
    """Whether a folder holds CIFAR-10 in one of its layouts, whole or not."""
    return any(paths[0].is_file() for paths, _ in _layouts(root, "train"))


def _layouts(root: Path, split: str) -> Iterator[tuple[list[Path], str]]:
    """The files of each layout, and the ending of their names: empty if they are pickled."""
    for folder in (root, root / "cifar-10-batches-bin", root / "cifar-10-batches-py"):
        for ending in (".bin", ""):
            yield [folder / f"{name}{ending}" for name in FILES[split]], ending


def read_fine(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one split of CIFAR-100 with its fine classes; arguments and results as of :func:`read`."""
    for folder in (root, root / "cifar-100-binary", root / "cifar-100-python"):
        if (folder / f"{split}.bin").is_file():
            return _binary(folder / f"{split}.bin", coarse=1)
        if (folder / split).is_file():
            return _pickled(folder / split, labels="fine_labels")
    raise SpecError(f"{root} has no CIFAR-100: expected {split}.bin or {split} in it")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SpecError(f"{path}: no such file; CIFAR-10 is incomplete")
    return path


def _images(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _binary(path: Path, coarse: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Records of CIFAR-10, or of CIFAR-100, which have a byte for the coarse class before the fine one."""
    raw, record = np.fromfile(path, np.uint8), RECORD + coarse
    if not len(raw) or len(raw) % record:
        raise SpecError(
            f"{path} has {len(raw)} bytes, which is not a multiple of {record}; it is truncated or not CIFAR"
        )
    records = raw.reshape(-1, record)
    return _images(records[:, 1 + coarse :]), _classes(path, records[:, coarse], 100 if coarse else 10)


def _pickled(path: Path, labels: str = "labels") -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            content = _Reader(file, encoding="latin1").load()
        rows, found = np.asarray(content["data"]), content[labels]
    except SpecError:
        raise
    except Exception as fault:  # a damaged pickle can fail in any way
        raise SpecError(f"{path} cannot be read as CIFAR-10; it is truncated or damaged ({fault})") from fault
    if rows.dtype != np.uint8 or rows.shape != (len(found), RECORD - 1):
        raise SpecError(f"{path}: data is {rows.dtype} {rows.shape}; expected uint8 [{len(found)}, {RECORD - 1}]")
    return _images(rows), _classes(path, found, 10 if labels == "labels" else 100)


def _classes(path: Path, labels: Any, count: int) -> np.ndarray:
    classes = np.asarray(labels, np.int64)
    if classes.min() < 0 or classes.max() >= count:
        raise SpecError(f"{path}: classes from {classes.min()} to {classes.max()}; CIFAR-{count} has 0 to {count - 1}")
    return classes


ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Reader(pickle.Unpickler):
    """Knows the few names that a pickled dictionary of NumPy arrays needs, and refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        """The named object, if it is on the list."""
        if (module, name) not in ADMITTED:
            raise SpecError(f"the pickle asks for {module}.{name}, which no CIFAR-10 file needs; it was not run")
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        if name == "_reconstruct":
            return super().find_class("numpy._core.multiarray", name)
        return getattr(np, name)
