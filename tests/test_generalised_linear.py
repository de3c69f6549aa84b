"""Poisson and gamma regression through the estimator, against scikit-learn's and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from engine import targets
from layouts import LAYOUTS, regression
from reference import Reference
from scipy import sparse
from sklearn.linear_model import GammaRegressor, PoissonRegressor

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import SOLVERS

PEERS = {"poisson": PoissonRegressor, "gamma": GammaRegressor}


def data(loss, seed=3):
    X, y = regression(seed, 60, 8)
    rng = np.random.default_rng(seed)
    return X, targets({"loss": loss}, y), rng.integers(0, 4, 60).astype(np.float64)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", PEERS)
def test_a_ridge_is_that_of_scikit_learn(loss, solver, fit_intercept):
    X, y, weights = data(loss)
    model = SparseLpRegressor(
        2, 0.05, loss=loss, solver=solver, fit_intercept=fit_intercept, tol=1e-12, max_iter=10_000
    ).fit(X, y, sample_weight=weights)
    peer = PEERS[loss](alpha=0.1, fit_intercept=fit_intercept, tol=1e-10, max_iter=10_000)
    peer.fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=2e-5)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=2e-5)
    np.testing.assert_allclose(model.predict(X), peer.predict(X), rtol=2e-4)
    reference = Reference(
        X, y, p=2, alpha=0.05, loss=loss, fit_intercept=fit_intercept, sample_weight=weights
    )
    theirs = reference.objective(peer.coef_, peer.intercept_)
    assert model.objective_ <= theirs * (1.0 + 1e-9)
    assert model.objective_ >= theirs * (1.0 - 1e-6)


@pytest.mark.parametrize("solver", ["cd", "pg"])
@pytest.mark.parametrize("loss", PEERS)
def test_a_lasso_is_the_optimum_of_a_general_solver(loss, solver):
    X, y, weights = data(loss)
    case = {"p": 1.0, "alpha": 0.1, "loss": loss}
    model = SparseLpRegressor(solver=solver, tol=1e-10, max_iter=10_000, **case)
    model.fit(X, y, sample_weight=weights)
    reference = Reference(X, y, sample_weight=weights, **case)
    best = reference.objective(*reference.convex_optimum())
    assert 0 < model.mask_.sum() < 8
    assert model.objective_ == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("loss", PEERS)
def test_predictions_are_means_in_every_layout(loss, layout):
    X, y, _ = data(loss)
    expected = SparseLpRegressor(0.5, 0.02, loss=loss).fit(X, y)
    means = np.exp(X @ expected.coef_ + expected.intercept_)
    np.testing.assert_allclose(expected.predict(X), means, rtol=1e-12)
    stored = LAYOUTS[layout](X)
    model = SparseLpRegressor(0.5, 0.02, loss=loss).fit(stored, y)
    np.testing.assert_allclose(model.predict(stored), means, rtol=1e-5)
    small = LAYOUTS[layout](X.astype(np.float32))
    model.fit(small, y)
    assert model.coef_.dtype == model.predict(small).dtype == np.float32
    np.testing.assert_allclose(model.predict(small), means, rtol=1e-3)


@pytest.mark.parametrize("loss", PEERS)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_unit_of_the_target_moves_the_intercept_alone(loss, scale):
    X, y, _ = data(loss)
    model = SparseLpRegressor(2, 0.0, l2_reg=0.0, loss=loss, tol=1e-10, max_iter=5000)
    coef, intercept = model.fit(X, y).coef_, model.intercept_
    model.fit(X, scale * y)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, intercept + np.log(scale), rtol=1e-5)


def test_rare_counts_on_wide_sparse_data_are_fitted():
    rng = np.random.default_rng(0)
    X = sparse.random(400, 3000, density=0.02, random_state=0, format="csr")
    y = rng.poisson(np.exp(3.0 * np.ravel(X[:, :5].sum(axis=1)) - 1.0)).astype(float)
    for p in (0.0, 0.5, 1.0):
        model = SparseLpRegressor(p, 5e-3, loss="poisson", tol=1e-6, max_iter=2000).fit(X, y)
        assert 0 < model.mask_.sum() < 400
        assert model.objective_ < SparseLpRegressor(1, 1e9, loss="poisson").fit(X, y).objective_


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("poisson", [-1.0, 1.0, 2.0], r"loss='poisson' needs y >= 0, but the smallest y is -1"),
        ("gamma", [0.0, 1.0, 2.0], r"loss='gamma' needs y > 0, but the smallest y is 0"),
        ("poisson", [0.0, 0.0, 0.0], r"needs some y > 0 of positive weight, but all are 0"),
    ],
)
def test_targets_outside_of_the_domain_are_named(loss, y, message):
    model = SparseLpRegressor(loss=loss)
    with pytest.raises(ValueError, match=message):
        model.fit(np.eye(3), y)
    assert not hasattr(model, "coef_")


def test_counts_whose_weights_are_zero_do_not_count():
    model = SparseLpRegressor(loss="poisson")
    with pytest.raises(ValueError, match="positive weight"):
        model.fit(np.eye(3), [0.0, 1.0, 0.0], sample_weight=[1.0, 0.0, 2.0])
    without = SparseLpRegressor(loss="poisson", fit_intercept=False, alpha=0.01)
    without.fit(np.eye(3), [0.0, 0.0, 0.0])
    assert (without.coef_ <= 0.0).all()
