"""Gram matrices: kept while a working set changes, and walked in place of columns that are much longer."""

from __future__ import annotations

import numpy as np

from .._core._dense import copy_corner, mirror, submatrix, times_symmetric
from .._threads import threads_for
from .design import NO_INDEX

# Beyond so many columns, or a little more than are asked for if that is more, a cache starts anew.
LARGEST_CACHE, MOST_KNOWN = 3000, 1.2
# Room for columns to come, so that not each of them moves the matrix: most of what is not needed is never touched, but
# fresh memory costs as much as to fill it several times. As many values as this part of X has are there at once.
SPARE_ROOM, MOST_SPARE = 1.5, 600
SPARE_PART = 12
# Columns that are walked get a matrix of their own where it takes 2 MB at most, or they are not so many of those known.
SMALL_BLOCK = 500
FEW_OF_KNOWN = 0.7
NO_SUMS = np.empty(0)


def among(features: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Return which of the features are among these ascending ones: a fifth of the time of numpy.isin."""
    if not ascending.size:
        return np.zeros(features.size, dtype=np.bool_)
    where = np.minimum(ascending.searchsorted(features), ascending.size - 1)
    return ascending[where] == features


def taken(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return some rows and the same columns of a matrix: ``matrix[np.ix_(places, places)]``, several times as fast."""
    out = np.empty((places.size, places.size))
    submatrix(matrix, places, out, threads_for(out.size))
    return out


class GramCache:
    """``X_S.T diag(curvature) X_S`` of every column that was ever asked for, grown on demand.

    Parameters
    ----------
    design : Design
    curvature : ndarray of shape (n_samples,)
    sums : ndarray of shape (n_features,), or None
        Means of the columns with these weights: the matrix is then centred.

    Attributes
    ----------
    centred : bool
    """

    def __init__(self, design, curvature: np.ndarray, sums: np.ndarray | None = None):
        self._design = design
        self._curvature = curvature
        self._sums = sums
        self.centred = sums is not None
        self._take(np.empty(0, dtype=np.int64))
        self._matrix = np.empty((0, 0))
        self.spent = 0.0
        # Whether columns of some support have depended on each other.
        self.dependent = False
        # Whether a system was tried by conjugate gradient steps, and how many the last one took, 0 where they did not
        # get there; whether it did not.
        self.tried, self.easy, self.hard = False, 0, False
        # The factor of the last Newton step, see `support_newton.KeptFactor`, and its room.
        self.kept = None
        self._room = np.empty(0)

    def missing(self, features: np.ndarray) -> np.ndarray:
        """Return those of the features that have no column yet."""
        return features[~among(features, self._ascending)]

    def block(self, features: np.ndarray) -> GramBlock:
        """Return these columns: of a matrix of their own if that is small, or there are many others."""
        # First of all: the matrix may grow.
        places = self.places(features, self.missing(features))
        known = self._features.size
        if places.size <= SMALL_BLOCK or places.size < FEW_OF_KNOWN * known:
            return GramBlock(taken(self._matrix, places), places.size, np.arange(places.size))
        return GramBlock(self._matrix, known, places)

    def places(self, features: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Return where in `matrix` these features are, of which ``new`` are still missing."""
        if self._features.size + new.size > max(LARGEST_CACHE, MOST_KNOWN * features.size):
            self._take(self._features[:0])
            new = features
        if new.size:
            self.grow(new)
        return self._order[self._ascending.searchsorted(features)]

    def _take(self, features: np.ndarray) -> None:
        """Note the columns that are known, and how to find them."""
        self._features, self._order = features, features.argsort()
        self._ascending = features[self._order]

    @property
    def features(self) -> np.ndarray:
        """The columns that are known, in the order in which they came."""
        return self._features

    @property
    def matrix(self) -> np.ndarray:
        """The matrix of these columns in its first rows and columns; the rest is room."""
        return self._matrix

    def restricted(self, kept: np.ndarray) -> GramCache:
        """Return the cache of some of its columns; ``kept`` of shape (n_columns,), dtype bool."""
        other = GramCache(self._design, self._curvature, self._sums)
        other._take(self._features[kept])
        other._matrix = taken(self._matrix, np.flatnonzero(kept))
        return other

    def grow(self, new: np.ndarray) -> None:
        """Add columns that are not known yet."""
        old = self._features.size
        size = old + new.size
        if size > self._matrix.shape[0]:
            matrix = np.empty((self._capacity(size),) * 2)
            copy_corner(self._matrix, old, matrix, threads_for(old * old))
            self._matrix = matrix
        self._take(np.concatenate([self._features, new]) if old else new)
        self._design.gram(self._features, self._curvature, old, self._matrix[old:size, :size])
        if old or self._sums is not None:
            sums = NO_SUMS if self._sums is None else self._sums[self._features]
            mirror(self._matrix[:size, :size], old, sums, threads_for(new.size * size))

    def _capacity(self, size: int) -> int:
        """Return for how many columns there is room where so many are needed."""
        design = self._design
        at_least = int((design.n_stored / SPARE_PART) ** 0.5)
        return min(max(min(int(SPARE_ROOM * size), size + MOST_SPARE), at_least), max(design.n_features, size))

    def room_of_factor(self, size: int) -> np.ndarray:
        """Return room for a factor of so many rows, of shape (size, size) and Fortran order: that of the last factor."""
        self.kept = None
        if self._room.size < size * size:
            # It is let go before there is another.
            self._room = np.empty(0)
            self._room = np.empty(size * size)
        return self._room[: size * size].reshape((size, size), order="F")


class GramBlock:
    """Columns of which only the Gram matrix is known, with the verbs of a `ColumnBlock`.

    What is a vector over the samples there is one over the columns here: the raw
    gradient is the gradient, and the change of the predictions is that of the
    coefficients. Everything then costs as much as the matrix has entries, however
    many samples there are.

    Parameters
    ----------
    matrix : ndarray of shape (capacity, capacity)
        ``X.T diag(curvature) X`` in its first rows and columns, centred where there is an intercept.
    n_columns : int
        How many these are.
    places : ndarray of shape (n_taken,), dtype int64
        Some of the columns.
    """

    rows = NO_INDEX

    def __init__(self, matrix: np.ndarray, n_columns: int, places: np.ndarray):
        self.matrix, self.n_columns, self.places = matrix, n_columns, places
        self.data = matrix.reshape(-1)
        self.start = places * matrix.shape[0]
        self.stop = self.start + n_columns

    def __len__(self) -> int:
        return self.places.size

    @property
    def n_stored(self) -> int:
        """Entries of the matrix in these columns."""
        return self.places.size * self.n_columns

    def take(self, positions: np.ndarray) -> GramBlock:
        """Return the columns at these positions."""
        return GramBlock(self.matrix, self.n_columns, self.places[positions])

    def products(self, gradient: np.ndarray) -> np.ndarray:
        """Return what is ``block.T @ raw_gradient`` for columns."""
        return gradient[self.places]

    def combine(self, scales: np.ndarray) -> np.ndarray:
        """Return what is ``block @ scales`` for columns."""
        out = np.zeros(self.n_columns)
        out[self.places] = scales
        return out

    def bend(self, moved: np.ndarray, curvature: object = None) -> np.ndarray:
        """Return what ``combine`` gave as a change of the gradient; ``curvature`` is in the matrix already."""
        out = np.empty(self.n_columns)
        times_symmetric(self.matrix, moved, out, threads_for(self.n_columns**2))
        return out
