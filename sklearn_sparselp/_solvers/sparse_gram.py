"""Gram matrices of sparse columns, which are turned into row storage some rows at a time."""

from __future__ import annotations

import numpy as np

from .._core._dense import mirror
from .._core._sparse_gram import advance, count_rows, gram_of_few, gram_of_rows, turn_rows
from .._threads import threads_for

# Values that a thread turns before they are used and others take their room: 0.8 MB, what a second-level cache holds.
# With 1712798 values in 1500 columns: 11 ms; 20 with half as many and 14 with four times as many.
VALUES_IN_ROOM = 65_536
# So many new columns cost less as products of all with four of them at once.
FEW = 12
# Values a row at least: four vectors over the samples are then little beside the columns.
SPARSEST = 2
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
    stored = int(sizes.sum())
    if not out.size or not stored:
        out[:] = 0.0
        return out
    if size - n_old <= FEW and SPARSEST * n_samples <= stored:
        fours, products = np.zeros((n_samples, 4)), np.empty((4, size))
        gram_of_few(data, rows, start, stop, n_old, curvature, fours, products, out, threads_for(stored))
        return out
    out[:] = 0.0
    # Additions of each new column: its values meet those before it in their rows.
    additions = sizes[n_old:] * (np.cumsum(sizes)[n_old:] / n_samples)
    n_threads = min(threads_for(additions.sum() + TURN * stored), n_samples)
    n_shares = min(n_threads, size - n_old)
    goals = additions.sum() * np.arange(1, n_shares) / n_shares
    shares = np.array([n_old, *(n_old + np.searchsorted(np.cumsum(additions), goals)), size], dtype=np.int64)
    counts = np.zeros(n_samples + 1, dtype=np.int64)
    bounds = np.linspace(0, n_samples, n_threads + 1).astype(np.int64)
    count_rows(rows, start, stop, bounds, counts[1:])
    indptr = np.cumsum(counts, out=counts)
    # Rows that hold about as many values each, and are turned in one round.
    n_parts = -(-stored // (VALUES_IN_ROOM * n_threads)) * n_threads
    bounds = np.searchsorted(indptr, stored * np.arange(n_parts + 1) // n_parts)
    bounds[0], bounds[-1] = 0, n_samples
    rounds = bounds[::n_threads]
    most, most_rows = int(np.diff(indptr[rounds]).max()), int(np.diff(rounds).max())
    columns, values, places = np.empty(most, np.int32), np.empty(most), np.empty(most_rows, np.int64)
    reached = np.tile(start, (n_threads, 1))
    for k in range(0, n_parts, n_threads):
        part = bounds[k : k + n_threads + 1]
        for thread in range(n_threads):
            advance(rows, stop, part[thread], reached[thread])
        turn_rows(data, rows, stop, indptr, part, reached, places, columns, values)
        first, last = part[0], part[-1]
        gram_of_rows(indptr[first : last + 1], columns, values, n_old, shares, curvature[first:last], out)
    mirror(out[:, n_old:])
    return out
