"""scikit-learn's own checks of the online estimators."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_sparselp import SparseLpSGDClassifier, SparseLpSGDRegressor


@pytest.fixture(autouse=True)
def _check_of_array_api_input_runs(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def estimators():
    for cls in (SparseLpSGDRegressor, SparseLpSGDClassifier):
        yield cls()
        for p in (0, 0.5, 1, 1.5, 2):
            yield cls(p=p, alpha=1e-3)
        yield cls(alpha=1e-3, average=True)
        slow = {"learning_rate": "adaptive", "eta0": 0.01}
        yield cls(alpha=1e-3, sparsity_threshold=1e-3, **slow)
    yield SparseLpSGDRegressor("huber", l2_reg=1e-3)
    yield SparseLpSGDClassifier("hinge", l2_reg=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(list(estimators()))
def test_estimator_passes_scikit_learns_check(estimator, check):
    check(estimator)
