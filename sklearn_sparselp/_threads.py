"""How many threads a piece of work is shared by."""

from __future__ import annotations

from ._core._matvec import effective_n_threads

# Below so many stored values, or as many additions, all is over before a second thread is awake.
THREADED_FROM = 300_000


def threads_for(work: float) -> int:
    """Return how many threads share so many stored values, or as many additions."""
    return effective_n_threads() if work >= THREADED_FROM else 1
