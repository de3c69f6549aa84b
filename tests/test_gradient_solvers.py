"""What only the gradient solvers promise: storage kept, acceleration, sweeps, line searches."""

import warnings

import numpy as np
import pytest
from engine import make_problem, targets
from reference import Reference
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn_sparselp._core._loss import SquaredError
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import Design, Problem, proximal_gradient, solve


def quadratic(X, y, fit_intercept=True, **terms):
    return Problem(
        Design(X), y, SquaredError(), LpPenalty(X.shape[1], **terms), None, fit_intercept
    )


def chain(seed, n_samples=60, n_features=40):
    """Columns that resemble their neighbours."""
    rng = np.random.default_rng(seed)
    X = np.cumsum(rng.normal(size=(n_samples, n_features)), axis=1)
    return X, X[:, n_features // 2] - 0.5 * X[:, 3] + rng.normal(size=n_samples)


@pytest.mark.parametrize(("solver", "p"), [("pg", 0.5), ("pg", 1.0), ("pg", 2.0), ("gd", 1.5)])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
def test_rows_are_never_turned_into_columns(solver, p, threshold):
    X, y = chain(0)
    X = sparse.csr_array(np.where(np.abs(X) > 1.0, X, 0.0))
    problem = quadratic(X, y, p=p, alpha=0.01, sparsity_threshold=threshold)
    result = solve([problem], solver=solver, tol=1e-6, max_iter=10_000)[0]
    assert result.converged
    assert np.count_nonzero(result.coef) > 0
    assert problem.design.storage == "csr"


def test_momentum_pays():
    # Plain proximal gradient with the best constant step of that metric, for the same accuracy.
    X, y = chain(1)
    terms = {"p": 1.0, "alpha": 0.05}
    reference = Reference(X, y, **terms)
    best = reference.objective(*reference.convex_optimum())
    null = reference.objective(np.zeros(40))
    centred = X - X.mean(axis=0)
    target = y - y.mean()
    lipschitz = (centred**2).mean(axis=0)
    scaled = centred / np.sqrt(len(y) * lipschitz)
    metric = lipschitz * np.linalg.norm(scaled, 2) ** 2
    w, plain = np.zeros(40), 0
    while reference.objective(w, y.mean() - X.mean(axis=0) @ w) > best + 1e-6 * null:
        z = w + centred.T @ (target - centred @ w) / len(y) / metric
        w = np.sign(z) * np.maximum(np.abs(z) - 0.05 / metric, 0.0)
        plain += 1
    model = SparseLpRegressor(solver="pg", tol=1e-6, max_iter=10_000, **terms).fit(X, y)
    assert reference.objective(model.coef_, model.intercept_) <= best + 1e-6 * null
    assert model.n_iter_ <= plain / 3


def equal_columns():
    """Sixteen equal columns: a step safe for all moves each a sixteenth as far as one alone."""
    x = np.random.default_rng(2).normal(size=30)
    x /= np.sqrt((x**2).mean())
    return np.repeat(x[:, np.newaxis], 16, axis=1), x


@pytest.mark.parametrize(("p", "threshold"), [(0.5, 0.0), (0.0, 0.0), (2.0, 0.5)])
def test_a_point_that_is_stationary_for_a_longer_prox_only_is_left(monkeypatch, p, threshold):
    X, y = equal_columns()
    terms = {"p": p, "alpha": 0.2 if p < 1.0 else 0.01, "sparsity_threshold": threshold}
    model = SparseLpRegressor(solver="pg", tol=1e-8, max_iter=10_000, fit_intercept=False, **terms)
    swept = []
    sweep = proximal_gradient.sweep_violators

    def spy(problem, point, *args):
        new = sweep(problem, point, *args)
        swept.append((point.objective, new.objective))
        return new

    monkeypatch.setattr(proximal_gradient, "sweep_violators", spy)
    model.fit(X, y)
    assert swept
    assert all(after < before for before, after in swept)
    reference = Reference(X, y, fit_intercept=False, **terms)
    assert reference.fixed_point_residual(model.coef_) <= 1.01e-8
    assert np.count_nonzero(model.coef_) >= 1
    monkeypatch.setattr(proximal_gradient, "sweep_violators", lambda *args: None)
    with pytest.warns(ConvergenceWarning, match="fixed-point residual"):
        model.fit(X, y)


@pytest.mark.parametrize("solver", ["pg", "gd"])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
def test_a_step_search_that_rounding_decides_comes_to_an_end(solver, threshold):
    # Columns a million times as far from the origin as they are wide: F_tau is flat to rounding.
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 15))
    y = X[:, :4] @ [1.0, -2.0, 3.0, 0.5] + 0.1 * rng.normal(size=40)
    terms = {"alpha": 0.01, "sparsity_threshold": threshold}
    p = 1.5 if solver == "gd" else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SparseLpRegressor(p, solver=solver, tol=1e-12, max_iter=2000, **terms)
        far, near = (model.fit(X + shift, y).coef_ for shift in (1e6, 0.0))
    np.testing.assert_allclose(far, near, atol=1e-4)


@pytest.mark.parametrize("tol", [1e-10, 1e-12])
@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "squared_hinge", "poisson"])
def test_proximal_gradient_reaches_small_gaps_on_columns_far_from_the_origin(loss, tol):
    # Predictions are differences of numbers a hundred times as large: comparing objectives more
    # closely than that rounding allows ended fits at gaps of 1e-8.
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 5)) + 100.0
    case = {"p": 1.0, "loss": loss}
    y = targets(case, X[:, :3].sum(axis=1) + rng.normal(size=60))
    gradient = X.T @ make_problem(X, y, {**case, "alpha": 0.0}).null_raw_gradient
    case["alpha"] = 0.01 * np.abs(gradient).max()
    problem = make_problem(X, y, case)
    (result,) = solve([problem], solver="pg", tol=tol, max_iter=5000)
    assert result.converged
    assert result.dual_gap <= tol * problem.null_objective
    reference = Reference(X, y, **case)
    best = reference.objective(*reference.convex_optimum())
    limit = best + 1e-10 * problem.null_objective
    assert reference.objective(result.coef, result.intercept) <= limit


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "squared_hinge"])
def test_with_a_mask_weights_and_repeated_rows_descend_to_the_same_minimum(loss, p):
    # Coefficients that a step is cut for are exactly at the threshold: an ulp beside it, rounding
    # decided which of many minima the next steps led to.
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, repeats = rng.random((15, 30)), rng.integers(0, 5, 15)
        y = targets({"loss": loss}, X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=15))
        case = {"p": p, "alpha": 1e-3, "loss": loss, "sparsity_threshold": 0.05}
        weighted = make_problem(X, y, case, repeats.astype(np.float64))
        repeated = make_problem(np.repeat(X, repeats, axis=0), np.repeat(y, repeats), case)
        first, second = (
            solve([problem], solver="gd", tol=1e-12, max_iter=20_000)[0]
            for problem in (weighted, repeated)
        )
        assert first.coef.any()
        np.testing.assert_allclose(first.coef, second.coef, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("p", [1.05, 1.2, 4.0])
@pytest.mark.parametrize("start", [0.0, 1e-12, 1e3])
def test_gradient_descent_copes_with_infinite_and_with_vanishing_curvature(p, start):
    X, y = chain(4, n_features=10)
    problem = quadratic(X, y, p=p, alpha=0.1)
    coef = np.full(10, start)
    result = solve([problem], solver="gd", tol=1e-9, max_iter=500, coef_init=[coef])[0]
    reference = Reference(X, y, p=p, alpha=0.1)
    best = reference.objective(*reference.convex_optimum())
    null = reference.objective(np.zeros(10))
    assert result.converged
    assert reference.objective(result.coef, result.intercept) <= best + 1.1e-9 * null


@pytest.mark.parametrize(
    ("terms", "n_features", "chosen"),
    [
        ({"p": 2.0}, 1200, "gd"),
        ({"p": 1.5, "l2_reg": 0.1}, 1200, "gd"),
        ({"p": 2.0}, 900, "cd"),
        ({"p": 1.4}, 1200, "cd"),
        ({"p": 2.1}, 1200, "cd"),
        ({"p": 2.0, "sparsity_threshold": 0.1}, 1200, "cd"),
        ({"p": 2.0, "positive": True}, 1200, "cd"),
        ({"p": 2.0, "penalty_factor": np.r_[0.0, np.ones(1199)]}, 1200, "cd"),
        ({"p": 1.0}, 1200, "cd"),
        ({"p": 0.5}, 1200, "cd"),
    ],
)
def test_auto_descends_the_gradient_only_where_no_coefficient_of_a_wide_problem_ends_at_zero(
    terms, n_features, chosen
):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(20, n_features)), rng.normal(size=20)
    problem = quadratic(X, y, alpha=0.5, **terms)
    assert solve([problem], tol=1e-3)[0].solver == chosen
