"""The data sets of the comparison and how they travel to the worker processes.

Sparse sets are CSC, dense sets Fortran-ordered, both float64: the layout in which column solvers
need no conversion.  Dense real sets whose columns are not already comparable are standardised,
as the distributors of leukemia and colon did with theirs; ``raw=True`` leaves them alone.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

STANDARDISED = ("riboflavin", "mice_bmi", "communities", "gisette_1000")
QUICK = ("sparse_text", "breast_cancer_cubic", "leukemia", "rcv1_1500", "news20")
SEED = 20240611


@dataclass
class Dataset:
    """A design and a target; y as it comes, centring is the protocol's business."""

    name: str
    X: object
    y: np.ndarray
    losses: tuple[str, ...] = ()  # what it is for, if not for everything

    @property
    def is_sparse(self) -> bool:
        return sp.issparse(self.X)

    @property
    def stored(self) -> int:
        return int(self.X.nnz if self.is_sparse else self.X.size)

    @property
    def input_bytes(self) -> int:
        """Bytes of the design as its user holds it (CSR or dense)."""
        if self.is_sparse:
            width = self.X.indices.itemsize
            return self.stored * (8 + width) + (self.X.shape[0] + 1) * self.X.indptr.itemsize
        return self.X.nbytes


def sparse_text(n_samples=20_000, n_features=50_000, per_row=75, seed=SEED) -> Dataset:
    """Sparse rows of unit norm, ``per_row`` distinct columns each, columns by a power law.

    The target is a 100-sparse combination plus noise of half its standard deviation.
    """
    generator = np.random.default_rng(seed)
    cumulated = np.cumsum(1 / (np.arange(n_features) + 10.0))
    cumulated /= cumulated[-1]

    def draw(shape):
        return np.searchsorted(cumulated, generator.random(shape), side="right")

    columns = draw((n_samples, per_row))
    while True:
        columns.sort(axis=1)
        repeated = np.zeros(columns.shape, bool)
        repeated[:, 1:] = columns[:, 1:] == columns[:, :-1]
        if not repeated.any():
            break
        columns[repeated] = draw(int(repeated.sum()))
    values = generator.lognormal(sigma=0.5, size=columns.shape)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    indptr = np.arange(n_samples + 1) * per_row
    parts = (values.ravel(), columns.ravel().astype(np.int32), indptr.astype(np.int32))
    # a random relabelling, so that heavy columns are not neighbours
    X = sp.csr_matrix(parts, shape=(n_samples, n_features))[:, generator.permutation(n_features)]
    X = X.tocsc()
    X.sort_indices()
    heavy = np.argsort(-np.diff(X.indptr))[: 10 * per_row]
    coef = np.zeros(n_features)
    support = generator.choice(heavy, size=min(100, heavy.size), replace=False)
    coef[support] = generator.standard_normal(support.size)
    signal = X @ coef
    y = signal + 0.5 * signal.std() * generator.standard_normal(n_samples)
    return Dataset("sparse_text", X, y)


def correlated_dense(n_samples=200, n_features=20_000, correlation=0.9, seed=SEED) -> Dataset:
    """Gaussian rows whose columns form an AR(1) chain; 20-sparse signal, noise at one third."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((n_samples, n_features))
    fresh = np.sqrt(1 - correlation**2)
    X = np.asfortranarray(X)
    for j in range(1, n_features):
        X[:, j] = correlation * X[:, j - 1] + fresh * X[:, j]
    coef = np.zeros(n_features)
    coef[generator.choice(n_features, 20, replace=False)] = generator.standard_normal(20)
    signal = X @ coef
    y = signal + signal.std() / 3 * generator.standard_normal(n_samples)
    return Dataset("correlated_dense", X, y)


def sparse_counts(seed=SEED) -> Dataset:
    """Counts whose logarithmic means are the standardised target of `sparse_text`."""
    text = sparse_text(n_samples=5000, n_features=20_000, seed=seed)
    means = np.exp((text.y - text.y.mean()) / text.y.std() - 1.0)
    return Dataset("sparse_counts", text.X, np.random.default_rng(seed).poisson(means) * 1.0)


def tall_dense(n_samples=200_000, n_features=200, seed=SEED) -> Dataset:
    """Many rows of equicorrelated Gaussian columns, a tenth of them signal; as much noise."""
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal((n_samples, 1))
    X = np.empty((n_samples, n_features), order="F")
    for j in range(n_features):
        X[:, j] = np.sqrt(0.7) * generator.standard_normal(n_samples) + np.sqrt(0.3) * shared[:, 0]
    coef = np.zeros(n_features)
    coef[: n_features // 10] = generator.standard_normal(n_features // 10)
    signal = X @ coef
    return Dataset("tall_dense", X, signal + signal.std() * generator.standard_normal(n_samples))


def sparse_classes(n_classes=4, seed=SEED) -> Dataset:
    """Classes of texts: the largest of as many 100-sparse combinations of words, with noise."""
    X = sparse_text(n_samples=3000, n_features=5000, seed=seed).X
    generator = np.random.default_rng(seed)
    heavy = np.argsort(-np.diff(X.indptr))[:750]
    scores = np.empty((n_classes, X.shape[0]))
    for k in range(n_classes):
        coef = np.zeros(X.shape[1])
        coef[generator.choice(heavy, 100, replace=False)] = generator.standard_normal(100)
        signal = X @ coef
        scores[k] = signal + 0.5 * signal.std() * generator.standard_normal(signal.size)
    return Dataset("sparse_classes", X, 1.0 + scores.argmax(axis=0), ("multinomial",))


def _standardised(X):
    """Columns of mean 0 and variance 1 in Fortran order; constant ones become 0."""
    X = np.asfortranarray(X, dtype=float)
    mean = X.mean(axis=0)
    X = X - mean
    scale = X.std(axis=0)
    constant = scale <= 1e-12 * np.abs(mean)  # rounding of a constant must not become a feature
    return np.asfortranarray(np.where(constant, 0.0, X / np.where(constant, 1.0, scale)))


def _bundled(name: str, degree: int) -> Dataset:
    """A set that ships with scikit-learn, with all products of its columns up to ``degree``."""
    from sklearn import datasets
    from sklearn.preprocessing import PolynomialFeatures

    loaded = getattr(datasets, f"load_{name}")()
    X, y = loaded.data, np.asarray(loaded.target, float)
    if set(np.unique(y)) == {0.0, 1.0}:
        y = 2 * y - 1
    if degree > 1:
        X = PolynomialFeatures(degree, include_bias=False).fit_transform(_standardised(X))
    suffix = {1: "", 3: "_cubic"}[degree]
    return Dataset(name + suffix, _standardised(X), y)


ALWAYS: dict[str, Callable[[], Dataset]] = {
    "sparse_text": sparse_text,
    "correlated_dense": correlated_dense,
    "diabetes": lambda: _bundled("diabetes", 1),
    "breast_cancer_cubic": lambda: _bundled("breast_cancer", 3),
    "sparse_counts": sparse_counts,
    "digits": lambda: _bundled("digits", 1),
    "tall_dense": tall_dense,
    "sparse_classes": sparse_classes,
}


class Library:
    """Every set that can be loaded here: generated, bundled, and those of a data folder.

    The folder holds a module ``load.py`` with ``names()`` and ``load(name) -> (X, y)``.
    """

    def __init__(self, folder: str | os.PathLike | None = None, raw: bool = False):
        self.raw = raw
        self._module = None
        if folder:
            path = Path(folder) / "load.py"
            if not path.is_file():
                raise FileNotFoundError(f"--data {folder}: there is no load.py in that folder")
            spec = importlib.util.spec_from_file_location("comparison_data", path)
            self._module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self._module)

    def names(self) -> list[str]:
        """The default sets, second targets of one file left out (they share its X)."""
        found = list(ALWAYS)
        if self._module is not None:
            aliases = getattr(self._module, "ALIASES", {})
            found += [name for name in self._module.names() if name not in aliases]
        return found

    def load(self, name: str) -> Dataset:
        if name in ALWAYS:
            return ALWAYS[name]()
        if self._module is None or name not in self._module.names():
            raise KeyError(f"no data set {name!r}; have: {', '.join(self.names())}")
        X, y = self._module.load(name)
        if sp.issparse(X):
            X = X.tocsc()
            X.sort_indices()
        elif name in STANDARDISED and not self.raw:
            X = _standardised(X)
        return Dataset(name, X, np.asarray(y, float))


def store(X, y, folder: Path) -> None:
    """Write a design by columns and by rows, so that workers only read what they need."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "y.npy", y)
    if not sp.issparse(X):
        np.save(folder / "columns.npy", X)
        return
    np.save(folder / "shape.npy", X.shape)
    for storage, matrix in (("columns", X), ("rows", X.tocsr())):
        for part in ("data", "indices", "indptr"):
            np.save(folder / f"{storage}_{part}.npy", getattr(matrix, part))


def open_stored(folder: Path, storage: str):
    """(X, y) in memory; ``storage`` is "columns" (CSC, Fortran) or "rows" (CSR, C)."""
    folder = Path(folder)
    y = np.load(folder / "y.npy")
    if (folder / "columns.npy").exists():
        X = np.load(folder / "columns.npy")
        return (np.asfortranarray(X) if storage == "columns" else np.ascontiguousarray(X)), y
    shape = tuple(int(size) for size in np.load(folder / "shape.npy"))
    parts = tuple(np.load(folder / f"{storage}_{k}.npy") for k in ("data", "indices", "indptr"))
    make = sp.csc_matrix if storage == "columns" else sp.csr_matrix
    X = make(parts, shape=shape, copy=False)
    X.has_sorted_indices = X.has_canonical_format = True
    return X, y
