"""The Newton step on the support: it lowers F_tau, stays admissible and ends quadratically."""

import numpy as np
import pytest
from layouts import LAYOUTS, regression
from reference import Reference
from sklearn_sparselp._core._loss import SquaredError
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp._solvers import Design, Problem
from sklearn_sparselp._solvers.gram import GramCache
from sklearn_sparselp._solvers.support_newton import SupportModel, newton_step

STORED = ["dense_c", "dense_f", "csc_array_int32", "csr_array_int64"]
CASES = [
    {"p": 0.0, "alpha": 0.05},
    {"p": 0.3, "alpha": 0.5},
    {"p": 0.5, "alpha": 0.2, "fit_intercept": False},
    {"p": 0.5, "alpha": 0.5, "sparsity_threshold": 0.2},
    {"p": 1.0, "alpha": 0.5},
    {"p": 1.0, "alpha": 0.5, "positive": True, "l2_reg": 0.1},
    {"p": 1.5, "alpha": 0.5, "positive": True},
    {"p": 2.0, "alpha": 0.1, "sparsity_threshold": 0.3},
    {"p": 3.0, "alpha": 0.5, "fit_intercept": False},
]


def setting(X, y, case, weights):
    terms = {k: v for k, v in case.items() if k != "fit_intercept"}
    return Problem(
        Design(X), y, SquaredError(), LpPenalty(X.shape[1], **terms), weights,
        case.get("fit_intercept", True),
    )  # fmt: skip


def step_from(problem, w, gram):
    """One step from w: the step, and the new coefficients where there are any."""
    support = np.flatnonzero(w)
    prediction, _ = problem.predict(w, 0.0)
    raw, curvature = problem.derivatives(prediction)
    model = SupportModel(
        problem.design.columns(support), support, w[support], raw, curvature,
        problem.lipschitz[support] - problem.penalty.l2_reg,
        problem.sums[support] if problem.fit_intercept else None, 1.0,
    )  # fmt: skip
    step = newton_step(problem.penalty, model, gram, 0.0)
    if step.coef is None:
        return step, None
    new = w.copy()
    new[support] = step.coef
    return step, new


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_lowers_the_objective_from_any_start(case, layout):
    rng = np.random.default_rng(0)
    X, y = regression(30, 25, 40, density=0.6)
    weights = rng.integers(0, 3, 25).astype(np.float64)
    problem = setting(LAYOUTS[layout](X), y, case, weights)
    reference = Reference(X, y, sample_weight=weights, **case)
    gram = GramCache(problem.design, problem.weights)
    taken = 0
    for size in np.geomspace(1e-3, 10.0, 60):
        # A third has more features on than rows: the Hessian is singular, or worse for p < 1.
        w = size * rng.normal(size=40) * (rng.uniform(size=40) < rng.choice([0.1, 0.5, 0.9]))
        w[np.abs(w) <= case.get("sparsity_threshold", 0.0)] = 0.0
        w = np.abs(w) if case.get("positive") else w
        if not w.any():
            continue
        step, new = step_from(problem, w, gram)
        if new is None:
            continue
        taken += 1
        before, after = reference.masked_objective(w), reference.masked_objective(new)
        assert after < before
        assert not new[w == 0.0].any()
        d = X @ (new - w)
        moved = d - reference.s @ d if reference.fit_intercept else d
        np.testing.assert_allclose(step.moved, moved, rtol=1e-9, atol=1e-9 * np.abs(d).max())
    assert taken >= 5


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("gram", [True, False], ids=["kept", "made"])
def test_a_step_is_exact_for_a_quadratic_penalty(gram, layout):
    X, y = regression(31, 60, 8)
    problem = setting(LAYOUTS[layout](X), y, {"p": 2.0, "alpha": 0.1}, None)
    w = np.array([1.0, 0.0, -2.0, 3.0, 0.0, 0.1, 0.0, 5.0])
    cache = GramCache(problem.design, problem.weights) if gram else None
    step, new = step_from(problem, w, cache)
    on = np.flatnonzero(w)
    centred = X[:, on] - X[:, on].mean(axis=0)
    hessian = centred.T @ centred / 60 + 0.2 * np.eye(on.size)
    expected = np.linalg.solve(hessian, centred.T @ y / 60)
    np.testing.assert_allclose(new[on], expected, rtol=1e-10)
    assert step.regular
    assert not step.cut


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("p", [0.5, 0.9, 1.0, 1.5, 3.0])
def test_steps_converge_quadratically_near_a_solution(p, layout):
    X, y = regression(32, 60, 3)
    case = {"p": p, "alpha": 0.02}
    problem = setting(LAYOUTS[layout](X), y, case, None)
    reference = Reference(X, y, **case)
    w = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean())[0]
    residuals = [reference.fixed_point_residual(w)]
    for _ in range(3):
        _, new = step_from(problem, w, GramCache(problem.design, problem.weights))
        w = w if new is None else new
        residuals.append(reference.fixed_point_residual(w))
    assert residuals[0] > 1e-4
    assert residuals[1] < 0.1 * residuals[0]
    assert residuals[3] < 1e-10
