"""CONTRIBUTING.md is true: its penalty and its loss compile outside the package and solve."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from compilation import compile_extension
from scipy import optimize
from sklearn.utils._param_validation import StrOptions
from sklearn_sparselp._core._loss import SquaredError
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import SOLVERS, Design, Problem, solve
from sklearn_sparselp.regression import REGRESSION_LOSSES, RegressionLoss

ROOT = Path(__file__).resolve().parent.parent
ALPHA, GAMMA = 0.3, 2.5


@pytest.fixture(scope="module")
def additions(tmp_path_factory):
    """The two classes of the page, compiled against the installed declarations."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```cython\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    module = compile_extension("additions", "\n\n".join(blocks), tmp_path_factory.mktemp("page"))
    sys.modules["additions"] = module
    yield module
    del sys.modules["additions"]


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 30)) * rng.uniform(0.2, 2.0, 30)
    y = X[:, :4] @ [2.0, -0.6, 0.6, 3.0] + 0.3 * rng.standard_normal(60) + 1.0
    return X, y


def _minimax_concave(t):
    size = np.minimum(np.abs(t), GAMMA * ALPHA)
    return ALPHA * size - size**2 / (2 * GAMMA)


def test_page_penalty_reaches_a_coordinatewise_minimum(additions, data):
    X, y = data
    problem = Problem(Design(X), y, SquaredError(), additions.MinimaxConcave(30, ALPHA, GAMMA))
    (result,) = solve([problem], tol=1e-9)
    assert result.converged
    size = np.abs(result.coef)
    # All three pieces of the penalty are met.
    assert (size == 0).any()
    assert ((size > 0) & (size < GAMMA * ALPHA)).any()
    assert (size > GAMMA * ALPHA).any()
    assert np.isnan(result.dual_gap)
    assert (np.diff(result.history) <= 1e-12).all()

    # Brute force, one coordinate at a time over a fine grid, the intercept at its optimum: nothing
    # is lower under the quadratic model of the coordinate.
    X, y = X - X.mean(0), y - y.mean()
    residual = y - X @ result.coef
    value = 0.5 * np.mean(residual**2) + _minimax_concave(result.coef).sum()
    np.testing.assert_allclose(result.objective, value, rtol=1e-12)
    grid = np.concatenate([[0.0], np.linspace(-4.0, 4.0, 8_001)])
    for j in range(30):
        curvature = np.mean(X[:, j] ** 2)
        centre = result.coef[j] + X[:, j] @ residual / 60 / curvature
        model = 0.5 * curvature * (grid - centre) ** 2 + _minimax_concave(grid)
        own = 0.5 * curvature * (result.coef[j] - centre) ** 2 + _minimax_concave(result.coef[j])
        assert own <= model.min() + 1e-9


def test_page_penalty_survives_pickling(additions):
    penalty = pickle.loads(pickle.dumps(additions.MinimaxConcave(7, ALPHA, GAMMA, 0.5)))
    state = (penalty.n_features, penalty.alpha, penalty.gamma, penalty.l2_reg)
    assert state == (7, ALPHA, GAMMA, 0.5)


def test_page_loss_reaches_the_minimum_through_the_estimator(additions, data, monkeypatch):
    X, y = data
    row = RegressionLoss(lambda estimator: additions.PseudoHuber())
    monkeypatch.setitem(REGRESSION_LOSSES, "pseudo_huber", row)
    names = [StrOptions(set(REGRESSION_LOSSES))]
    monkeypatch.setitem(SparseLpRegressor._parameter_constraints, "loss", names)
    model = SparseLpRegressor(p=2, alpha=0.05, loss="pseudo_huber", tol=1e-10).fit(X, y)

    def objective(v):
        losses = np.sqrt(1.0 + (X @ v[:-1] + v[-1] - y) ** 2) - 1.0
        return losses.mean() + 0.05 * (v[:-1] ** 2).sum()

    best = optimize.minimize(objective, np.zeros(31), method="L-BFGS-B", options={"ftol": 1e-14})
    np.testing.assert_allclose(model.objective_, best.fun, rtol=1e-7)
    np.testing.assert_allclose(model.coef_, best.x[:-1], atol=1e-4)
    assert 0.0 <= model.dual_gap_ <= 1e-8


@pytest.fixture
def restored_registry():
    """Whatever a page adds to the solvers is gone afterwards."""
    solvers = dict(SOLVERS)
    yield
    SOLVERS.clear()
    SOLVERS.update(solvers)


@pytest.mark.usefixtures("restored_registry")
def test_page_solver_agrees_with_coordinate_descent(data):
    X, y = data
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a solver")[2]
    exec(re.search(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[1], {})
    problem = Problem(Design(X), y, SquaredError(), LpPenalty(30, p=1.0, alpha=ALPHA))
    (expected,) = solve([problem], solver="cd", tol=1e-12)
    (result,) = solve([problem], solver="greedy", tol=1e-10)
    np.testing.assert_allclose(result.coef, expected.coef, atol=1e-6)
    assert (np.diff(result.history) <= 1e-12).all()
