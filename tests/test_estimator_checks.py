"""scikit-learn's own checks, at settings with non-zero coefficients too."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import SOLVERS


def regressors():
    yield SparseLpRegressor()
    for p in (0, 0.5, 1, 1.5, 2, 3):
        for threshold in (0.0, 0.05):
            for solver, row in SOLVERS.items():
                if p > 1 or not row.smooth_only:
                    yield SparseLpRegressor(
                        p=p, alpha=1e-3, sparsity_threshold=threshold, solver=solver
                    )
    yield SparseLpRegressor(alpha=1e-3, loss="huber")
    yield SparseLpRegressor(p=0.5, alpha=1e-3, loss="huber", sparsity_threshold=0.05)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(list(regressors()))
def test_estimator_passes_scikit_learns_check(estimator, check):
    check(estimator)
