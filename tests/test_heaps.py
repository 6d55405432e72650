"""Is a file refused whose heap the HDF5 library would never come to the end of, and no other?"""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest

import lossatlas as la
from lossatlas import heaps
from lossatlas.errors import SpecError
from lossatlas.results import interchange
from lossatlas.results.landscape import save

HEADER = 16
"""Bytes before the size of a heap ends, and before the content of an object in it."""


def written(path: Path) -> Path:
    """A Landscape; the names of its coordinates lie in a heap."""
    landscape = la.landscape(x=np.linspace(-1, 1, 4), y=np.linspace(0, 1, 3), loss=np.arange(12.0).reshape(4, 3))
    save(landscape, path)
    return path


def first_heap(content: bytes) -> int:
    at = content.find(b"GCOL\x01")
    assert at >= 0
    return at


def with_object(content: bytes, index: int, size: int) -> bytes:
    """The first object of the first heap as it would not be written."""
    at = first_heap(content) + HEADER
    head = index.to_bytes(2, "little") + content[at + 2 : at + 8] + size.to_bytes(8, "little")
    return content[:at] + head + content[at + HEADER :]


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 2**64 - 4096), (1, 2**64 - 16)], ids=["none", "back", "round"])
def test_a_heap_without_an_end_is_refused_by_every_reader(tmp_path: Path, index: int, size: int) -> None:
    path = written(tmp_path / "a.nc")
    path.write_bytes(with_object(path.read_bytes(), index, size))
    for read in (la.open, interchange.read_surface, interchange.read_directions):
        with pytest.raises(SpecError, match=r"a\.nc is damaged \(a heap in it has no end\)"):
            read(path)


def test_whole_files_and_those_that_the_library_refuses_itself_are_left_to_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nc")
    whole = path.read_bytes()
    assert not heaps.endless(path)
    for index, size in ((1, 2**40), (0, 2**20), (65535, 3)):
        path.write_bytes(with_object(whole, index, size))
        assert not heaps.endless(path), (index, size)
    for content in (b"", b"GCOL", b"GCOL\x01", whole[: first_heap(whole) + 40]):
        path.write_bytes(content)
        assert not heaps.endless(path), content[:8]


def test_the_words_in_a_heap_that_has_been_used_and_freed_do_not_matter(tmp_path: Path) -> None:
    path, content = tmp_path / "a.h5", io.BytesIO()
    with h5py.File(content, "w") as file:
        for number in range(300):
            file.attrs.create(f"word {number}", "w" * (number % 50), dtype=h5py.string_dtype())
        for number in range(0, 300, 2):
            del file.attrs[f"word {number}"]
    path.write_bytes(content.getvalue())
    assert content.getvalue().count(b"GCOL\x01") > 1
    assert not heaps.endless(path)
