"""How CIFAR-10 is read from the files it is published in, without running what they contain.

Layouts (https://www.cs.toronto.edu/~kriz/cifar.html): ``data_batch_1.bin`` … with records of one byte for the class and
3072 for the image, channel by channel; or pickled dictionaries ``data_batch_1`` … with ``data`` uint8 [10000, 3072] and
``labels``. A pickle can run code when it is read, so this reader admits only what these files consist of.
"""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas.errors import SpecError

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
        SpecError: no such files, or one that is damaged or holds something else.
    """
    for folder in (root, root / "cifar-10-batches-bin", root / "cifar-10-batches-py"):
        binary = [folder / f"{name}.bin" for name in FILES[split]]
        pickled = [folder / name for name in FILES[split]]
        for paths, reader in ((binary, _binary), (pickled, _pickled)):
            if paths[0].is_file():
                parts = [reader(_existing(path)) for path in paths]
                return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    raise SpecError(f"{root} has no CIFAR-10: expected {FILES[split][0]}.bin or {FILES[split][0]} in it")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SpecError(f"{path}: no such file; CIFAR-10 is incomplete")
    return path


def _images(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % RECORD:
        raise SpecError(
            f"{path} has {len(raw)} bytes, which is no multiple of {RECORD}; it is truncated or no CIFAR-10"
        )
    records = raw.reshape(-1, RECORD)
    return _images(records[:, 1:]), _classes(path, records[:, 0])


def _pickled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            content = _Reader(file, encoding="latin1").load()
        rows, labels = np.asarray(content["data"]), content["labels"]
    except SpecError:
        raise
    except Exception as fault:  # a damaged pickle can fail in any way
        raise SpecError(f"{path} cannot be read as CIFAR-10; it is truncated or damaged ({fault})") from fault
    if rows.dtype != np.uint8 or rows.shape != (len(labels), RECORD - 1):
        raise SpecError(f"{path}: data is {rows.dtype} {rows.shape}; expected uint8 [{len(labels)}, {RECORD - 1}]")
    return _images(rows), _classes(path, labels)


def _classes(path: Path, labels: Any) -> np.ndarray:
    classes = np.asarray(labels, np.int64)
    if classes.min() < 0 or classes.max() > 9:
        raise SpecError(f"{path}: classes from {classes.min()} to {classes.max()}; CIFAR-10 has 0 to 9")
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
