"""Columns that are multiples of each other, in the compiled loops of a Lasso: exact, at no cost."""

import numpy as np
import pytest
from scipy import sparse
from sklearn_sparselp._core._gram_path import lasso_on_gram

from sklearn_sparselp import sparse_lp_path
from sklearn_sparselp._solvers import lasso_path

RNG = np.random.default_rng(0)
N, D = 60, 150
BASE = RNG.standard_normal((N, D))
BASE[:, 1:] += BASE[:, :-1]
Y = BASE[:, :6] @ RNG.standard_normal(6) + RNG.standard_normal(N)
ALPHAS = np.abs(BASE.T @ (Y - Y.mean())).max() / N * np.logspace(-0.2, -2.5, 30)


def solved(X, y, alpha, factor=None, positive=False, start=None, tol=1e-13):
    """Objective, coefficients, twins and epochs of one strength on the matrix of all columns."""
    n, size = X.shape
    w = np.zeros(size) if start is None else start.copy()
    coefs, figures = np.empty((1, size)), np.empty((1, 4))
    order, twins = np.zeros((2, size + 1), dtype=np.int32)
    done = lasso_on_gram(
        X.T @ X / n, np.ones(size) if factor is None else factor, -(X.T @ y) / n, y @ y / n,
        np.array([alpha]), 0.0, positive, 1000, tol, np.inf, w, coefs, figures,
        np.empty(3 * size), np.empty((size, size)), order, twins,
    )  # fmt: skip
    assert done == 1
    return figures[0, 0], coefs[0], twins, figures[0, 3]


def objective(X, y, w, alpha, factor):
    return np.mean((y - X @ w) ** 2) / 2 + alpha * factor @ np.abs(w)


@pytest.mark.parametrize("n_features", [20, D])
@pytest.mark.parametrize("scale", [1.0, -1.0, 0.37, -3.0])
def test_a_path_with_every_column_twice_is_that_without(n_features, scale, monkeypatch):
    # Twins are copied to the last bit, or not quite: 0.37 is none that rounding leaves alone.
    if n_features > 20:
        monkeypatch.setattr(lasso_path, "WHOLE", 30)
    X = BASE[:, :n_features]
    alone = sparse_lp_path(X, Y, alphas=ALPHAS, tol=1e-9)
    twice = sparse_lp_path(np.hstack([X, scale * X]), Y, alphas=ALPHAS, tol=1e-9)
    wide, narrow = sparse.csr_array(twice.coefs).toarray(), sparse.csr_array(alone.coefs).toarray()
    together = wide[:, :n_features] + scale * wide[:, n_features:]
    if abs(scale) <= 1.0:
        np.testing.assert_allclose(twice.objectives, alone.objectives, rtol=1e-8)
        np.testing.assert_allclose(together, narrow, atol=1e-5)
    else:
        # The penalty of a column that is three times as long is a third of that of its twin.
        longer = sparse_lp_path(scale * X, Y, alphas=ALPHAS, tol=1e-9)
        np.testing.assert_allclose(twice.objectives, longer.objectives, rtol=1e-8)
    assert twice.converged.all()


def test_twins_stay_at_zero_once_columns_have_depended_on_each_other():
    X = np.hstack([BASE[:, :40], BASE[:, :40], -2.0 * BASE[:, 40:50], BASE[:, 40:50]])
    X = X - X.mean(axis=0)
    alpha, size = 0.02, X.shape[1]
    start = np.zeros(size)
    start[[3, 43]] = 0.1, 0.2
    value, w, twins, _ = solved(X, Y - Y.mean(), alpha, start=start)
    assert twins[size] == size
    assert not twins[:40].any()
    assert twins[40:80].all()
    # Of -2 x and x the former costs half as much, and comes first.
    assert not twins[80:90].any()
    assert twins[90:100].all()
    assert not w[90:100].any()
    alone, *_ = solved(np.delete(X, np.s_[40:80], axis=1)[:, :50], Y - Y.mean(), alpha)
    assert value == pytest.approx(alone, rel=1e-11)
    assert objective(X, Y - Y.mean(), w, alpha, np.ones(size)) == pytest.approx(value, rel=1e-11)


def test_a_twin_at_a_lower_price_or_of_another_sign_is_none():
    X = np.hstack([BASE[:, :30], BASE[:, :30], -BASE[:, :30]])
    y, size = Y - Y.mean(), 90
    factor = np.ones(size)
    factor[30:45] = 0.5
    start = np.zeros(size)
    start[[20, 50]] = 0.1
    _, _, twins, _ = solved(X, y, 0.05, factor, start=start)
    assert not twins[:45].any()
    assert twins[45:90].all()
    value, w, twins, _ = solved(X, y, 0.05, factor, positive=True, start=np.abs(start))
    assert not twins[:45].any()
    assert twins[45:60].all()
    # What predicts the contrary is no twin of a coefficient that may not be negative.
    assert not twins[60:90].any()
    apart, *_ = solved(X[:, 15:75], y, 0.05, factor[15:75], positive=True)
    cheap, *_ = solved(X[:, 30:], y, 0.05, factor[30:], positive=True)
    assert apart > cheap
    assert value == pytest.approx(cheap, rel=1e-11)
    assert (w >= 0.0).all()


@pytest.mark.parametrize("apart", [3e-8, 2e-7])
def test_columns_that_are_nearly_twins_are_told_apart_where_that_matters(apart):
    # Within the square of their sine, but a certificate to 1e-13 sees the difference.
    X = np.hstack([BASE[:, :40], BASE[:, :40] + apart * RNG.standard_normal((N, 40))])
    y = Y - Y.mean()
    start = np.zeros(80)
    start[[3, 43]] = 0.1
    _, w, _, _ = solved(X, y, 0.02, start=start, tol=1e-12)
    gradient = X.T @ (X @ w - y) / N
    bound = 0.02 / max(np.abs(gradient).max(), 0.02)
    residual = (y - X @ w) * bound
    dual = (y @ y - (y - residual) @ (y - residual)) / (2 * N)
    assert objective(X, y, w, 0.02, np.ones(80)) - dual <= 1.1e-12


def test_a_saturated_support_of_which_every_column_has_three_twins(monkeypatch):
    alone = sparse_lp_path(BASE, Y, alphas=ALPHAS, tol=1e-7)
    paths, init = [], lasso_path.LassoPath.__init__

    def kept(self, *args, **options):
        paths.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(lasso_path.LassoPath, "__init__", kept)
    X = np.hstack([BASE] * 4)[:, RNG.permutation(4 * D)]
    four = sparse_lp_path(X, Y, alphas=ALPHAS, tol=1e-7)
    np.testing.assert_allclose(four.objectives, alone.objectives, rtol=1e-6)
    np.testing.assert_allclose(four.df, alone.df, atol=1)
    (path,) = paths
    # All columns have been looked at, and of four equal ones three are told.
    size = path._w.size
    assert path._twins[-1] == size > N
    columns = X[:, path._gram.features]
    assert path._twins[:size].sum() == size - np.unique(columns, axis=1).shape[1]
