"""How is a computation kept from touching the global random state?"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, *generators: torch.Generator | None) -> Iterator[None]:
    """Run a block under a seed, then restore every global generator, even after an exception.

    Args:
        seed: seed for Python, NumPy, torch and all CUDA devices inside the block.
        generators: further generators (a DataLoader's own, say) whose state is put back too.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0):
        ...     _ = torch.rand(3)
        >>> bool((before == torch.get_rng_state()).all())
        True
    """
    with _one_thread:
        yield from _seeded(seed, generators)


_one_thread = threading.RLock()
"""There is one global state: two threads that seed and restore it in turns would restore each other's."""


def _seeded(seed: int, generators: tuple[torch.Generator | None, ...]) -> Iterator[None]:
    own = [(generator, generator.get_state()) for generator in generators if generator is not None]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if initialized else []
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # torch.manual_seed would also queue a seed for a CUDA context that the user has not opened yet.
        torch.default_generator.manual_seed(seed)
        if initialized:
            torch.cuda.manual_seed_all(seed)
        for generator, _ in own:
            generator.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        for generator, state in own:
            generator.set_state(state)
