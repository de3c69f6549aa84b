"""Columns and targets far from the origin: beside an intercept it matters not where."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpRegressor,
    SparseLpRegressorCV,
    alpha_max,
    sparse_lp_path,
)
from sklearn_sparselp._origin import moved_to_origin, targets_at_origin

LAYOUTS = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
    "csr_matrix": sparse.csr_matrix,
}
FAR = {2: 1e7, 5: -3e8, 11: 1.7e9}


def data(n_samples=60, n_features=20, seed=0):
    """X near the origin, y, and X with three columns far from it, whose values are exact."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.standard_normal((n_samples, n_features)) * 2**20) / 2**20
    moved = X.copy()
    for j, mean in FAR.items():
        moved[:, j] += mean
    moved[:, 14] = 1.0
    X[:, 14] = 0.0
    return X, X[:, 2] - X[:, 5] + 0.5 * rng.standard_normal(n_samples), moved


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_coefficients_are_those_of_columns_near_the_origin(p, layout):
    X, y, moved = data()
    stored = LAYOUTS[layout](moved)
    before = stored.copy()
    near = SparseLpRegressor(p=p, alpha=0.05, tol=1e-9).fit(X, y)
    far = SparseLpRegressor(p=p, alpha=0.05, tol=1e-9).fit(stored, y)
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-6, atol=1e-8)
    assert far.objective_ == pytest.approx(near.objective_, rel=1e-9)
    # An intercept of 1e9 has its own rounding.
    np.testing.assert_allclose(far.predict(stored), near.predict(X), atol=1e-5)
    assert abs(stored - before).max() == 0.0


@pytest.mark.parametrize(("n_samples", "mean"), [(3, 1e9), (3, 1e6), (50, 3e7), (50, 1e8)])
@pytest.mark.parametrize("n_features", [1, 20, 400])
def test_no_fit_ends_above_zero(n_samples, mean, n_features):
    # Steps of columns that lose their digits in a product diverge.
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n_samples, n_features)) + mean
        y = X[:, 0] - mean + 0.1 * rng.standard_normal(n_samples)
        model = SparseLpRegressor(alpha=0.01).fit(X, y)
        centred, rest = X - X.mean(axis=0), y - y.mean()
        residual = rest - centred @ model.coef_
        objective = residual @ residual / (2 * n_samples) + 0.01 * np.abs(model.coef_).sum()
        assert objective <= rest @ rest / (2 * n_samples)
        assert model.objective_ == pytest.approx(objective, rel=1e-6)


def test_large_and_far_targets_are_fitted_alike():
    X, y, moved = data()
    near = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(X, np.column_stack([y, -y]))
    far = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(moved, np.column_stack([y + 2.0**30, -y]))
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-5, atol=1e-7)
    expected = near.predict(X) + np.array([2.0**30, 0.0])
    np.testing.assert_allclose(far.predict(moved), expected, rtol=1e-12, atol=1e-5)
    targets, means = targets_at_origin(np.array([y, y + 2.0**30]))
    np.testing.assert_allclose(targets[0], y)
    assert means[0] == 0.0
    assert abs(targets[1].mean()) < 1e-6


@pytest.mark.parametrize("layout", ["c", "csr", "csc"])
@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize("n_features", [20, 400])
def test_paths_and_cross_validation(p, layout, n_features):
    X, y, moved = data(n_features=n_features)
    stored = LAYOUTS[layout](moved)
    alphas = alpha_max(X, y, p=p) * np.geomspace(0.9, 0.05, 8)
    near, far = (sparse_lp_path(Z, y, p=p, alphas=alphas, tol=1e-9) for Z in (X, stored))

    def predictions(path, Z):
        coefs = path.coefs.toarray() if sparse.issparse(path.coefs) else path.coefs
        return (Z @ coefs.T + path.intercepts).T, coefs

    np.testing.assert_allclose(predictions(far, stored)[0], predictions(near, X)[0], atol=1e-5)
    np.testing.assert_allclose(predictions(far, stored)[1], predictions(near, X)[1], atol=1e-7)
    # Sparse and dense columns may take another way to where they are done.
    near, far = (SparseLpRegressorCV(p=p, alphas=6, cv=3, tol=1e-9).fit(Z, y) for Z in (X, stored))
    np.testing.assert_allclose(far.cv_scores_, near.cv_scores_, rtol=1e-5)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-6)


OPTIONS = [{}, {"scoring": "r2"}, {"criterion": "bic"}, {"refit": "relaxed"}]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_choice_by_far_targets_is_that_by_near_ones(options):
    X, y, moved = data()
    near = SparseLpRegressorCV(p=[1.0, 0.5], alphas=8, cv=3, **options).fit(X, y)
    far = SparseLpRegressorCV(p=[1.0, 0.5], alphas=8, cv=3, **options).fit(moved, y + 2.0**30)
    assert far.best_index_ == near.best_index_
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(far.predict(moved), near.predict(X) + 2.0**30, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [0.1, 0.3, -7.7, 1e6 + 0.1, 1.0])
@pytest.mark.parametrize("jitter", [False, True])
def test_columns_that_are_constant_up_to_rounding_stay_so(layout, value, jitter):
    X, y, _ = data()
    X[:, 14] = value
    if jitter:
        X[::3, 14] = np.nextafter(value, np.inf)
    stored = LAYOUTS[layout](X)
    assert moved_to_origin(stored) == (stored, None)
    assert targets_at_origin(X.T[[14]])[1] is None
    for options in ({"p": 1.0, "alpha": 0.0}, {"p": 0.0, "alpha": 1e-4}, {"p": 2.0, "alpha": 0.1}):
        assert SparseLpRegressor(**options).fit(stored, y).coef_[14] == 0.0
    classifier = SparseLpClassifier(p=0.0, alpha=1e-2, l2_reg=1e-3).fit(stored, y > 0.0)
    assert classifier.coef_[0, 14] == 0.0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("row", [0, 1, 30, 59])
def test_rows_without_weight_have_no_say(layout, row):
    X, y, moved = data()
    weights = np.ones(60)
    weights[row] = 0.0
    moved[row] = 1.0
    kept = weights > 0.0
    target = np.where(kept, y + 2.0**30, -1.0)
    far = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(LAYOUTS[layout](moved), target, weights)
    near = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(X[kept], y[kept])
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_classifiers(loss, n_classes):
    X, y, moved = data()
    labels = np.digitize(y, [0.0] if n_classes == 2 else [-0.7, 0.7])
    near = SparseLpClassifier(loss=loss, alpha=0.01, tol=1e-8).fit(X, labels)
    far = SparseLpClassifier(loss=loss, alpha=0.01, tol=1e-8).fit(moved, labels)
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-4, atol=1e-6)
    found, expected = far.decision_function(moved), near.decision_function(X)
    if loss == "log_loss" and n_classes == 3:
        # A common constant is left open, and settled by intercepts that sum to 0.
        assert abs(far.intercept_.sum()) <= 1e-12 * np.abs(far.intercept_).sum()
        found = found - found.mean(axis=1, keepdims=True)
        expected = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_warm_start_begins_where_the_last_fit_ended():
    _, y, moved = data(n_features=400)
    model = SparseLpRegressor(alpha=0.02, warm_start=True, tol=1e-6).fit(moved, y + 1e8)
    coef, intercept = model.coef_, model.intercept_
    model.fit(moved, y + 1e8)
    assert model.n_iter_ <= 2
    np.testing.assert_allclose(model.coef_, coef, atol=1e-9)
    assert model.intercept_ == pytest.approx(intercept, rel=1e-12)


def test_float32_stays_float32():
    _, y, moved = data()
    moved[:, 5] = np.float32(-3e8) + 2.0**10 * np.arange(60)
    model = SparseLpRegressor(alpha=0.05).fit(moved.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == np.float32
    assert moved_to_origin(moved.astype(np.float32))[0].dtype == np.float32
    # Predictions have the rounding of an intercept of 1e8; coefficients do not.
    exact = SparseLpRegressor(alpha=0.05).fit(moved.astype(np.float32).astype(float), y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_moved(layout):
    X, _, moved = data()
    stored, origin = moved_to_origin(LAYOUTS[layout](moved))
    assert origin.features.tolist() == sorted(FAR)
    dense = stored.toarray() if sparse.issparse(stored) else stored
    np.testing.assert_array_equal(dense[:, sorted(FAR)] + origin.means, moved[:, sorted(FAR)])
    # Without far columns, constant ones are none, nothing is copied.
    X[:, 14] = 1.0
    near = LAYOUTS[layout](X)
    assert moved_to_origin(near) == (near, None)
    one_row = LAYOUTS[layout](moved[:1])
    assert moved_to_origin(one_row) == (one_row, None)


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_zeros_that_are_not_stored_stay_zeros(layout):
    # As many rows as let a column with a zero be far by its mean and spread.
    dense = np.full((1_500_000, 2), 1e9)
    dense[::2] += 1.0
    dense[700_001, 1] = 0.0
    stored, origin = moved_to_origin(LAYOUTS[layout](dense))
    assert origin.features.tolist() == [0]
    assert stored[700_001, 1] == 0.0
    assert stored[700_002, 1] == dense[700_002, 1]


@pytest.mark.parametrize("n_samples", [2, 3, 5, 8, 9, 40])
def test_a_column_that_is_steady_in_some_rows_is_looked_at_whole(n_samples):
    rng = np.random.default_rng(n_samples)
    X = 1e6 + rng.standard_normal((n_samples, 30))
    # An outlier in each of these makes it ordinary, wherever it is.
    for j in range(n_samples):
        X[j, j % 15] = -1e9
    expected = np.abs(X.mean(axis=0)) > 1000.0 * X.std(axis=0)
    for layout in LAYOUTS:
        _, origin = moved_to_origin(LAYOUTS[layout](X))
        assert origin.features.tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_a_full_column_of_ones_has_no_spread_whatever_weights_round_to(layout):
    X, y, _ = data(n_samples=61)
    weights = np.random.default_rng(1).random(61)
    plain = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(X, y, sample_weight=weights)
    X[:, 14] = 1.0
    stored = LAYOUTS[layout](X)
    for loss in ("squared_error", "huber"):
        model = SparseLpRegressor(alpha=0.05, tol=1e-9, loss=loss).fit(stored, y, weights)
        assert model.coef_[14] == 0.0
    full = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(stored, y, sample_weight=weights)
    np.testing.assert_allclose(full.coef_, plain.coef_, atol=1e-12)
    assert full.n_iter_ == plain.n_iter_


@pytest.mark.parametrize("layout", ["c", "fortran", "csc"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_fit_that_goes_astray_ends_at_zero(loss, layout):
    # A row of hardly any weight hides that a column is far.
    X, y, _ = data()
    X[:, 0] += 1e9
    X[5, 0] = 0.0
    weights = np.ones(60)
    weights[5] = 1e-30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SparseLpRegressor(alpha=0.05, loss=loss).fit(LAYOUTS[layout](X), y, weights)
        nothing = SparseLpRegressor(alpha=1e6, loss=loss).fit(LAYOUTS[layout](X), y, weights)
    assert np.isfinite(model.coef_).all()
    assert model.objective_ <= nothing.objective_ * (1.0 + 1e-9)
