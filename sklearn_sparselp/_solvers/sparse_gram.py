"""Gram matrices of sparse columns: full ones side by side, of the rest some rows at a time."""

from __future__ import annotations

import numpy as np

from .._core._dense import mirror
from .._core._sparse_gram import clear, count_rows, gram_of_compressed_rows, gram_of_few, gram_of_rows, panel_products, turn_rows
from .._threads import THREADED_FROM, threads_for

# Values that a thread turns before they are used and others take their room: 0.8 MB, what a second-level cache holds.
# With 1712798 values in 1500 columns: 11 ms; 20 with half as many and 14 with four times as many.
VALUES_IN_ROOM = 65_536
# What it takes to turn a value, in values that are multiplied.
TURN = 6
# Columns that are written side by side as a panel, and what a panel may hold at a time: 256 kB.
WIDTHS = np.array([4, 8, 16, 32])
PANEL_VALUES = 32_768
# So many new columns cost less as a panel, and so do those that hold a value in so large a part of the rows. 32 more in
# 1500 columns: 10 ms, 14 by rows; all 1500: 90 ms, 100 with 0.3, 130 without panels, and 190 by panels alone.
FEW = 32
FULL = 0.15
# Values of the matrix that are made at once: half of them, 1 MB, are below its diagonal.
VALUES_OF_SHARE = 2**18
# What a value costs with a panel of the least width, in values that are multiplied alone.
PANEL_ROW = 2
# What a value of a row takes with the others of it, in values that are read once, about.
ROW_LENGTHS = 4
# Sums are made in parts, so many at most, of so many values of a column in the mean.
MOST_PARTS = 8
VALUES_OF_PART = 64
NO_VALUES = np.empty(0)


def sparse_gram(
    data: np.ndarray, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, curvature: np.ndarray, n_old: int,
    out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """Return ``X[:, n_old:].T @ diag(curvature) @ X`` for the columns ``data[start[k]:stop[k]]`` with ascending rows.

    Full columns meet the others as dense panels; of the rest each value meets the others of its row. Each thread makes
    some of the columns of the matrix, so that sums are the same for any number of threads.
    """
    n_samples, sizes, size = curvature.size, stop - start, start.size
    out = np.empty((size - n_old, size)) if out is None else out
    clear(out, threads_for(out.size))
    if not out.size or not sizes.any():
        return out
    full = sizes > FULL * n_samples
    if size - n_old <= FEW:
        full = np.arange(size) >= n_old
    within = data, rows, start, stop, curvature
    widest = int(WIDTHS[-1])
    new, left = n_old + np.flatnonzero(full[n_old:]), np.ones(size, dtype=np.bool_)
    for first in range(0, new.size, widest):
        chosen, others = new[first : first + widest], np.flatnonzero(left)
        _fill_panel(*within, chosen, others, n_old, out)
        left[chosen] = False
    old, sparse_new = np.flatnonzero(full[:n_old]), n_old + np.flatnonzero(~full[n_old:])
    if sparse_new.size:
        for first in range(0, old.size, widest):
            _fill_panel(*within, old[first : first + widest], sparse_new, n_old, out)
        _add_by_rows(*within, np.flatnonzero(~full), n_old, out)
    mirror(out[:, n_old:], 0, NO_VALUES, threads_for((size - n_old) ** 2))
    return out


def gram_by_rows(
    data: np.ndarray, columns: np.ndarray, indptr: np.ndarray, n_columns: int, curvature: np.ndarray,
    vectors: np.ndarray, products_only: bool = False,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return ``X.T @ diag(curvature) @ X`` of a few columns in row storage, and ``vectors @ X``, in one reading.

    The matrix is empty with ``products_only``. Sums are the same for any number of threads.
    """
    n_samples, stored = curvature.size, int(indptr[-1])
    n_parts = min(MOST_PARTS, n_samples) if ROW_LENGTHS * stored >= THREADED_FROM else 1
    bounds = n_samples * np.arange(n_parts + 1) // n_parts
    size = 0 if products_only else n_columns
    grams, products = np.zeros((n_parts, size, size)), np.zeros((n_parts, vectors.shape[0], n_columns))
    n_threads = threads_for(ROW_LENGTHS * stored)
    gram_of_compressed_rows(data, columns, indptr, bounds, curvature, vectors, grams, products, n_threads)
    gram = grams.sum(axis=0)
    mirror(gram, 0, NO_VALUES, threads_for(gram.size))
    return gram, products.sum(axis=0)


def _fill_panel(
    data: np.ndarray, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, curvature: np.ndarray, chosen: np.ndarray,
    others: np.ndarray, n_old: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Fill in the products of chosen columns, at most as many as a panel has, with other ones, and the other way round."""
    width = int(WIDTHS[np.searchsorted(WIDTHS, chosen.size)])
    n_samples, stored = curvature.size, int((stop[others] - start[others]).sum())
    work = PANEL_ROW * width // WIDTHS[0] * stored
    # As many parts for any number of threads: so sums are the same.
    n_parts = min(max(stored // (VALUES_OF_PART * others.size), 2), MOST_PARTS) if work >= THREADED_FROM else 1
    bounds = n_samples * np.arange(n_parts + 1) // n_parts
    n_threads = min(threads_for(work), n_parts)
    panels = np.empty((n_threads, min(PANEL_VALUES // width, int(np.diff(bounds).max())), width))
    reached, sums = np.empty((n_parts, chosen.size + others.size), np.int64), np.empty((n_parts, others.size, width))
    panel_products(data, rows, start, stop, chosen, others, bounds, curvature, panels, reached, sums, n_old, out)


def _add_by_rows(
    data: np.ndarray, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, curvature: np.ndarray, places: np.ndarray,
    n_old: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Add the products of the columns at these places to their lower triangle in ``out``."""
    start, stop, n_samples = start[places], stop[places], curvature.size
    sizes = stop - start
    stored = int(sizes.sum())
    if not stored:
        return
    # Additions of each new column: its values meet those before it in their rows.
    late = places >= n_old
    additions = sizes[late] * (np.cumsum(sizes)[late] / n_samples)
    work = int(additions.sum()) + TURN * stored
    if 2 * out.size <= VALUES_OF_SHARE:
        _add_few(data, rows, start, stop, curvature, places.astype(np.int32), n_old, work, out)
        return
    n_threads = min(threads_for(work), n_samples)
    n_shares = min(max(n_threads, out.size // VALUES_OF_SHARE), additions.size)
    goals = additions.sum() * np.arange(1, n_shares) / n_shares
    shares = np.array([n_old, *places[late][np.searchsorted(np.cumsum(additions), goals)], out.shape[1]], dtype=np.int64)
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
    columns, values, room = np.empty(most, np.int32), np.empty(most), np.empty(most_rows, np.int64)
    reached, names = np.tile(start, (n_threads, 1)), places.astype(np.int32)
    for k in range(0, n_parts, n_threads):
        part = bounds[k : k + n_threads + 1]
        turn_rows(data, rows, stop, indptr, part, reached, room, names, columns, values)
        first, last = part[0], part[-1]
        gram_of_rows(indptr[first : last + 1], columns, values, n_old, shares, curvature[first:last], out, n_threads)


def _add_few(
    data: np.ndarray, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, curvature: np.ndarray, names: np.ndarray,
    n_old: int, work: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Do so by parts of the rows, each with a matrix of its own; as many parts for any number of threads."""
    n_samples, stored = curvature.size, int((stop - start).sum())
    n_parts = min(VALUES_OF_SHARE // out.size, MOST_PARTS, n_samples) if work >= THREADED_FROM else 1
    n_threads = min(threads_for(work), n_parts)
    bounds = n_samples * np.arange(n_parts + 1) // n_parts
    # Half of the room in the mean.
    rows_at_once = int(np.clip(VALUES_IN_ROOM * n_samples // (2 * stored), 1, np.diff(bounds).max()))
    room = max(min(VALUES_IN_ROOM, stored), start.size)
    gram_of_few(
        data, rows, start, stop, names, n_old, bounds, rows_at_once, curvature,
        np.empty((n_threads, start.size), np.int64), np.empty((n_threads, rows_at_once + 1), np.int64),
        np.empty((n_threads, room), np.int32), np.empty((n_threads, room)),
        np.empty((n_parts, *out.shape)), out,
    )  # fmt: skip
