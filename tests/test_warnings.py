"""Warnings point at the line that asked for the work."""

import inspect

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 60))
y = X[:, :5].sum(axis=1) + RNG.normal(size=30)

UNFINISHED = {
    "regressor": (SparseLpRegressor(alpha=1e-4, max_iter=1, tol=1e-12), y),
    "classifier": (SparseLpClassifier(alpha=1e-4, max_iter=1, tol=1e-12), y > 0),
    "multinomial": (SparseLpClassifier(alpha=1e-4, max_iter=1, tol=1e-12), np.digitize(y, [-1, 1])),
    "separated": (SparseLpClassifier(alpha=0.0), y > 0),
    "pipeline": (
        make_pipeline(StandardScaler(), SparseLpRegressor(alpha=1e-4, max_iter=1, tol=1e-12)),
        y,
    ),
    "search": (
        GridSearchCV(SparseLpRegressor(max_iter=1, tol=1e-12), {"alpha": [1e-3, 1e-4]}, cv=2),
        y,
    ),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_warning_points_at_the_line_of_fit(name):
    model, target = UNFINISHED[name]
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(ConvergenceWarning) as seen:
        model.fit(X, target)
    assert {(warning.filename, warning.lineno) for warning in seen} == {(__file__, line)}
