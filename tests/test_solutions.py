"""Solutions against other people's solvers, general-purpose optimisers and enumeration."""

import numpy as np
import pytest
from layouts import LAYOUTS, regression
from reference import Reference
from scipy import optimize
from sklearn.linear_model import ElasticNet, HuberRegressor, Lasso, LinearRegression, Ridge

from sklearn_sparselp import SparseLpRegressor

SHAPES = [(60, 10), (25, 60)]
STORED = ["dense_c", "csr_array_int32"]
MIXED = np.array([1.0, 0.3, 2.0, 0.5, np.inf, 1.0, 0.1, 1.0, 3.0, 1.0])


def precise(**parameters):
    return SparseLpRegressor(**{"tol": 1e-12, "max_iter": 20_000, **parameters})


def assert_same_model(model, other, tolerance=1e-5):
    np.testing.assert_allclose(model.coef_, np.ravel(other.coef_), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=tolerance, atol=tolerance)


# ----- scikit-learn


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_p1_is_the_lasso(shape, positive, fit_intercept, layout):
    X, y = regression(2, *shape, density=0.5)
    common = {"alpha": 0.1, "positive": positive, "fit_intercept": fit_intercept}
    other = Lasso(tol=1e-12, max_iter=100_000, **common).fit(X, y)
    model = precise(p=1, **common).fit(LAYOUTS[layout](X), y)
    assert_same_model(model, other)
    assert np.array_equal(model.coef_ != 0.0, other.coef_ != 0.0)
    assert 0 < np.count_nonzero(model.coef_) < shape[1]


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("l1_ratio", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", SHAPES)
def test_p1_with_a_ridge_is_the_elastic_net_with_weights_too(shape, l1_ratio, layout):
    X, y = regression(3, *shape, density=0.5)
    weights = np.random.default_rng(3).uniform(0.0, 2.0, shape[0])
    other = ElasticNet(alpha=0.2, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000)
    other.fit(X, y, sample_weight=weights)
    model = precise(p=1, alpha=0.2 * l1_ratio, l2_reg=0.2 * (1 - l1_ratio))
    assert_same_model(model.fit(LAYOUTS[layout](X), y, sample_weight=weights), other)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_p2_is_ridge(shape, fit_intercept, layout):
    X, y = regression(4, *shape, density=0.5)
    n_samples = shape[0]
    other = Ridge(alpha=3.0, fit_intercept=fit_intercept, solver="cholesky").fit(X, y)
    stored = LAYOUTS[layout](X)
    model = precise(p=2, alpha=3.0 / (2 * n_samples), fit_intercept=fit_intercept)
    assert_same_model(model.fit(stored, y), other, 1e-6)
    model = precise(p=1, alpha=0.0, l2_reg=3.0 / n_samples, fit_intercept=fit_intercept)
    assert_same_model(model.fit(stored, y), other, 1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_huber_is_scikit_learns_at_the_scale_that_it_estimates(fit_intercept):
    X, y = regression(5, 80, 6)
    y[::9] += 20.0
    other = HuberRegressor(epsilon=1.35, alpha=0.0, fit_intercept=fit_intercept, tol=1e-10)
    other.fit(X, y)
    model = precise(
        loss="huber", epsilon=1.35 * other.scale_, alpha=0.0, fit_intercept=fit_intercept
    ).fit(X, y)
    assert_same_model(model, other, 1e-4)
    assert np.abs(model.coef_ - LinearRegression().fit(X, y).coef_).max() > 0.01


# ----- general-purpose optimisers


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"positive": True, "fit_intercept": False},
        {"l2_reg": 0.1, "penalty_factor": MIXED},
        {"loss": "huber", "epsilon": 0.5},
        {"loss": "huber", "epsilon": 0.2, "l2_reg": 0.1, "positive": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_convex_problems_reach_the_optimum_of_lbfgs(p, extra, layout):
    X, y = regression(6, 60, 10, density=0.7)
    weights = np.random.default_rng(6).integers(0, 3, 60).astype(np.float64)
    reference = Reference(X, y, p=p, alpha=0.1, sample_weight=weights, **extra)
    w, b = reference.convex_optimum()
    model = precise(p=p, alpha=0.1, **extra).fit(LAYOUTS[layout](X), y, sample_weight=weights)
    best = reference.objective(w, b)
    assert reference.objective(model.coef_, model.intercept_) <= best * (1.0 + 1e-11)
    np.testing.assert_allclose(model.coef_, w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_huber_without_a_penalty_is_the_m_estimator(epsilon):
    X, y = regression(7, 50, 4)
    y[:5] -= 30.0
    design = np.column_stack([X, np.ones(50)])
    other = optimize.least_squares(
        lambda x: design @ x - y, np.zeros(5), loss="huber", f_scale=epsilon, xtol=1e-14, gtol=1e-14
    )
    model = precise(loss="huber", epsilon=epsilon, alpha=0.0).fit(X, y)
    np.testing.assert_allclose([*model.coef_, model.intercept_], other.x, rtol=1e-5)
    assert model.objective_ == pytest.approx(other.cost / 50, rel=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss_bends_at", [0.02, 0.1])
def test_huber_leaves_a_start_where_its_loss_is_linear(loss_bends_at, fit_intercept):
    # At most one sample is within epsilon of the null model: the loss has no curvature there.
    X, y = regression(7, 50, 4)
    X = np.column_stack([X, np.arange(50) == 3])
    parameters = {"alpha": 1e-4, "epsilon": loss_bends_at, "fit_intercept": fit_intercept}
    model = precise(loss="huber", p=1.5, **parameters).fit(X, y)
    reference = Reference(X, y, loss="huber", p=1.5, **parameters)
    w, b = reference.convex_optimum()
    assert model.objective_ <= reference.objective(w, b) * (1.0 + 1e-10)


# ----- enumeration, p = 0


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.003, 0.03, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_p0_is_a_fixed_point_and_no_better_than_the_best_subset(seed, alpha, fit_intercept):
    X, y = regression(seed, 30, 8, noise=2.0)
    X[:, 4] = X[:, 0] + 0.1 * X[:, 5]  # correlated: coordinate descent may miss the best subset
    parameters = {"p": 0, "alpha": alpha, "fit_intercept": fit_intercept}
    reference = Reference(X, y, **parameters)
    w, best = reference.best_subset()
    model = precise(**parameters).fit(X, y)
    assert reference.fixed_point_residual(model.coef_) <= 1e-10
    found = reference.objective(model.coef_, model.intercept_)
    assert best - 1e-12 <= found <= reference.objective(np.zeros(8))
    # The best subset is itself a fixed point: started there, it stays.
    warm = precise(warm_start=True, **parameters).fit(X, y)
    warm.coef_ = w
    warm.fit(X, y)
    assert reference.objective(warm.coef_, warm.intercept_) == pytest.approx(best, rel=1e-12)
    assert np.array_equal(warm.coef_ != 0.0, w != 0.0)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("l2_reg", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_p0_finds_the_best_subset_of_nearly_orthogonal_features(seed, l2_reg, layout):
    X, y = regression(seed, 100, 9)
    weights = np.random.default_rng(seed).integers(0, 3, 100).astype(np.float64)
    parameters = {"p": 0, "alpha": 0.05, "l2_reg": l2_reg}
    reference = Reference(X, y, sample_weight=weights, **parameters)
    w, best = reference.best_subset()
    model = precise(**parameters).fit(LAYOUTS[layout](X), y, sample_weight=weights)
    assert np.array_equal(np.flatnonzero(w), [0, 1, 2])
    np.testing.assert_allclose(model.coef_, w, rtol=1e-8)
    assert model.objective_ == pytest.approx(best, rel=1e-12)


# ----- p < 1 and masks


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.2])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.8, 1.0, 2.0])
def test_no_single_coefficient_can_be_moved_to_a_lower_objective(p, threshold, positive):
    # For squared error L_j is exact: a fixed point of T_j is the best value of w_j, however far.
    X, y = regression(8, 40, 8)
    parameters = {"p": p, "alpha": 0.05, "sparsity_threshold": threshold, "positive": positive}
    reference = Reference(X, y, **parameters)
    model = precise(**parameters).fit(X, y)
    near = np.add.outer(model.coef_, np.linspace(-1e-3, 1e-3, 21)).ravel()
    grid = np.concatenate([near, np.linspace(-3.0, 3.0, 201)])
    assert np.count_nonzero(model.coef_) > 0
    assert model.objective_ <= reference.lowest_by_one_coordinate(model.coef_, grid) + 1e-12


@pytest.mark.parametrize("threshold", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_masked_coefficients_are_zero_or_beyond_the_threshold(p, threshold):
    X, y = regression(9, 60, 20, noise=2.0)
    coef = precise(p=p, alpha=1e-3, sparsity_threshold=threshold).fit(X, y).coef_
    assert (np.abs(coef[coef != 0.0]) > threshold).all()


def test_a_larger_threshold_is_sparser():
    X, y = regression(9, 60, 20, noise=2.0)
    counts = [
        np.count_nonzero(precise(p=2, alpha=1e-3, sparsity_threshold=t).fit(X, y).coef_)
        for t in (0.0, 0.1, 0.5, 1.2, 10.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 20
    assert counts[-1] == 0


@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("p", [0.0, 0.5, 2 / 3, 0.9])
@pytest.mark.parametrize("layout", STORED)
def test_a_concave_penalty_does_not_stop_at_the_zero_vector(p, threshold, layout):
    # Its subdifferential at 0 is the whole line: a rule that measures distance to it stops at once.
    X = np.random.default_rng(0).normal(size=(50, 10))
    y = 5.0 * X[:, 0]
    parameters = {"p": p, "alpha": 0.1, "sparsity_threshold": threshold, "fit_intercept": False}
    model = SparseLpRegressor(**parameters).fit(LAYOUTS[layout](X), y)
    assert np.array_equal(np.flatnonzero(model.coef_), [0])
    assert model.coef_[0] == pytest.approx(5.0, rel=0.02)
    assert model.fixed_point_residual_ <= 1e-4
