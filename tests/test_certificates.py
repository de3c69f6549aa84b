"""objective_, dual_gap_ and fixed_point_residual_ against a second, independent definition."""

import numpy as np
import pytest
from engine import LOSSES, fit_engine, make_problem, targets
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import DENSE, LAYOUTS, SPARSE, regression
from reference import Reference
from sklearn_sparselp._core._loss import SquaredError
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp._solvers import Design, Problem, solve
from sklearn_sparselp._solvers.certificate import Certifier

N_FEATURES = 12
MIXED = np.array([1.0, 0.0, 2.0, 0.5, np.inf, 1.0, 0.0, 1.0, 3.0, np.inf, 1.0, 0.2])
PENALISED = np.where(MIXED == 0.0, 0.7, MIXED)
WEIGHTS = np.random.default_rng(5).integers(0, 4, 40).astype(np.float64)

CONVEX = [
    {"p": 1.0, "alpha": 0.1},
    {"p": 1.0, "alpha": 0.1, "fit_intercept": False},
    {"p": 1.0, "alpha": 0.1, "positive": True},
    {"p": 1.0, "alpha": 0.05, "l2_reg": 0.2},
    {"p": 1.0, "alpha": 0.1, "penalty_factor": PENALISED},
    {"p": 1.0, "alpha": 0.1, "loss": "huber", "epsilon": 0.6},
    {"p": 1.0, "alpha": 0.1, "loss": "huber", "epsilon": 0.3, "fit_intercept": False},
    {"p": 1.3, "alpha": 0.1},
    {"p": 1.5, "alpha": 0.1, "l2_reg": 0.1, "positive": True},
    {"p": 1.5, "alpha": 0.1, "loss": "huber", "epsilon": 0.6, "penalty_factor": PENALISED},
    {"p": 2.0, "alpha": 0.1, "fit_intercept": False},
    {"p": 2.0, "alpha": 0.05, "l2_reg": 0.1, "penalty_factor": PENALISED},
    {"p": 3.0, "alpha": 0.1, "positive": True},
    {"p": 1.0, "alpha": 0.02, "loss": "log_loss"},
    {"p": 2.0, "alpha": 0.02, "loss": "log_loss", "fit_intercept": False},
    {"p": 1.0, "alpha": 0.05, "loss": "squared_hinge"},
    {"p": 1.5, "alpha": 0.05, "loss": "squared_hinge", "penalty_factor": PENALISED},
    {"p": 1.0, "alpha": 0.05, "loss": "poisson"},
    {"p": 1.0, "alpha": 0.05, "loss": "poisson", "l2_reg": 0.1, "fit_intercept": False},
    {"p": 1.0, "alpha": 0.05, "loss": "gamma", "positive": True},
    {"p": 2.0, "alpha": 0.05, "loss": "gamma"},
]
UNPENALISED = [
    {"p": 1.0, "alpha": 0.1, "penalty_factor": MIXED},
    {"p": 1.0, "alpha": 0.1, "penalty_factor": MIXED, "positive": True},
    {"p": 1.0, "alpha": 0.1, "penalty_factor": MIXED, "fit_intercept": False},
    {"p": 1.0, "alpha": 0.1, "penalty_factor": MIXED, "loss": "huber", "epsilon": 0.6},
    {"p": 1.5, "alpha": 0.2, "penalty_factor": MIXED, "positive": True},
    {"p": 2.0, "alpha": 0.2, "penalty_factor": MIXED},
    {"p": 1.0, "alpha": 0.02, "penalty_factor": MIXED, "loss": "log_loss"},
    {"p": 1.0, "alpha": 0.02, "penalty_factor": MIXED, "loss": "poisson"},
]
NONCONVEX = [
    {"p": 0.0, "alpha": 0.05},
    {"p": 0.5, "alpha": 0.1},
    {"p": 0.5, "alpha": 0.1, "fit_intercept": False, "positive": True},
    {"p": 2 / 3, "alpha": 0.1, "penalty_factor": MIXED, "l2_reg": 0.05},
    {"p": 0.9, "alpha": 0.1, "penalty_factor": MIXED},
    {"p": 0.5, "alpha": 0.1, "loss": "huber", "epsilon": 0.6},
    {"p": 0.0, "alpha": 0.01, "sparsity_threshold": 0.3},
    {"p": 0.5, "alpha": 0.02, "sparsity_threshold": 0.3, "penalty_factor": MIXED},
    {"p": 1.0, "alpha": 0.05, "sparsity_threshold": 0.2},
    {"p": 1.0, "alpha": 0.05, "sparsity_threshold": 0.2, "loss": "huber", "epsilon": 0.6},
    {"p": 2.0, "alpha": 0.05, "sparsity_threshold": 0.4, "positive": True},
    {"p": 3.0, "alpha": 0.05, "sparsity_threshold": 0.2, "l2_reg": 0.1, "fit_intercept": False},
    {"p": 0.5, "alpha": 0.01, "loss": "log_loss"},
    {"p": 2.0, "alpha": 0.01, "loss": "squared_hinge", "sparsity_threshold": 0.1},
    {"p": 0.0, "alpha": 0.01, "loss": "poisson", "penalty_factor": MIXED},
    {"p": 1.0, "alpha": 0.01, "loss": "poisson", "sparsity_threshold": 0.1},
    {"p": 0.5, "alpha": 0.01, "loss": "gamma", "fit_intercept": False},
]


def named(case):
    words = [key if key == "penalty_factor" else f"{key}={value}" for key, value in case.items()]
    return ",".join(words)


def fit(X, y, weights=None, **parameters):
    """Fit without a word about the limit; with its reference problem."""
    model = fit_engine(X, y, weights, **parameters)
    dense = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    of_problem = {k: v for k, v in parameters.items() if k not in ("tol", "max_iter", "solver")}
    return model, Reference(dense, y, sample_weight=weights, **of_problem)


def at_points(case, coefs, weights=None, X=None, y=None):
    """The certificate of each point alone: no earlier dual value helps it."""
    if X is None:
        X, y = regression(n_features=N_FEATURES)
        y = targets(case, y)
    reference = Reference(X, y, sample_weight=weights, **case)
    problem = make_problem(X, y, case, weights)
    problem.set_gradient_scale(X.T @ problem.null_raw_gradient)
    for w in coefs:
        w = np.where(reference.usable, w, 0.0)
        if reference.positive:
            w = np.abs(w)
        prediction, _ = problem.predict(w, 0.0)
        raw, _ = problem.derivatives(prediction)
        yield w, Certifier(problem).certify(w, prediction, raw, X.T @ raw), reference


def points(seed=3, smallest=0.0):
    """Zero, sparse and dense coefficients, of sizes from far too small to far too large."""
    rng = np.random.default_rng(seed)
    coefs = [np.zeros(N_FEATURES)]
    for size in (1e-3, 0.3, 1.0, 30.0):
        w = size * rng.normal(size=N_FEATURES) * (rng.uniform(size=N_FEATURES) < 0.6)
        coefs.append(np.where(np.abs(w) < smallest, 0.0, w))
    return coefs


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("case", CONVEX + UNPENALISED + NONCONVEX, ids=named)
def test_residual_and_objective_are_the_defined_ones_at_any_point(case, weights):
    coefs = points(smallest=case.get("sparsity_threshold", 0.0))
    if case.get("loss") in ("poisson", "gamma"):
        coefs = coefs[:-1]  # exp of the last point's predictions overflows
    for w, certificate, reference in at_points(case, coefs, weights):
        np.testing.assert_allclose(certificate.objective, reference.masked_objective(w), rtol=1e-12)
        np.testing.assert_allclose(
            certificate.residual, reference.fixed_point_residual(w), rtol=1e-9, atol=1e-14
        )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("case", CONVEX, ids=named)
def test_gap_bounds_the_distance_to_the_optimum_and_no_simple_bound_is_tighter(case, weights):
    for w, certificate, reference in at_points(case, points(), weights):
        optimum, intercept = reference.convex_optimum()
        best = reference.objective(optimum, intercept)
        rounding = 1e-12 * reference.objective(w)
        assert certificate.dual_gap >= reference.objective(w) - best - rounding
        # Huber's dual is not searched over the scale: the scale of the point itself, or of the box.
        simple = reference.objective(w) - dual_in_box(reference, w)
        assert certificate.dual_gap <= simple * (1.0 + 1e-9) + rounding
        if reference.loss == "squared_error":
            assert certificate.dual_gap <= reference.duality_gap(w) * (1.0 + 1e-9) + rounding


def dual_in_box(reference, w):
    """The dual value at the gradient, shrunk into the box of an L1 norm where it is outside."""
    if reference.p > 1.0 or reference.l2_reg > 0.0:
        return reference.dual_value(w, 1.0)
    slopes = reference.slopes_of(reference.X @ w + reference.best_intercept(w))
    correlation = np.where(reference.usable, -reference.X.T @ slopes, 0.0)
    inside = correlation if reference.positive else np.abs(correlation)
    bound = reference.alpha * np.where(reference.usable, reference.u, 1.0)
    return reference.dual_value(w, min(1.0, 1.0 / max((inside / bound).max(), 1e-300)))


@pytest.mark.parametrize("case", UNPENALISED, ids=named)
def test_gap_bounds_the_distance_to_the_optimum_with_unpenalised_features(case):
    finite = 0
    for w, certificate, reference in at_points(case, points(), WEIGHTS):
        optimum, intercept = reference.convex_optimum()
        missing = reference.objective(w) - reference.objective(optimum, intercept)
        assert certificate.dual_gap >= missing - 1e-12 * reference.objective(w)
        finite += np.isfinite(certificate.dual_gap)
    # The duals of the other losses have a domain, which a far point's projection may leave.
    if not case.get("positive") and "loss" not in case:
        assert finite == len(points())


@pytest.mark.parametrize("layout", [LAYOUTS["dense_c"], LAYOUTS["csr_array_int64"]])
@pytest.mark.parametrize("max_iter", [1, 1000])
@pytest.mark.parametrize("case", CONVEX + UNPENALISED, ids=named)
def test_fitted_certificates_hold_for_convex_problems(case, max_iter, layout):
    X, y = regression(seed=1, n_features=N_FEATURES, density=0.6)
    y = targets(case, y)
    model, reference = fit(layout(X), y, WEIGHTS, tol=1e-9, max_iter=max_iter, **case)
    optimum, intercept = reference.convex_optimum()
    assert_fitted_attributes_are_right(model, reference)
    missing = model.objective_ - reference.objective(optimum, intercept)
    null = reference.objective(np.zeros(N_FEATURES))
    assert -1e-9 * null <= missing <= model.dual_gap_ + 1e-12 * null
    if max_iter > 1:
        assert model.dual_gap_ <= 1e-9 * null
        assert model.fixed_point_residual_ < 1e-3


@pytest.mark.parametrize("layout", [LAYOUTS["dense_f"], LAYOUTS["csc_matrix_int32"]])
@pytest.mark.parametrize("max_iter", [1, 1000])
@pytest.mark.parametrize("case", NONCONVEX, ids=named)
def test_fitted_certificates_hold_for_problems_that_are_not_convex(case, max_iter, layout):
    X, y = regression(seed=1, n_features=N_FEATURES, density=0.6)
    y = targets(case, y)
    model, reference = fit(layout(X), y, WEIGHTS, tol=1e-9, max_iter=max_iter, **case)
    assert_fitted_attributes_are_right(model, reference)
    assert np.isnan(model.dual_gap_)
    if max_iter > 1:
        assert model.fixed_point_residual_ <= 1e-9


def assert_fitted_attributes_are_right(model, reference):
    w = model.coef_
    assert not w[np.isinf(reference.u)].any()
    # Two clipped residuals leave Huber's intercept an interval: its slope tells, not its value.
    slopes = reference.slopes_of(reference.X @ w + model.intercept_)
    if reference.fit_intercept:
        assert abs(slopes.sum()) <= 1e-12 * np.abs(reference.slopes_of(0.0 * reference.y)).sum()
    else:
        assert model.intercept_ == 0.0
    expected = reference.masked_objective(w, model.intercept_)
    rounding = 1e-14 * reference.loss_of(0.0 * reference.y)
    np.testing.assert_allclose(model.objective_, expected, rtol=1e-12, atol=rounding)
    np.testing.assert_allclose(
        model.fixed_point_residual_, reference.fixed_point_residual(w), rtol=1e-6, atol=1e-12
    )


cases = st.fixed_dictionaries(
    {
        "p": st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), st.floats(0.05, 4.0)),
        "alpha": st.floats(1e-3, 1.0),
        "sparsity_threshold": st.sampled_from([0.0, 0.05, 0.5]),
        "l2_reg": st.sampled_from([0.0, 0.1]),
        "positive": st.booleans(),
        "fit_intercept": st.booleans(),
        "loss": st.sampled_from(sorted(LOSSES)),
        "epsilon": st.sampled_from([0.3, 1.35]),
    }
)


@settings(max_examples=300)
@given(
    case=cases,
    layout=st.sampled_from([*DENSE, *SPARSE]),
    shape=st.tuples(st.integers(1, 15), st.integers(1, 8)),
    weighted=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_fitted_certificates_are_right_for_any_problem(case, layout, shape, weighted, seed):
    X, y = regression(seed, *shape, density=0.7)
    y = targets(case, y)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, shape[0]) + (np.arange(shape[0]) == 0) if weighted else None
    factors = rng.choice([0.0, 0.5, 1.0, np.inf], shape[1])
    weights = None if weights is None else weights.astype(np.float64)
    model, reference = fit(
        LAYOUTS[layout](X), y, weights, tol=1e-6, max_iter=300, penalty_factor=factors, **case
    )
    assert_fitted_attributes_are_right(model, reference)
    assert np.isnan(model.dual_gap_) == (case["p"] < 1.0 or case["sparsity_threshold"] > 0.0)


def test_a_solver_keeps_the_best_dual_value_of_its_run():
    X, y = regression(n_features=N_FEATURES)
    problem = Problem(Design(X), y, SquaredError(), LpPenalty(N_FEATURES, 1.0, 0.1))
    result = solve([problem], tol=1e-8)[0]
    assert (
        result.dual_gap <= Reference(X, y, alpha=0.1).duality_gap(result.coef) * (1 + 1e-9) + 1e-14
    )
    assert result.objective == result.history[-1]
