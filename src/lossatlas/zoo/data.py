"""Data sets by name, preprocessed, as pairs of tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.extras import require
from lossatlas.untrusted import check_zip, reading
from lossatlas.zoo import cifar, images, text

__all__ = ["DATASETS", "DIGITS_TEST", "Pair", "cifar10", "cifar100", "digits", "npz", "prepared"]

Pair = tuple[Tensor, Tensor]

DIGITS_TEST = 360
"""Samples of the digits held out for testing, one in five."""


def digits(*, split: str) -> Pair:
    """The handwritten digits that come with scikit-learn: 1797 images of 8×8 grey values from 0 to 16.

    Pixels are standardised with one mean and one standard deviation, those of the training part. The split is a fixed
    permutation. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.

    Returns:
        Images, float32 [N, 1, 8, 8], and classes, int64 [N].
    """
    found = require("sklearn.datasets", extra="zoo", purpose="load the digits").load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    train, test = order[DIGITS_TEST:], order[:DIGITS_TEST]
    pixels = found.images[train]
    chosen = train if split == "train" else test
    x = torch.from_numpy((found.images[chosen] - pixels.mean()) / pixels.std()).float()[:, None]
    return x, torch.from_numpy(found.target[chosen]).long()


def cifar10(*, split: str, root: str | os.PathLike[str]) -> Pair:
    """CIFAR-10 from a folder in its published binary or Python layout, with the paper's preprocessing."""
    return prepared(*cifar.read(Path(root), split))


def npz(*, split: str = "train", path: str | os.PathLike[str]) -> Pair:
    """Colour images from an ``.npz`` file with ``x`` uint8 [N, H, W, 3] and ``y`` [N], prepared as CIFAR-10."""
    source = Path(path)
    if not source.is_file():
        raise SpecError(f"{source}: no such file")
    check_zip(source)
    with reading(source, ".npz with arrays x and y"), np.load(source, allow_pickle=False) as stored:
        x, y = stored["x"], stored["y"]
    good = x.dtype == np.uint8 and x.ndim == 4 and x.shape[3] == 3 and min(x.shape) > 0 and y.dtype.kind in "iub"
    if not good or y.shape != x.shape[:1]:
        raise SpecError(f"{source}: x is {x.dtype} {x.shape}, y {y.shape}; expected x uint8 [N, H, W, 3] and y [N]")
    return prepared(x, y)


def prepared(x: np.ndarray, y: np.ndarray) -> Pair:
    """Images uint8 [N, H, W, 3] as the paper's networks expect them: scaled, standardised by channel, [N, 3, H, W]."""
    scaled = torch.from_numpy(np.ascontiguousarray(x)).float() / 255
    mean, std = (torch.tensor(values) / 255 for values in (cifar.MEAN, cifar.STD))
    return ((scaled - mean) / std).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.asarray(y, np.int64))


def cifar100(*, split: str, root: str | os.PathLike[str]) -> Pair:
    """CIFAR-100, its 100 fine classes, from a folder in its published layout, with CIFAR-10's preprocessing."""
    return prepared(*cifar.read_fine(Path(root), split))


DATASETS: dict[str, Callable[..., Any]] = {
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "npz": npz,
    "mnist": images.mnist,
    "fashion_mnist": images.fashion_mnist,
    "folder": images.folder,
    "datasets": images.datasets,
    "reference": text.reference,
    "text": text.text,
    "tsv": text.tsv,
}
"""What loads a data set, by name."""
