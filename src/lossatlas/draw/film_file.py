"""How do frames become a film in a file, whole or not at all?"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from lossatlas import extras
from lossatlas.atomic import replacing, sweep

__all__ = ["SUFFIXES", "of_one_size", "write"]

SUFFIXES = (".mp4", ".gif", ".webp", "")
"""The kinds of film; a name without a suffix is a folder of numbered png files."""


def of_one_size(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames on the paper of the first: a caption that takes one line more or less would change their height.

    Args:
        frames: uint8 [height, width, 3] each.

    Yields:
        Frames of one size.

    Example:
        >>> [frame.shape for frame in of_one_size([np.zeros((2, 3, 3), np.uint8), np.zeros((4, 3, 3), np.uint8)])]
        [(2, 3, 3), (2, 3, 3)]
    """
    paper: np.ndarray | None = None
    for frame in frames:
        if paper is None:
            paper = np.full_like(frame, frame[0, 0])
        sheet = paper.copy()
        height, width = min(sheet.shape[0], frame.shape[0]), min(sheet.shape[1], frame.shape[1])
        sheet[:height, :width] = frame[:height, :width]
        yield sheet


def write(frames: Iterable[np.ndarray], target: Path, rate: int) -> None:
    """Write a film.

    Args:
        frames: uint8 [height, width, 3], of one size.
        target: its suffix, one of ``SUFFIXES``, says how.
        rate: frames per second.

    Raises:
        OSError: it cannot be written whole; a film that was there stays.
        MissingExtraError: a library is not installed.
    """
    suffix = target.suffix.lower()
    if not suffix:
        from matplotlib.image import imsave

        with contextlib.ExitStack() as all_of_them:  # they take the places of an older film's together, or not at all
            if not target.exists():
                target.mkdir()
                all_of_them.push(lambda kind, *_: target.rmdir() if kind else None)
            for number, frame in enumerate(frames):
                imsave(all_of_them.enter_context(replacing(target / f"{number:05d}.png", ending=".png")), frame)
        return
    sweep(target)
    with replacing(target, ending=suffix) as scratch:
        if suffix == ".mp4":
            _write_mp4(frames, scratch, rate)
        else:
            _write_pillow(frames, scratch, rate)


def _write_mp4(frames: Iterable[np.ndarray], target: Path, rate: int) -> None:
    ffmpeg = extras.require("imageio_ffmpeg", extra="film", purpose="write an .mp4 film")
    writer, count = None, 0
    for frame in frames:
        even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # H.264 needs even sides
        if writer is None:
            size = (even.shape[1], even.shape[0])
            writer = ffmpeg.write_frames(str(target), size, fps=rate, macro_block_size=2, quality=8)
            writer.send(None)
        writer.send(np.ascontiguousarray(even))
        count += 1
    if writer is not None:
        writer.close()
    # The encoder is another program, which does not say that it could not write the last of its frames.
    try:
        written, _ = ffmpeg.count_frames_and_secs(str(target))
    except (RuntimeError, OSError):
        written = 0
    if written != count:
        raise OSError(errno.EIO, f"the encoder wrote {written} of {count} frames; is the disk full?")


def _write_pillow(frames: Iterable[np.ndarray], target: Path, rate: int) -> None:
    pillow = extras.require("PIL.Image", extra="draw", purpose="write a .gif or .webp film")
    images = [pillow.fromarray(frame) for frame in frames]
    images[0].save(target, save_all=True, append_images=images[1:], duration=round(1000 / rate), loop=0)
