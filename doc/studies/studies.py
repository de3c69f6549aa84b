"""What the studies share: data sets, repeated splits, models, intervals and tables."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse, stats
from sklearn import datasets
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.preprocessing import PolynomialFeatures

from sklearn_sparselp import SparseLpClassifierCV, SparseLpRegressorCV

TEST_SIZE = 0.3


@dataclass(frozen=True)
class Data:
    """A set with its task.

    Attributes
    ----------
    name : str
    X : ndarray or CSR of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    classes : bool
        Whether y holds labels.
    """

    name: str
    X: object
    y: np.ndarray
    classes: bool

    @property
    def loss(self) -> str:
        """The loss that paths need to be told."""
        return "log_loss" if self.classes else "squared_error"

    def splits(self, n_repeats: int, test_size: float = TEST_SIZE) -> list:
        """Return (train, test) pairs, the same ones for every model."""
        kind = StratifiedShuffleSplit if self.classes else ShuffleSplit
        return list(kind(n_repeats, test_size=test_size, random_state=0).split(self.X, self.y))


def standardised(train, test):
    """Scale both by the columns of the training samples; sparse data stay as they are."""
    if sparse.issparse(train):
        return train, test
    mean, std = train.mean(axis=0), train.std(axis=0)
    std = np.where(std > 1e-12, std, 1.0)
    return (train - mean) / std, (test - mean) / std


def bundled() -> list[Data]:
    """Sets of scikit-learn: measurements with their squares and products, and pictures."""
    diabetes = datasets.load_diabetes()
    cancer = datasets.load_breast_cancer()
    digits = datasets.load_digits()
    pair = np.isin(digits.target, (3, 8))
    products = PolynomialFeatures(2, include_bias=False)
    # Products of centred measurements are less alike; no target is involved.
    scaled, _ = standardised(cancer.data, cancer.data)
    return [
        Data("diabetes", products.fit_transform(diabetes.data), diabetes.target, False),
        Data("breast cancer", products.fit_transform(scaled), cancer.target, True),
        Data("digits 3 or 8", digits.data[pair], digits.target[pair], True),
    ]


def larger() -> list[Data]:
    """Gene expression and text, if the environment has a folder of them in SPARSELP_DATA."""
    folder = os.environ.get("SPARSELP_DATA")
    if not folder:
        return []
    spec = importlib.util.spec_from_file_location("load", Path(folder) / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = []
    for name, classes in (("riboflavin", False), ("leukemia", True), ("rcv1_1500", True)):
        X, y = module.load(name)
        found.append(Data(name, X.tocsr() if sparse.issparse(X) else X, np.asarray(y), classes))
    return found


def tuned(data: Data, p: float, **settings):
    """Return an estimator that chooses its strength by five-fold cross-validation."""
    kind = SparseLpClassifierCV if data.classes else SparseLpRegressorCV
    defaults = {"alphas": 20, "max_iter": 10_000}
    if p > 1:  # weak penalties count too, and gradient descent is the fastest on wide dense data
        defaults |= {"eps": 1e-4, "solver": "gd"}
    elif p < 1:  # a thousandth of the largest gradient at zero changes no score
        defaults |= {"tol": 1e-3}
    return kind(p=p, **{**defaults, **settings})


def repeated(data: Data, n_repeats: int, run: Callable) -> list:
    """Return what ``run(X_train, y_train, X_test, y_test)`` gives on each split."""
    results = []
    for train, test in data.splits(n_repeats):
        X_train, X_test = standardised(data.X[train], data.X[test])
        results.append(run(X_train, data.y[train], X_test, data.y[test]))
    return results


def scores_of_path(data: Data, path, X, y) -> np.ndarray:
    """Score every model of a path on these samples: accuracy of two classes, or R²."""
    output = X @ sparse.csr_array(path.coefs).T.toarray() + path.intercepts
    if data.classes:
        return ((output > 0) == (y == path.classes[1])[:, np.newaxis]).mean(axis=0)
    return 1.0 - ((output - y[:, np.newaxis]) ** 2).mean(axis=0) / y.var()


def interval(values, overlap: float = TEST_SIZE / (1.0 - TEST_SIZE)) -> tuple[float, float]:
    """Return the mean over repeats and half the width of its 95 % interval.

    Splits share samples: the variance of the mean is that of Nadeau and Bengio (Machine Learning
    52, 2003), where ``overlap`` is the size of the test set over that of the training set. Repeats
    that are drawn independently have ``overlap=0``.
    """
    values = np.asarray(values, dtype=float)
    n = values.size
    spread = values.std(ddof=1) * np.sqrt(1.0 / n + overlap)
    return float(values.mean()), float(stats.t.ppf(0.975, n - 1) * spread)


def shown(values, digits: int = 3, **settings) -> str:
    """Return mean and interval as text."""
    mean, half = interval(values, **settings)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def table(header: list[str], rows: list[list]) -> None:
    """Print rows in columns of equal width; rows with the same first entry are a group."""
    rows = [[str(entry) for entry in row] for row in rows]
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    grouped = len({row[0] for row in rows}) < len(rows)
    last = header[0]
    for k, row in enumerate([header, *rows]):
        first = row[0] if row[0] != last or k == 0 else ""
        if k == 1 or (grouped and first and k > 1):
            print("-" * (sum(widths) + 2 * len(widths) - 2))
        padded = (entry.ljust(w) for entry, w in zip([first, *row[1:]], widths, strict=True))
        print("  ".join(padded).rstrip())
        last = row[0]


def holds(found, stated, within) -> None:
    """Raise unless numbers are what the answer of a page states, each within its tolerance."""
    found, stated = np.asarray(found, dtype=float), np.asarray(stated, dtype=float)
    if not (np.abs(found - stated) <= within).all():
        raise AssertionError(f"the answer states {stated}, this run found {found}")
