"""scikit-learn's own checks, at settings with non-zero coefficients too."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor
from sklearn_sparselp._solvers import SOLVERS


@pytest.fixture(autouse=True)
def _check_of_array_api_input_runs(monkeypatch):
    # scikit-learn skips it without this variable; for NumPy arrays nothing else depends on it.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def regressors():
    """Defaults, every order and mask with every solver that applies, and each other parameter."""
    yield SparseLpRegressor()
    for solver, row in SOLVERS.items():
        orders = (1.5, 2, 3) if row.smooth_only else (0, 0.5, 1, 1.5, 2, 3)
        common = {"alpha": 1e-3, "solver": solver}
        for p in orders:
            for threshold in (0.0, 0.05):
                yield SparseLpRegressor(p=p, sparsity_threshold=threshold, **common)
        for p in (orders[0], orders[-1]):
            yield SparseLpRegressor(p=p, loss="huber", sparsity_threshold=0.05, **common)
        yield SparseLpRegressor(p=orders[1], loss="huber", **common)
        for loss in ("poisson", "gamma"):
            for p, threshold in ((orders[0], 0.0), (orders[1], 0.05), (orders[-1], 0.0)):
                # The ridge: with as many features as samples and p = 0 nothing else keeps
                # coefficients finite where a count is 0.
                terms = {"loss": loss, "sparsity_threshold": threshold, "l2_reg": 1e-3}
                yield SparseLpRegressor(p=p, tol=1e-6, **terms, **common)
        yield SparseLpRegressor(p=2, l2_reg=1e-3, positive=True, fit_intercept=False, **common)
        yield SparseLpRegressor(p=2, warm_start=True, **common)


def classifiers():
    """Defaults, every order, mask and loss with every solver that applies."""
    yield SparseLpClassifier()
    for solver, row in SOLVERS.items():
        orders = (1.5, 2, 3) if row.smooth_only else (0, 0.5, 1, 1.5, 2, 3)
        for loss in ("log_loss", "squared_hinge"):
            for p in orders:
                # The data can be separated: with p = 0 the ridge alone keeps coefficients
                # finite. Weights and repeated rows agree to what tol leaves, with "cd" to less:
                # it ends with Newton steps.
                common = {"loss": loss, "solver": solver, "max_iter": 20_000}
                common |= {"l2_reg": 1e-3 if p == 0 else 0.0}
                common |= {"tol": {"cd": 1e-4, "pg": 1e-8, "gd": 1e-12}[solver]}
                if loss == "squared_hinge" and p == 1 and solver == "pg":
                    # Once the margin is met the loss is flat: the least alpha would decide.
                    common |= {"l2_reg": 1e-3}
                for threshold in (0.0, 0.05):
                    yield SparseLpClassifier(p, 1e-3, sparsity_threshold=threshold, **common)
        yield SparseLpClassifier(p=2, warm_start=True, solver=solver)


@parametrize_with_checks([*regressors(), *classifiers()])
def test_estimator_passes_scikit_learns_check(estimator, check):
    check(estimator)
