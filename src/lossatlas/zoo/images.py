"""How are images read from files? MNIST's idx, folders of pictures by class, and Hugging Face data sets on disk."""

from __future__ import annotations

import gzip
import io
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.extras import require
from lossatlas.oneline import first_line
from lossatlas.untrusted import LARGE, reading

__all__ = ["FILES", "GREY", "PICTURES", "Pair", "datasets", "fashion_mnist", "folder", "idx", "mnist"]

Pair = tuple[Tensor, Tensor]

GREY = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}
"""Mean and standard deviation of the training pixels, from 0 to 1, that are usual for these data sets."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm")
FILES = {"train": "train", "test": "t10k"}


def mnist(*, path: str | os.PathLike[str], split: str = "train") -> Pair:
    """MNIST (LeCun et al. 1998) from a folder with its four idx files, packed (.gz) or not."""
    return _grey("mnist", Path(path), split)


def fashion_mnist(*, path: str | os.PathLike[str], split: str = "train") -> Pair:
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) from a folder with its four idx files, packed or not."""
    return _grey("fashion_mnist", Path(path), split)


def _grey(name: str, folder: Path, split: str) -> Pair:
    x = idx(_one_of(folder, f"{FILES[split]}-images-idx3-ubyte"))
    y = idx(_one_of(folder, f"{FILES[split]}-labels-idx1-ubyte"))
    if x.ndim != 3 or y.shape != x.shape[:1]:
        raise SpecError(f"{folder}: images {x.shape} and labels {y.shape}; expected [N, H, W] and [N]")
    mean, std = GREY[name]
    return torch.from_numpy((x / np.float32(255) - np.float32(mean)) / np.float32(std))[:, None], torch.from_numpy(
        y.astype(np.int64)
    )


def _one_of(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")):
        if path.is_file():
            return path
    raise SpecError(f"{folder} has no {name} or {name}.gz")


def idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format: two zeros, the type 8, the number of dimensions, their sizes, the values.

    Returns:
        The array, uint8.

    Raises:
        SpecError: another format or type, or a file whose length does not match its header.
    """
    opened = gzip.open if path.suffix == ".gz" else io.open
    with reading(path, "idx", "truncated or damaged?"), opened(path, "rb") as file:
        most = LARGE + 100 * path.stat().st_size
        raw = file.read(most + 1)
        if len(raw) > most:
            raise SpecError(f"{path} holds more than {most:,} bytes; it is not a data set in the idx format")
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise SpecError(
            f"{path} is not an idx file of bytes: it begins with {raw[:4].hex()}, expected 000008 and dimensions"
        )
    head = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[start : start + 4], "big") for start in range(4, head, 4))
    if len(raw) != head + math.prod(shape):
        raise SpecError(f"{path} has {len(raw)} bytes; its header says {shape}; it is truncated or damaged")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def folder(
    *, path: str | os.PathLike[str], split: str = "train", size: int = 32, mean: float = 0.5, std: float = 0.25
) -> Pair:
    """Pictures in a folder for each class, as torchvision's ImageFolder has them; classes in the order of their names.

    Args:
        path: the folder; if it holds the folders ``train`` and ``test`` (or ``val``), the split chooses.
        split: ``"train"`` or ``"test"``.
        size: height and width of every picture, whose shorter side is scaled to it before the centre is cut out.
        mean: subtracted from values between 0 and 1, for all channels.
        std: by which they are divided.

    Returns:
        Images float32 [N, 3, size, size] and classes int64 [N].

    Raises:
        SpecError: there is no class or no picture, or one cannot be read.
    """
    library = require("PIL.Image", extra="draw", purpose="read pictures")
    root = _split_folder(Path(path), split)
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    images, labels = [], []
    for number, entry in enumerate(classes):
        for picture in sorted(p for p in entry.rglob("*") if p.suffix.lower() in PICTURES):
            images.append(_picture(library, picture, size))
            labels.append(number)
    if not images:
        raise SpecError(f"{root} has no pictures in folders of classes; expected {root}/CLASS/NAME.png")
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return ((x - mean) / std).contiguous(), torch.tensor(labels)


def _split_folder(root: Path, split: str) -> Path:
    names = ("train",) if split == "train" else ("test", "val")
    return next((root / name for name in names if (root / name).is_dir()), root)


def _picture(library: Any, path: Path, size: int) -> np.ndarray:
    with reading(path, "a picture"), warnings.catch_warnings():
        warnings.simplefilter("error", library.DecompressionBombWarning)
        with library.open(path) as opened:
            image = opened.convert("RGB")
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), library.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def datasets(
    *,
    path: str | os.PathLike[str],
    split: str = "train",
    columns: tuple[str, ...] = (),
    batch: int = 100,
) -> list[Any]:
    """A data set of Hugging Face that ``save_to_disk`` wrote, as batches.

    Args:
        path: its folder; if it has several splits, the one asked for is taken.
        split: ``"train"`` or ``"test"``.
        columns: two or more columns of numbers, the last one the target: batches are tuples of them. By default batches
            are mappings of all columns of numbers, as Hugging Face models take them.
        batch: rows in a batch.

    Returns:
        The batches.

    Raises:
        SpecError: no such data set, split or column.
    """
    library = require("datasets", extra="datasets", purpose=f"read {path}")
    try:
        found = library.load_from_disk(str(path))
    except (FileNotFoundError, OSError, ValueError) as fault:
        raise SpecError(f"{path} is not a data set that save_to_disk wrote: {first_line(fault)}") from fault
    if isinstance(found, library.DatasetDict):
        if split not in found:
            raise SpecError(f"{path} has the splits {list(found)}, not {split!r}")
        found = found[split]
    unknown = [name for name in columns if name not in found.column_names]
    if unknown:
        raise SpecError(f"{path} has no column {unknown[0]!r}; it has {', '.join(found.column_names)}")
    found = found.with_format("torch")
    batches = []
    for start in range(0, len(found), batch):
        rows = found[start : start + batch]
        tensors = {name: value for name, value in rows.items() if isinstance(value, Tensor)}
        lost = [name for name in columns if name not in tensors]
        if lost:
            raise SpecError(
                f"{path}: column {lost[0]!r} has rows of different shapes or no numbers; pad or map it first"
            )
        batches.append(tuple(tensors[name] for name in columns) if columns else tensors)
    return batches
