"""The only place that coerces dtype, index type and storage.

With `_parameters` it is also the only place that imports private scikit-learn API. What leaves
it is what the kernels walk: they check nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context as fit_context
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils._metadata_requests import _raise_for_params as check_no_fit_params
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

# scikit-learn loads its callbacks in the first fit of a process, 4 ms.
from ._callbacks import with_callbacks  # noqa: F401
from ._core._rows import all_finite, inspect
from ._threads import threads_for

__all__ = [
    "Interval",
    "Matrix",
    "StrOptions",
    "TargetDomain",
    "canonical",
    "check_finite",
    "check_fit_data",
    "check_fit_labels",
    "check_matplotlib_support",
    "check_no_fit_params",
    "check_not_all_zero",
    "check_penalty_factor",
    "check_predict_data",
    "check_rows",
    "check_sample_weight",
    "check_solver",
    "check_target",
    "fit_context",
    "routing_enabled",
    "unchanged_on_error",
]

# What `inspect` returns: nothing wrong, or something of which this is part.
SOUND, BROKEN = 0, 4
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
INDICES = (np.dtype(np.int32), np.dtype(np.int64))
COMPRESSED = (sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.csc_matrix)

# Labels that are floats have to be whole, and below this to be told apart as integers.
LARGEST_WHOLE = 2.0**53

# Up to so many values cost less to look at than a context in which their sum may overflow.
FEW_VALUES = 10_000

Matrix = np.ndarray | sparse.sparray | sparse.spmatrix


@dataclass(frozen=True)
class TargetDomain:
    """The targets that a loss is defined for: all above a bound.

    Attributes
    ----------
    lowest : float
        The bound.
    closed : bool
        Whether the bound belongs to the domain.
    """

    lowest: float = -math.inf
    closed: bool = True

    def __contains__(self, value: float) -> bool:
        return value >= self.lowest if self.closed else value > self.lowest

    def __str__(self) -> str:
        return f"y {'>=' if self.closed else '>'} {self.lowest:g}"


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give an estimator its attributes back when the block raises: a failed fit changes nothing."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        # What scikit-learn takes down its callbacks by, a progress bar for one.
        names = "_callback_fit_ctx", "_skl_callbacks_to_teardown"
        before.update((name, vars(estimator)[name]) for name in names if name in vars(estimator))
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_fit_data(
    estimator: Any, X: Any, y: Any, *, multi_output: bool
) -> tuple[Matrix, np.ndarray]:
    """Return X as the kernels walk it and y as float64.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and, from a frame, ``feature_names_in_``.
    X : array-like or sparse of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    multi_output : bool
        Whether y may have several columns.

    Returns
    -------
    X : ndarray (C or Fortran order), CSR or CSC
        float32 stays, anything else becomes float64. See `canonical` for what is copied.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), dtype float64

    Raises
    ------
    ValueError
        NaN, infinity, no samples, no features, lengths that differ, y of wrong shape or kind.
        Dense X is not looked through: see `check_finite`.
    TypeError
        y is sparse.
    """
    X, y = _validated(estimator, X, y, finite_later=True, multi_output=multi_output, y_numeric=True)
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y has dtype {y.dtype}, but must hold real numbers.")
    return X, np.ascontiguousarray(y, dtype=np.float64)


def check_fit_labels(
    estimator: Any, X: Any, y: Any, *, rows: bool = False
) -> tuple[Matrix, np.ndarray, np.ndarray]:
    """Return X as the kernels walk it, the classes and the class of each sample.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and, from a frame, ``feature_names_in_``.
    X : array-like or sparse of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Labels: integers, booleans or strings, or floats that are whole.
    rows : bool, default=False
        Whether sparse X becomes CSR, see `check_rows`.

    Returns
    -------
    X : ndarray (C or Fortran order), CSR or CSC
        As `check_fit_data` returns it.
    classes : ndarray of shape (n_classes,)
        The distinct labels, sorted.
    codes : ndarray of shape (n_samples,), dtype int64
        ``y[i] == classes[codes[i]]``.

    Raises
    ------
    ValueError
        As `check_fit_data`; y that is no set of labels, or of one class only.
    TypeError
        y is sparse.
    """
    X, y = check_rows(estimator, X, y) if rows else _validated(estimator, X, y, finite_later=True)
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(_is_whole(y).all()))
    if not whole:
        check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if whole and 2 * classes.size > y.size:
        # All that it has to say of whole numbers: that so many classes look like regression.
        check_classification_targets(y)
    if classes.size < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs samples of at least 2 classes, but every label "
            f"of y is {classes.tolist()[0]!r}: one class only."
        )
    return X, classes, codes


def check_finite(estimator: Any, X: Matrix) -> None:
    """Raise the ValueError of `check_fit_data` for X that is not finite.

    For dense X, which `check_fit_data` and `check_fit_labels` take as it is: the squares of
    its columns, which every `Problem` needs, are then not finite, and that error gives way to
    this one. Of a fit of 200 000 x 200 values a pass over X takes a twelfth.
    """
    assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")


def _is_whole(y: np.ndarray) -> np.ndarray:
    """Return which floats are whole numbers that a 64-bit integer holds too."""
    return (y == np.floor(y)) & (np.abs(y) < LARGEST_WHOLE)


def check_rows(
    estimator: Any, X: Any, y: Any, *, reset: bool = True, numeric: bool = False
) -> tuple[sparse.csr_array | np.ndarray, np.ndarray]:
    """Return X as canonical CSR, or dense in C order, and y of one dimension.

    With ``reset`` the estimator gets the features of X, without it X must have those of the
    estimator. With ``numeric`` y becomes float64. Errors are those of `check_fit_data`.
    """
    X, y = _validated(estimator, X, y, reset=reset, y_numeric=numeric)
    if not sparse.issparse(X):
        X = np.ascontiguousarray(X)
    elif X.format != "csr":
        X = sparse.csr_array(X)
    if numeric:
        if y.dtype.kind not in "fiub":
            raise ValueError(f"y has dtype {y.dtype}, but must hold real numbers.")
        y = np.ascontiguousarray(y, dtype=np.float64)
    return canonical(X), y


def _validated(
    estimator: Any, X: Any, y: Any, *, finite_later: bool = False, **options: Any
) -> tuple[Matrix, np.ndarray]:
    if sparse.issparse(y):
        raise TypeError(
            f"y is a {type(y).__name__}, but must be dense: pass y.toarray(), "
            "and y.toarray().ravel() if it has one column."
        )
    plain = options.get("reset", True) and _is_plain(X, finite_later)
    if plain and _is_plain_target(y, X.shape[0]):
        # Half of the time of a fit of 100 x 10 values would go into scikit-learn's validation.
        estimator.n_features_in_ = X.shape[1]
        vars(estimator).pop("feature_names_in_", None)
    else:
        X, y = validate_data(
            estimator,
            X,
            y,
            dtype=[np.float64, np.float32],
            accept_sparse=["csc", "csr"],
            accept_large_sparse=True,
            copy=False,
            **options,
        )
        X = canonical(X)
    return X, y


def _is_plain(X: Any, finite_later: bool) -> bool:
    """Whether X is dense or compressed, what `canonical` returns as it is, and finite.

    With ``finite_later`` dense values are not looked at: the first pass of a fit does that.
    """
    if type(X) in COMPRESSED and X.ndim == 2:
        n_major, n_minor = X.shape if X.format == "csr" else X.shape[::-1]
        return (
            n_major * n_minor > 0
            and _has_plain_arrays(X)
            and X.indptr.shape == (n_major + 1,)
            and inspect(X.data, X.indices, X.indptr, n_minor, True, threads_for(X.data.size))
            == SOUND
        )
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size > 0
        and X.dtype in FLOATS
        and X.flags.aligned
        and (X.flags.c_contiguous or X.flags.f_contiguous)
        and (finite_later or _is_finite(X))
    )


def _is_plain_target(y: Any, n_samples: int) -> bool:
    return (
        type(y) is np.ndarray
        and y.shape == (n_samples,)
        and (y.dtype.kind in "iub" or (y.dtype in FLOATS and _is_finite(y)))
    )


def _is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite; False also for some whose sum overflows."""
    if values.size <= FEW_VALUES:
        return bool(np.isfinite(values).all())
    if (n_threads := threads_for(values.size)) > 1 and values.dtype in FLOATS:
        return all_finite(values.ravel(order="K"), n_threads)
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(values.sum())


def check_predict_data(estimator: Any, X: Any) -> Matrix:
    """Return X for prediction, checked against the number and names of the features of the fit.

    Notes
    -----
    CSR that needs no conversion is looked through in one pass: for a single row that takes a
    hundredth of the time of scikit-learn's validation, which has the last word on the rest.
    """
    if _is_ready(estimator, X):
        return X
    X = validate_data(
        estimator,
        X,
        reset=False,
        dtype=[np.float64, np.float32],
        accept_sparse=["csr", "csc"],
        accept_large_sparse=True,
    )
    if not sparse.issparse(X):
        return X
    X = _walkable(X)
    if inspect(X.data, X.indices, X.indptr, X.shape[1 if X.format == "csr" else 0]) & BROKEN:
        _check_pointers(X)
        _check_indices(X, X.indices[: X.indptr[-1]])
    return X


def _is_ready(estimator: Any, X: Any) -> bool:
    """Whether X is CSR as the kernels walk it, with the features of the fit and finite values."""
    if (
        type(X) not in COMPRESSED
        or X.format != "csr"
        or X.ndim != 2
        or X.shape[0] == 0
        or X.shape[1] != estimator.n_features_in_
        or hasattr(estimator, "feature_names_in_")
    ):
        return False
    return _has_plain_arrays(X) and inspect(X.data, X.indices, X.indptr, X.shape[1]) == SOUND


def _has_plain_arrays(X: sparse.sparray | sparse.spmatrix) -> bool:
    """Whether a kernel takes the arrays of a compressed matrix as they are."""
    data, indices, indptr = X.data, X.indices, X.indptr
    return (
        data.dtype in FLOATS
        and indices.dtype in INDICES
        and indices.dtype == indptr.dtype
        and all(a.flags.c_contiguous and a.flags.aligned for a in (data, indices, indptr))
    )


def canonical(X: Matrix) -> Matrix:
    """Return X in a layout of the kernels; the caller's arrays are never changed.

    Parameters
    ----------
    X : ndarray, CSR or CSC of shape (n_samples, n_features)

    Returns
    -------
    ndarray, CSR or CSC
        The same object where it is in C or Fortran order, or compressed with sorted indices,
        no repeated entries and int32 or int64 for both index arrays. Otherwise a copy that
        is; indices are never narrowed.

    Raises
    ------
    ValueError
        Compressed storage that points outside of its arrays or of X.
    """
    if not sparse.issparse(X):
        ready = X.flags.aligned and (X.flags.c_contiguous or X.flags.f_contiguous)
        return X if ready else np.array(X, order="F")
    _check_pointers(X)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    # Sorted: the first and the last of each row of CSR, or column of CSC.
    filled = X.indptr[1:] > X.indptr[:-1]
    _check_indices(X, X.indices[X.indptr[:-1][filled]], X.indices[X.indptr[1:][filled] - 1])
    return _walkable(X)


def _walkable(X: sparse.sparray | sparse.spmatrix) -> sparse.sparray | sparse.spmatrix:
    """Return X with arrays that a kernel takes: contiguous, and both index arrays of one type."""
    index_dtype = X.indices.dtype
    if X.indptr.dtype != index_dtype or index_dtype not in (np.int32, np.int64):
        index_dtype = np.dtype(np.int64)
    arrays = {
        "data": np.require(X.data, requirements="CA"),
        "indices": np.require(X.indices, dtype=index_dtype, requirements="CA"),
        "indptr": np.require(X.indptr, dtype=index_dtype, requirements="CA"),
    }
    if all(arrays[name] is getattr(X, name) for name in arrays):
        return X
    # Set afterwards: the constructor would narrow int64 indices that fit into int32.
    ready = type(X)(X.shape, dtype=X.dtype)
    for name, array in arrays.items():
        setattr(ready, name, array)
    return ready


def _check_pointers(X: sparse.sparray | sparse.spmatrix) -> None:
    """Raise where indptr leaves the stored arrays; costs O(n_rows) of CSR, O(n_columns) of CSC."""
    indptr, stored = X.indptr, min(X.indices.shape[0], X.data.shape[0])
    n_major = X.shape[0 if X.format == "csr" else 1]
    if (
        indptr.shape != (n_major + 1,)
        or indptr[0] != 0
        or indptr[-1] > stored
        or (indptr[1:] < indptr[:-1]).any()
    ):
        raise ValueError(
            f"X is a broken {X.format.upper()} matrix: indptr must have {n_major + 1} entries that "
            f"rise from 0 to at most {stored}, the number of stored values."
        )


def _check_indices(X: sparse.sparray | sparse.spmatrix, *indices: np.ndarray) -> None:
    """Raise where some of these indices of X leave it."""
    n_minor = X.shape[1 if X.format == "csr" else 0]
    low = min(part.min(initial=0) for part in indices)
    high = max(part.max(initial=0) for part in indices)
    if low < 0 or high >= n_minor:
        raise ValueError(
            f"X is a broken {X.format.upper()} matrix: its indices run from {low} to {high}, "
            f"but must lie between 0 and {n_minor - 1}."
        )


def check_target(y: np.ndarray, loss: str, domain: TargetDomain) -> None:
    """Raise a ValueError where y leaves the domain of a loss.

    Parameters
    ----------
    y : ndarray of any shape, dtype float64
    loss : str
        Name of the loss, for the message.
    domain : TargetDomain
    """
    if domain.lowest > -math.inf and (smallest := y.min()) not in domain:
        raise ValueError(f"loss={loss!r} needs {domain}, but the smallest y is {smallest:g}.")


def check_not_all_zero(y: np.ndarray, weights: np.ndarray | None, loss: str) -> None:
    """Raise a ValueError where no mean of a log-linear model with an intercept is above 0.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), dtype float64
    weights : ndarray of shape (n_samples,), or None
    loss : str
        Name of the loss, for the message.
    """
    if not (y if weights is None else y * weights).any():
        raise ValueError(
            f"loss={loss!r} with fit_intercept=True needs some y > 0 of positive weight, but "
            "all are 0: the intercept would be minus infinity."
        )


def check_solver(solver: str, p: float, solvers: Mapping[str, Any]) -> None:
    """Raise a ValueError where a solver cannot minimise a penalty of order p.

    Parameters
    ----------
    solver : str
        "auto" or a key of ``solvers``.
    p : float
    solvers : mapping from str to Solver
        The registry; ``smooth_only`` marks a solver for p > 1.
    """
    if solver == "auto" or p > 1.0 or not solvers[solver].smooth_only:
        return
    others = [repr(name) for name, row in solvers.items() if not row.smooth_only]
    raise ValueError(
        f"solver={solver!r} needs p > 1, where the penalty is smooth, but p={p:g}. "
        f"Use solver='auto' or {' or '.join(others)}."
    )


def check_sample_weight(
    sample_weight: Any, X: Matrix, *, some_positive: bool = True
) -> np.ndarray | None:
    """Return sample weights as float64, None for equal ones.

    Parameters
    ----------
    sample_weight : float, array-like of shape (n_samples,), or None
    X : ndarray or sparse of shape (n_samples, n_features)
    some_positive : bool, default=True
        Whether weights that are all 0 are an error; in a piece of a stream they may be.

    Returns
    -------
    ndarray of shape (n_samples,), dtype float64, or None

    Raises
    ------
    ValueError
        Wrong length, negative, NaN, infinite, or all zero.
    """
    if sample_weight is None:
        return None
    n_samples = X.shape[0]
    if np.isscalar(sample_weight):
        sample_weight = np.full(n_samples, sample_weight, dtype=np.float64)
    weights = check_array(
        sample_weight,
        ensure_2d=False,
        dtype=np.float64,
        order="C",
        copy=False,
        accept_sparse=False,
        input_name="sample_weight",
    )
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array.")
    if weights.shape[0] != n_samples:
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}: "
            "one weight for each sample of X."
        )
    if (weights < 0.0).any():
        raise ValueError(
            "Negative values in data passed to `sample_weight`: "
            f"the smallest is {weights.min():g}, and every weight must be >= 0."
        )
    if some_positive and not weights.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number: "
            f"all {n_samples} of sample_weight are 0."
        )
    return np.require(weights, requirements="CA")


def check_penalty_factor(penalty_factor: Any, n_features: int) -> np.ndarray | None:
    """Return penalty factors as float64, None for all ones.

    Parameters
    ----------
    penalty_factor : array-like of shape (n_features,), or None
    n_features : int

    Returns
    -------
    ndarray of shape (n_features,), dtype float64, or None

    Raises
    ------
    ValueError
        Wrong length, negative or NaN; 0 and infinity are allowed.
    """
    if penalty_factor is None:
        return None
    factors = np.asarray(penalty_factor)
    if factors.dtype.kind not in "fiub":
        try:
            factors = np.array(penalty_factor, dtype=object).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"penalty_factor must hold numbers >= 0, one for each feature; {error}."
            ) from error
    factors = np.require(factors, dtype=np.float64, requirements="CA")
    if factors.shape != (n_features,):
        raise ValueError(
            f"penalty_factor has shape {factors.shape}, but X has {n_features} features: "
            f"it must have shape {(n_features,)}."
        )
    wrong = np.flatnonzero(~(factors >= 0.0))
    if wrong.size:
        raise ValueError(
            f"penalty_factor[{wrong[0]}] is {factors[wrong[0]]:g}, but every factor must be >= 0 "
            "(0 leaves a feature unpenalised, infinity drops it)."
        )
    return factors
