"""The data of the demo: scikit-learn's bundled sets, expanded, or a file of the user."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_svmlight_file
from sklearn.preprocessing import PolynomialFeatures, StandardScaler


class DataError(ValueError):
    """A file that cannot be used; the message is one line."""


@dataclass
class Dataset:
    """A regression problem; a target of two values is coded -1 and +1."""

    name: str
    X: np.ndarray | sparse.csr_matrix
    y: np.ndarray
    two_valued: bool
    note: str

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or "data"


def bundled() -> list[Dataset]:
    """Breast cancer in all terms of degree 3 (569 x 5455), diabetes of degree 5 (442 x 3002)."""
    sets = []
    for name, loader, degree in (
        ("breast cancer", load_breast_cancer, 3),
        ("diabetes", load_diabetes, 5),
    ):
        X, y = loader(return_X_y=True)
        X = PolynomialFeatures(degree, include_bias=False).fit_transform(
            StandardScaler().fit_transform(X)
        )
        sets.append(prepare(name, X, y, f"all terms of degree {degree}, "))
    return sets


def prepare(name: str, X, y: np.ndarray, origin: str = "") -> Dataset:
    """Standardise dense columns, keep sparse ones, code a target of two values as -1 and +1."""
    if X.shape[0] != y.shape[0]:
        raise DataError(f"{name}: {X.shape[0]} rows in X, but {y.shape[0]} in y")
    if X.shape[0] < 20 or X.shape[1] == 0:
        raise DataError(
            f"{name}: {X.shape[0]} rows x {X.shape[1]} features; "
            "the demo needs 20 rows and a feature"
        )
    finite = np.isfinite(X.data if sparse.issparse(X) else X).all() and np.isfinite(y).all()
    if not finite:
        raise DataError(f"{name}: holds NaN or infinity")
    values = np.unique(y)
    if values.size == 1:
        raise DataError(f"{name}: the target is constant ({values[0]:g})")
    two_valued = values.size == 2
    if two_valued:
        y = np.where(y == values[1], 1.0, -1.0)
    if sparse.issparse(X):
        X, note = sparse.csr_matrix(X), f"{X.nnz} stored values, columns as they are"
    else:
        X, note = StandardScaler().fit_transform(X), "columns standardised"
    return Dataset(name, X, np.asarray(y, dtype=np.float64), two_valued, origin + note)


def load(path: Path, target: str | None = None) -> Dataset:
    """Read svmlight (.svm, .svmlight, .libsvm, also .gz and .bz2), npz or csv.

    An npz holds either arrays ``X`` and ``y``, or what ``scipy.sparse.save_npz`` writes
    (``data``, ``indices``, ``indptr``, ``shape``, ``format``) and ``y``. A csv has a first line
    of names; the target is the column ``target``, by default the last.

    Raises
    ------
    DataError
        With one line that says what is wrong.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    name = path.name.lower()
    try:
        if name.endswith(".npz"):
            X, y = _read_npz(path)
        elif name.endswith(".csv"):
            X, y = _read_csv(path, target)
        elif re.search(r"\.(svm|svmlight|libsvm)(\.gz|\.bz2)?$", name):
            X, y = load_svmlight_file(str(path))
        else:
            raise DataError(
                f"{path}: unknown kind of file; use .svm, .svmlight, .libsvm, .npz or .csv"
            )
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    return prepare(path.name, X, np.asarray(y, dtype=np.float64))


def _read_npz(path: Path):
    with np.load(path, allow_pickle=False) as arrays:
        if "y" not in arrays:
            raise DataError(f"{path}: has no array y, only {', '.join(sorted(arrays))}")
        y = arrays["y"].ravel()
        if "X" in arrays:
            return np.asarray(arrays["X"], dtype=np.float64), y
        missing = {"data", "indices", "indptr", "shape"} - set(arrays)
        if missing:
            raise DataError(
                f"{path}: has neither X nor a sparse matrix ({', '.join(sorted(missing))} missing)"
            )
        parts = tuple(arrays[key] for key in ("data", "indices", "indptr"))
        kind = str(arrays["format"].astype(str)) if "format" in arrays else "csr"
        maker = sparse.csc_matrix if kind.startswith("csc") else sparse.csr_matrix
        matrix = maker(parts, shape=tuple(arrays["shape"]))
        matrix.check_format()
        return matrix.tocsr(), y


def _read_csv(path: Path, target: str | None):
    with path.open(encoding="utf-8") as lines:
        names = [name.strip().strip('"') for name in lines.readline().rstrip("\n").split(",")]
    if target is not None and target not in names:
        raise DataError(
            f"{path}: has no column {target!r}, only {', '.join(names[:8])}"
            f"{' ...' if names[8:] else ''}"
        )
    column = names.index(target) if target is not None else len(names) - 1
    values = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, encoding="utf-8")
    if values.shape[1] != len(names):
        raise DataError(
            f"{path}: {len(names)} names in the first line, but {values.shape[1]} columns"
        )
    return np.delete(values, column, axis=1), values[:, column]
