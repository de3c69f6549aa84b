"""Gram matrices of dense columns, and the products with vectors that the same reading of X gives."""

from __future__ import annotations

import numpy as np

from .._core._dense import are_neighbours, gram_by_tiles, gram_of_parts, mirror
from .._threads import one_blas_thread, threads_for

NO_VALUES = np.empty(0)
# Rows that go through the cache at once: so many values, at least so many rows. 200 columns x 200 000 rows and two
# vectors on top: 240 ms with 256 rows, 285 with 1024, 290 in two readings.
VALUES_AT_ONCE = 32_768
FEWEST_ROWS = 256
# With fewer rows than so many for each column threads share out the matrix, not the rows.
ROWS_PER_COLUMN = 8


def dense_gram(
    data: np.ndarray, start: np.ndarray, n_columns: int, curvature: np.ndarray, *, n_old: int = 0,
    vectors: np.ndarray | None = None, out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return ``X[:, n_old:].T @ diag(curvature) @ X``, and ``vectors @ X``.

    Threads take some of the rows each, or with few rows some of the columns, so results are the same for one number of
    threads, to rounding for another.

    Parameters
    ----------
    data : ndarray of shape (n_stored,)
    start : ndarray of shape (n_columns,), dtype int64
        Where columns begin; empty where data holds rows, one after the other.
    n_columns : int
    curvature : ndarray of shape (n_samples,)
        Not below 0.
    n_old : int
        With all columns there is no matrix, only products.
    vectors : ndarray of shape (n_vectors, n_samples), optional
    out : ndarray of shape (n_columns - n_old, n_columns), optional
        Takes the matrix; its rows are contiguous.

    Returns
    -------
    gram : ndarray of shape (n_columns - n_old, n_columns)
    products : ndarray of shape (n_vectors, n_columns)
    """
    n_samples, n_new = curvature.size, n_columns - n_old
    vectors = np.empty((0, n_samples)) if vectors is None else vectors
    out = np.empty((n_new, n_columns)) if out is None else out
    scale, roots = float(curvature[0]), NO_VALUES
    if not (curvature == scale).all():
        scale, roots = 1.0, np.sqrt(curvature)
    rows_at_once = min(max(VALUES_AT_ONCE // n_columns, FEWEST_ROWS), n_samples)
    in_place = roots.size == 0 and data.dtype == np.float64 and are_neighbours(start, n_samples)
    if start.size and not len(vectors) and n_samples < ROWS_PER_COLUMN * n_columns:
        n_threads = threads_for(n_columns * n_new / 8 * n_samples)
        room = np.empty(0 if in_place else rows_at_once * n_columns)
        with one_blas_thread(n_columns * n_samples):
            gram_by_tiles(data, start, n_old, roots, scale, n_samples, rows_at_once, room, out, n_threads)
        mirror(out[:, n_old:], 0, NO_VALUES, threads_for(n_new * n_new))
        return out, np.empty((0, n_columns))
    # A part has its own matrix, of not more values than twice those of its columns.
    most_parts = n_samples // max(n_columns // 2, FEWEST_ROWS)
    n_parts = max(min(threads_for(n_columns * (n_new or n_columns) / 8 * n_samples), most_parts), 1)
    room = np.empty((n_parts, 0 if in_place else rows_at_once * n_columns))
    # Kernels write one triangle of the new columns' part; the sum of parts reads both.
    grams = out[np.newaxis] if n_parts == 1 else np.zeros((n_parts, n_new, n_columns))
    products = np.empty((n_parts, vectors.shape[0], n_columns))
    with one_blas_thread(n_columns * n_samples):
        gram_of_parts(data, start, n_old, roots, scale, vectors, rows_at_once, room, grams, products)
    if n_parts > 1:
        grams.sum(axis=0, out=out)
        products = products.sum(axis=0, keepdims=True)
    mirror(out[:, n_old:], 0, NO_VALUES, threads_for(n_new * n_new))
    return out, products[0]
