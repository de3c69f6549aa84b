"""Gram matrices of sparse columns, which are turned into row storage some rows at a time."""

from __future__ import annotations

import numpy as np

from .._core._dense import mirror
from .._core._sparse_gram import gram_of_rows, stored_within, turn_rows
from .._threads import threads_for

# Stored values that are turned before the next rows are: with their columns, what a second-level cache holds.
VALUES_AT_ONCE = 32_768
# Values that are turned, and used, before others take their room: 0.8 MB for each thread.
VALUES_IN_ROOM = 65_536
# What it takes to turn a value, in values that are multiplied.
TURN = 6


def sparse_gram(
    data: np.ndarray, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, curvature: np.ndarray, n_old: int,
    out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """Return ``X[:, n_old:].T @ diag(curvature) @ X`` for the columns ``data[start[k]:stop[k]]`` with ascending rows.

    Each thread makes some of the columns of the matrix, so that sums are the same for any number of threads.
    """
    n_samples, sizes, size = curvature.size, stop - start, start.size
    out = np.empty((size - n_old, size)) if out is None else out
    out[:] = 0.0
    stored = int(sizes.sum())
    if not out.size or not stored:
        return out
    # Additions of each new column: its values meet those before it in their rows.
    additions = sizes[n_old:] * (np.cumsum(sizes)[n_old:] / n_samples)
    n_threads = min(threads_for(additions.sum() + TURN * stored), n_samples)
    n_shares = min(n_threads, size - n_old)
    goals = additions.sum() * np.arange(1, n_shares) / n_shares
    shares = np.array([n_old, *(n_old + np.searchsorted(np.cumsum(additions), goals)), size], dtype=np.int64)
    n_rounds = min(-(-stored // (VALUES_IN_ROOM * n_threads)), n_samples)
    bounds = np.linspace(0, n_samples, n_rounds * n_threads + 1).astype(np.int64)
    rows_at_once = min(max(n_samples * VALUES_AT_ONCE // stored, 1), n_samples)
    reached = np.empty((n_threads, 2 * size), dtype=np.int64)
    places = np.empty((n_threads, rows_at_once), dtype=np.int64)
    for k in range(0, n_rounds * n_threads, n_threads):
        first, last = int(bounds[k]), int(bounds[k + n_threads])
        n_values = stored_within(rows, start, stop, first, last)
        indptr = np.empty(last - first + 1, dtype=np.int64)
        columns, values = np.empty(n_values, dtype=np.int32), np.empty(n_values)
        turn_rows(data, rows, start, stop, bounds[k : k + n_threads + 1], reached, places, indptr, columns, values)
        gram_of_rows(indptr, columns, values, n_old, shares, curvature[first:last], out)
    mirror(out[:, n_old:])
    return out
