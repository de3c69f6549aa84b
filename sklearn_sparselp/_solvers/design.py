"""The design matrix as the solvers see it: products, moments and columns, whatever the storage."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from .._core._matvec import accumulate, accumulate_many, products, products_of_many, row_moments
from .._core._newton import block_accumulate, block_accumulate_many, block_moments, block_products
from .._core._turn import turn
from .._threads import threads_for
from .dense_gram import dense_gram
from .sparse_gram import gram_by_rows, sparse_gram

NO_INDEX = np.empty(0, dtype=np.int32)
NO_PLACES = np.empty(0, dtype=np.int64)
NO_VALUES = np.empty(0)

# With more stored values for each column than so, most columns are not empty.
FULL = 4
# Empty columns are left out where at most so many are not. Of rcv1_1500 a quarter is: three quarters of the time of a
# fit at alpha_max/10, and of the memory beside X, went into them.
MOST_FILLED = 0.5
# Of up to so many dense features the Gram matrix is made with the moments, where samples are so many times as many.
FEW_FEATURES = 300
# The same of compressed rows, of so many values in the mean at most.
SHORT_ROWS = 32
# Gram matrices, and epochs on them, pay where they have so many times fewer entries than columns have values.
GRAM_GAIN = 4
TALL = 4
# A mean of more standard deviations than so leaves rounding in a variance that comes from the mean square.
FAR_MEAN = 30.0
# Where threads share work on X, they share work on so many times fewer values of some columns.
AWAKE = 3
# Up to so many samples the rows of columns that are made of CSR take 16 bits: a sixth less to read in each pass.
SHORT_INDEX = 2**16
# Features whose places are made at once for a walk over all: little memory beside X.
COLUMNS_AT_ONCE = 65_536


@dataclass(frozen=True)
class ColumnBlock:
    """Some columns of X: column k is ``data[start[k]:stop[k]]`` in ``rows[start[k]:stop[k]]``.

    ``rows`` is empty for dense columns, which hold every sample in order.
    """

    data: np.ndarray
    rows: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    n_samples: int

    factored: ClassVar[bool] = True
    # Of columns of a Gram matrix, see `sweep`.
    places: ClassVar[np.ndarray] = NO_PLACES

    def __len__(self) -> int:
        return self.start.shape[0]

    @property
    def n_stored(self) -> int:
        """Stored values of the block."""
        return int((self.stop - self.start).sum())

    @property
    def n_threads(self) -> int:
        """How many threads share products with the block."""
        # Few values in all are not counted: that takes as long as the call. Else threads are awake: 100 000 sparse values
        # take two of them 0.07 ms, one 0.10.
        return threads_for(AWAKE * self.n_stored) if threads_for(self.data.size) > 1 else 1

    def take(self, positions: np.ndarray) -> ColumnBlock:
        """Return the columns at these positions; nothing is copied but where they are."""
        return ColumnBlock(self.data, self.rows, self.start[positions], self.stop[positions], self.n_samples)

    def products(self, vector: np.ndarray) -> np.ndarray:
        """Return ``block.T @ vector``."""
        out = np.empty(len(self))
        block_products(self.data, self.rows, self.start, self.stop, vector, out, self.n_threads)
        return out

    def combine(self, scales: np.ndarray) -> np.ndarray:
        """Return ``block @ scales``."""
        out = np.zeros(self.n_samples)
        block_accumulate(self.data, self.rows, self.start, self.stop, scales, out, self.n_threads)
        return out

    def combine_many(self, scales: np.ndarray) -> np.ndarray:
        """Return ``scales @ block.T`` for scales of shape (n_vectors, n_columns), each row as `combine` has it."""
        out, scales = np.zeros((scales.shape[0], self.n_samples)), np.ascontiguousarray(scales)
        n_threads = threads_for(AWAKE * self.n_stored * len(scales)) if threads_for(self.data.size) > 1 else 1
        block_accumulate_many(self.data, self.rows, self.start, self.stop, scales, out, n_threads)
        return out

    def bend(self, moved: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        """Return how a change of the predictions changes the raw gradient."""
        return curvature * moved

    def moments(
        self, weights: np.ndarray, centred: bool, vector: np.ndarray = NO_VALUES, out: np.ndarray = NO_VALUES,
        n_threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return ``sum_i weights_i x_ij`` and ``sum_i weights_i (x_ij - mean_j)^2``, mean 0 unless centred.

        With a vector ``block.T @ vector`` is written into out in the same reading.
        """
        sums, squares = np.empty(len(self)), np.empty(len(self))
        n_threads = self.n_threads if n_threads is None else n_threads
        block_moments(
            self.data, self.rows, self.start, self.stop, weights, centred, sums, squares, vector, out, n_threads
        )
        return sums, squares

    def gram(self, curvature: np.ndarray, n_old: int = 0, out: np.ndarray | None = None) -> np.ndarray:
        """Return ``block[:, n_old:].T @ diag(curvature) @ block``, of shape (n_columns - n_old, n_columns)."""
        if self.rows.shape[0] == 0:
            size = len(self)
            out = np.empty((size - n_old, size)) if out is None else out
            return dense_gram(self.data, self.start, size, curvature, n_old=n_old, out=out)[0]
        return sparse_gram(self.data, self.rows, self.start, self.stop, curvature, n_old, out)


class Design:
    """A validated matrix, with the products that solvers need.

    Parameters
    ----------
    X : ndarray, CSR or CSC of shape (n_samples, n_features), float32 or float64
        Dense in C or Fortran order; compressed with ascending indices, none twice. Nothing is validated
        and nothing copied; read-only memory is fine.
    by_gram : bool
        Whether the solver may walk Gram matrices in place of columns.

    Notes
    -----
    A CSR matrix gets one CSC companion the first time columns are asked for; every
    later product uses it. C-ordered data is walked by rows, and only the columns of a
    working set are gathered.
    """

    def __init__(self, X, *, by_gram: bool = True):
        self.shape = X.shape
        self.n_samples, self.n_features = X.shape
        self.dtype = X.dtype
        self._X = X
        if sparse.issparse(X):
            self.storage = X.format
            self.n_stored = int(X.indptr[-1])
            self._take_compressed(X)
        else:
            self.storage = "fortran" if X.flags.f_contiguous else "c"
            self.n_stored = X.size
            self._data = X.ravel(order="F" if self.storage == "fortran" else "C")
            self._minor = self._indptr = NO_INDEX
        # Which features of X the columns are; None where they are all of them.
        self.features: np.ndarray | None = None
        # Weights, whether centred, and the `GramCache` of all usable features with these, once it has been made.
        self.whole_gram: tuple | None = None
        self._by_gram = by_gram
        self._moments = None
        self._weights = None
        # Gram matrices of all columns by the identity of their weights, for as long as these live: folds run in threads.
        self._grams: dict[int, tuple[weakref.ref, np.ndarray]] = {}

    def _take_compressed(self, X) -> None:
        stored = int(X.indptr[-1])
        self._data, self._minor, self._indptr = X.data[:stored], X.indices[:stored], X.indptr

    @property
    def by_columns(self) -> bool:
        """Whether columns are the contiguous direction."""
        return self.storage in ("csc", "fortran")

    def prefer_columns(self) -> None:
        """Make columns the contiguous direction of a CSR matrix (one conversion, kept)."""
        if self.storage == "csr":
            self._data, self._minor, self._indptr = self._turned()
            self.storage, self._X = "csc", None

    def drop_empty_columns(self) -> None:
        """Leave out the empty columns of a compressed matrix where most are: nothing is worked out for them."""
        if self.storage not in ("csr", "csc") or self.n_stored > FULL * self.n_features:
            return
        self.prefer_columns()
        filled = np.flatnonzero(self._indptr[1:] > self._indptr[:-1])
        if 0 < filled.size <= MOST_FILLED * self.n_features:
            self._indptr = np.append(self._indptr[filled], self._indptr[-1])
            self.features, self.n_features = filled, filled.size
            self.shape = self.n_samples, self.n_features

    def _turned(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return compressed columns made of compressed rows; rows of 16 or 32 bits where they fit."""
        narrow = max(self.n_stored, self.n_samples) <= np.iinfo(np.int32).max
        index_dtype = np.int32 if narrow else np.int64
        row_dtype = np.uint16 if narrow and self.n_samples <= SHORT_INDEX else index_dtype
        n_threads = self._threads()
        shares = self.n_stored * np.arange(n_threads + 1) // n_threads
        bounds = np.searchsorted(self._indptr, shares).astype(np.int64)
        bounds[0], bounds[-1] = 0, self.n_samples
        data = np.empty(self.n_stored, dtype=self.dtype)
        minor, indptr = np.empty(self.n_stored, dtype=row_dtype), np.empty(self.n_features + 1, dtype=index_dtype)
        places = np.zeros((n_threads, self.n_features), dtype=index_dtype)
        turn(self._data, self._minor, self._indptr, bounds, places, data, minor, indptr)
        return data, minor, indptr

    def _layout(self):
        length = self.n_samples if self.by_columns else self.n_features
        return self._data, self._minor, self._indptr, length

    def _threads(self) -> int:
        return threads_for(self.n_stored)

    def rmatvec(self, vectors: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return ``vectors @ X`` for vectors of shape (n_vectors, n_samples), in one pass over X; in ``out`` if that is given."""
        vectors = np.ascontiguousarray(vectors)
        if self.by_columns:
            return self._gather(vectors, self.n_features, out)
        return self._spread(vectors, self.n_features, out)

    def matvec(self, coefs: np.ndarray) -> np.ndarray:
        """Return ``coefs @ X.T`` for coefs of shape (n_vectors, n_features); zeros are not read by columns."""
        coefs = np.ascontiguousarray(coefs)
        if self.by_columns:
            present = (coefs[0] if len(coefs) == 1 else coefs.any(axis=0)).nonzero()[0]
            if present.size > self.n_features // 2:
                return self._spread(coefs, self.n_samples)
            block, scales = self.columns(present), coefs[:, present]
            return block.combine(scales[0])[np.newaxis] if len(coefs) == 1 else block.combine_many(scales)
        return self._gather(coefs, self.n_samples)

    def _gather(self, vectors: np.ndarray, n_out: int, out: np.ndarray | None = None) -> np.ndarray:
        n_vectors, n_minor = vectors.shape
        out = np.empty((n_vectors, n_out)) if out is None else out
        if n_vectors == 1 or not self._indptr.size:
            products(*self._layout(), vectors, out, self._threads())
            return out
        fours = np.zeros((-(-n_vectors // 4), n_minor, 4))
        for k, vector in enumerate(vectors):
            fours[k // 4, :, k % 4] = vector
        products_of_many(self._data, self._minor, self._indptr, fours, out, self._threads())
        return out

    def _spread(self, vectors: np.ndarray, n_out: int, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = np.zeros((vectors.shape[0], n_out))
        else:
            out.fill(0.0)
        if len(vectors) > 1 and not self._indptr.size:
            accumulate_many(self._data, vectors, out, self._threads())
            return out
        for scales, row in zip(vectors, out, strict=True):
            accumulate(*self._layout(), scales, row, self._threads())
        return out

    def moments(self, weights: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return ``sum_i weights_i x_ij`` and ``sum_i weights_i (x_ij - mean_j)^2`` per column.

        Without ``centred`` the mean is taken as 0 and the first sums are left out: an empty
        array. The last answer is kept for the same ``weights`` object.
        """
        if self._knows(weights, centred):
            return self._moments[2]
        if self.by_columns:
            return self._column_moments(weights, centred, NO_VALUES, NO_VALUES)
        sums, squares, stored = (np.empty(self.n_features) for _ in range(3))
        row_moments(*self._layout(), weights, centred, sums, squares, stored, self._threads())
        self._moments = (weights, centred, (sums if centred else NO_VALUES, squares))
        return self._moments[2]

    def _knows(self, weights: np.ndarray, centred: bool) -> bool:
        return self._moments is not None and self._moments[0] is weights and self._moments[1] == centred

    def _column_moments(
        self, weights: np.ndarray, centred: bool, vector: np.ndarray, out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `moments`; of a vector that is not empty ``X.T @ vector`` is written into out."""
        squares = np.empty(self.n_features)
        sums = np.empty(self.n_features if centred else 0)
        for first in range(0, self.n_features, COLUMNS_AT_ONCE):
            some = slice(first, min(first + COLUMNS_AT_ONCE, self.n_features))
            block = self._neighbours(some.start, some.stop)
            means, squares[some] = block.moments(weights, centred, vector, out[some], self._threads())
            if centred:
                sums[some] = means
        self._moments = (weights, centred, (sums, squares))
        return sums, squares

    def survey(
        self, weights: np.ndarray, centred: bool, vector: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return `moments`, and ``X.T @ vector`` if the same reading of X gives it, else None.

        The Gram matrix of few columns, dense or in short compressed rows, is made in that reading, too: 200 000 x 200
        values take 0.26 s of a fit in place of 0.33.
        """
        size = self.n_features
        if self._few_in_rows:
            return self._survey_of_rows(weights, centred, vector)
        dense = self.storage in ("c", "fortran")
        if not (dense and self._by_gram and 0 < size <= FEW_FEATURES and TALL * size <= self.n_samples):
            if not self.by_columns or self._knows(weights, centred):
                return *self.moments(weights, centred), None
            out = np.empty(size)
            return *self._column_moments(weights, centred, vector, out), out
        start = np.arange(size if self.storage == "fortran" else 0, dtype=np.int64) * self.n_samples
        if self._knows(weights, centred):
            # Another output: its gradient alone, to the last bit what a fit of its own would find.
            vectors = vector[np.newaxis]
            return *self._moments[2], dense_gram(self._data, start, size, weights, n_old=size, vectors=vectors)[1][0]
        vectors = vector[np.newaxis]
        if centred:
            vectors = np.empty((2, self.n_samples))
            vectors[0], vectors[1] = weights, vector
        matrix, products = dense_gram(self._data, start, size, weights, vectors=vectors)
        return self._surveyed(weights, centred, matrix, products)

    @property
    def _few_in_rows(self) -> bool:
        """Whether the Gram matrix of all columns is made of compressed rows: they are few, and rows short."""
        size = self.n_features
        few = self.storage == "csr" and self._by_gram and 0 < size <= FEW_FEATURES
        return few and GRAM_GAIN * size * size <= self.n_stored <= SHORT_ROWS * self.n_samples

    def _survey_of_rows(
        self, weights: np.ndarray, centred: bool, vector: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        known = self._knows(weights, centred) and id(weights) in self._grams
        vectors = np.array([vector]) if known or not centred else np.array([weights, vector])
        matrix, products = gram_by_rows(self._data, self._minor, self._indptr, self.n_features, weights, vectors, known)
        return (*self._moments[2], products[0]) if known else self._surveyed(weights, centred, matrix, products)

    def _surveyed(
        self, weights: np.ndarray, centred: bool, matrix: np.ndarray, products: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `survey` does from the Gram matrix and products with it, and keep them."""
        squares = matrix.diagonal().copy()
        sums = products[0] if centred else np.empty(0)
        if centred:
            with np.errstate(over="ignore", invalid="ignore"):
                squares -= sums * sums
                far = np.flatnonzero(~(sums * sums <= FAR_MEAN**2 * squares))
            if far.size:
                sums[far], squares[far] = self.few_columns(far).moments(weights, centred)
        self._moments = (weights, centred, (sums, squares))
        grams, key = self._grams, id(weights)
        grams[key] = weakref.ref(weights, lambda _: grams.pop(key, None)), matrix
        return sums, squares, products[-1]

    def gram(
        self, features: np.ndarray, curvature: np.ndarray, n_old: int = 0, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return ``columns(features).gram(curvature, n_old, out)``, from the matrix of all columns where it is known."""
        of_weights, matrix = self._grams.get(id(curvature), (None, None))
        if of_weights is None or of_weights() is not curvature:
            return self.columns(features).gram(curvature, n_old, out)
        if n_old == 0 and features.size == self.n_features and (features == np.arange(features.size)).all():
            known = matrix.copy()
        else:
            known = matrix[np.ix_(features[n_old:], features)]
        if out is None:
            return known
        out[:] = known
        return out

    def normalised_weights(self, sample_weight: np.ndarray | None) -> np.ndarray:
        """Return weights that sum to one; the last answer is kept for the same argument object."""
        if self._weights is None or self._weights[0] is not sample_weight:
            if sample_weight is None:
                weights = np.empty(self.n_samples)
                weights.fill(1.0 / self.n_samples)
            else:
                # The largest weight first: a sum of huge weights must not overflow.
                weights = sample_weight / sample_weight.max()
                weights /= weights.sum()
            self._weights = (sample_weight, weights)
        return self._weights[1]

    def few_columns(self, features: np.ndarray) -> ColumnBlock:
        """Return some columns like `columns`, but gathered from CSR in one pass instead of converting it."""
        if self.storage != "csr":
            return self.columns(features)
        chosen = sparse.csc_array(self._X[:, features])
        start, stop = chosen.indptr[:-1].astype(np.int64), chosen.indptr[1:].astype(np.int64)
        return ColumnBlock(chosen.data, chosen.indices, start, stop, self.n_samples)

    def _neighbours(self, first: int, end: int) -> ColumnBlock:
        """Return the columns from one up to another of a matrix with contiguous columns."""
        if self.storage == "csc":
            bounds = self._indptr[first : end + 1].astype(np.int64)
        else:
            bounds = np.arange(first, end + 1) * np.int64(self.n_samples)
        return ColumnBlock(self._data, self._minor, bounds[:-1], bounds[1:], self.n_samples)

    def columns(self, features: np.ndarray) -> ColumnBlock:
        """Return some columns; gathered for C-ordered data, pointed at for the rest."""
        self.prefer_columns()
        n = self.n_samples
        if self.storage == "csc":
            start = self._indptr[features].astype(np.int64)
            stop = self._indptr[features + 1].astype(np.int64)
            return ColumnBlock(self._data, self._minor, start, stop, n)
        if self.storage == "fortran":
            start = features * np.int64(n)
            return ColumnBlock(self._data, NO_INDEX, start, start + n, n)
        data = np.ascontiguousarray(self._X[:, features].T).reshape(-1)
        start = np.arange(features.shape[0], dtype=np.int64) * n
        return ColumnBlock(data, NO_INDEX, start, start + n, n)
