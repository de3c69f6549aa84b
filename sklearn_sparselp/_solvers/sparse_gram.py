"""Gram matrices of sparse columns, which are turned into row storage once and kept there while others join."""

from __future__ import annotations

import numpy as np

from .._core._dense import mirror
from .._core._sparse_gram import append_columns, gram_of_rows
from .._threads import threads_for

# Stored values that are turned into rows at once: with their columns, what a second-level cache holds.
VALUES_AT_ONCE = 32_768
# What it takes to turn a value, in values that are moved.
TURN = 6


class TurnedColumns:
    """Sparse columns in row storage.

    Parameters
    ----------
    n_samples : int
    """

    def __init__(self, n_samples: int):
        self._n_samples = n_samples
        # Stored values of each column.
        self._sizes = np.empty(0, dtype=np.int64)
        self._indptr = np.zeros(n_samples + 1, dtype=np.int64)
        self._columns, self._values = np.empty(0, dtype=np.int32), np.empty(0)

    def __len__(self) -> int:
        return self._sizes.size

    def append(self, data: np.ndarray, rows: np.ndarray, start: np.ndarray, stop: np.ndarray) -> None:
        """Take in the columns ``data[start[k]:stop[k]]`` with ascending rows, after those that are here."""
        sizes, n_old, n_samples = stop - start, len(self), self._n_samples
        stored = self._values.size + int(sizes.sum())
        rows_at_once = min(max(n_samples * VALUES_AT_ONCE // max(stored, 1), 1), n_samples)
        n_threads = min(threads_for(self._values.size + TURN * int(sizes.sum())), n_samples)
        bounds = np.linspace(0, n_samples, n_threads + 1).astype(np.int64)
        indptr = np.empty(n_samples + 1, dtype=np.int64)
        columns, values = np.empty(stored, dtype=np.int32), np.empty(stored)
        append_columns(
            data, rows, start, stop, n_old, bounds, self._indptr, self._columns, self._values,
            np.empty((n_threads, 2 * sizes.size), dtype=np.int64), np.empty((n_threads, rows_at_once), dtype=np.int64),
            indptr, columns, values,
        )  # fmt: skip
        self._indptr, self._columns, self._values = indptr, columns, values
        self._sizes = np.concatenate([self._sizes, sizes])

    def gram(self, curvature: np.ndarray, n_old: int = 0, out: np.ndarray | None = None) -> np.ndarray:
        """Return ``X[:, n_old:].T @ diag(curvature) @ X``, in ``out`` if given, of shape (n_columns - n_old, n_columns)."""
        size = len(self)
        out = np.empty((size - n_old, size)) if out is None else out
        out[:] = 0.0
        if not out.size or not self._values.size:
            return out
        # Additions of each new column: its values meet those before it in their rows.
        additions = self._sizes[n_old:] * (np.cumsum(self._sizes)[n_old:] / self._n_samples)
        n_threads = max(min(threads_for(additions.sum()), size - n_old), 1)
        goals = additions.sum() * np.arange(1, n_threads) / n_threads
        shares = np.array([n_old, *(n_old + np.searchsorted(np.cumsum(additions), goals)), size], dtype=np.int64)
        gram_of_rows(self._indptr, self._columns, self._values, n_old, shares, curvature, out)
        mirror(out[:, n_old:])
        return out
