"""How do the shards of a run become one journal, without the model?"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.results.folders import look
from lossatlas.results.shards import absorb, look_at_all, missing, shards_of
from lossatlas.results.store import RunFolder

__all__ = ["Merged", "merge"]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merge found.

    Attributes:
        total: number of cells of the run.
        done: how many of them have their point now.
        shards: how many points each shard has brought, by its name.
    """

    total: int
    done: int
    shards: dict[str, int]

    @property
    def whole(self) -> bool:
        """Whether the run is finished."""
        return self.done == self.total


def merge(run: str | os.PathLike[str]) -> Merged:
    """Merge the points of all shards into the run itself, and write its Landscape if none is missing.

    Shards that are still running go on undisturbed; merge again when they have finished.

    Args:
        run: the run folder.

    Returns:
        How many points there are now.

    Raises:
        SpecError: the folder has no shards, or one is damaged.
        RunMismatchError: a shard is of another run, or was evaluated by another plan.
        OSError: the folder cannot be written, or another process is writing it.
    """
    folder = Path(run)
    shards = shards_of(folder)
    if not shards:
        raise SpecError(
            f"{folder} has no shards, so there is nothing to merge. Shards are made by lossatlas sample … --shard 1/8"
        )
    seen = look_at_all(folder)
    with RunFolder.begin(folder, seen.spec) as journal:
        absorb(journal, folder)
        for path in shards[0].iterdir():
            if path.suffix == ".safetensors" and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)
        if not missing(seen):
            journal.finish()
    counts = {path.name.replace("-of-", "/"): len(look(path).found.told.indices) for path in shards}
    total = int(np.prod(seen.spec.shape))
    return Merged(total=total, done=total - missing(seen), shards=counts)
