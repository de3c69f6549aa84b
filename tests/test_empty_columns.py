"""Fits on sparse data of which most columns are empty: as if they were not there."""

import numpy as np
import pytest
from layouts import LAYOUTS
from scipy import sparse

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor, sparse_lp_path
from sklearn_sparselp._solvers import Design

FILLED = np.arange(3, 200, 9)
SPARSE = [name for name in LAYOUTS if name.startswith("cs")]


def mostly_empty(seed=0):
    rng = np.random.default_rng(seed)
    inside = rng.normal(size=(40, FILLED.size)) * (rng.random((40, FILLED.size)) < 0.6)
    X = np.zeros((40, 200))
    X[:, FILLED] = inside
    return X, inside, inside[:, :4] @ [2.0, -1.0, 1.5, 1.0] + 0.1 * rng.normal(size=40)


@pytest.mark.parametrize("layout", SPARSE)
def test_empty_columns_are_left_out_where_most_are_empty(layout):
    X, inside, _ = mostly_empty()
    design = Design(LAYOUTS[layout](X))
    design.drop_empty_columns()
    np.testing.assert_array_equal(design.features, FILLED)
    w, r = np.arange(1.0, FILLED.size + 1.0), np.arange(40.0)
    np.testing.assert_allclose(design.rmatvec(r[np.newaxis])[0], inside.T @ r, rtol=1e-12)
    np.testing.assert_allclose(design.matvec(w[np.newaxis])[0], inside @ w, rtol=1e-12)


def test_few_empty_columns_stay():
    _, inside, _ = mostly_empty()
    for some in (inside, np.column_stack([inside, np.zeros((40, 10))]), 0.0 * inside):
        design = Design(sparse.csr_array(some))
        design.drop_empty_columns()
        assert design.features is None
        assert design.n_features == some.shape[1]


REGRESSIONS = [
    {},
    {"fit_intercept": False},
    {"p": 0.5},
    {"p": 0.0, "alpha": 0.2},
    {"p": 1.3, "sparsity_threshold": 0.1},
    {"p": 2.0, "l2_reg": 0.1},
    {"p": 3.0},
    {"positive": True, "l2_reg": 0.01},
    {"loss": "huber"},
    {"loss": "poisson"},
    {"penalty_factor": True},
    {"solver": "pg"},
]


@pytest.mark.parametrize("layout", ["csr_array_int32", "csc_matrix_int64"])
@pytest.mark.parametrize("case", REGRESSIONS, ids=str)
def test_a_regression_is_that_of_the_other_columns(case, layout):
    X, inside, y = mostly_empty()
    y = np.floor(np.exp(y - y.max() + 2.0)) if case.get("loss") == "poisson" else y
    case = {"alpha": 0.05, "tol": 1e-9, "max_iter": 5000, **case}
    factor = np.where(np.arange(200) % 2, 0.5, 2.0) if case.pop("penalty_factor", False) else None
    alone = None if factor is None else factor[FILLED]
    model = SparseLpRegressor(penalty_factor=factor, **case).fit(LAYOUTS[layout](X), y)
    other = SparseLpRegressor(penalty_factor=alone, **case).fit(inside, y)
    assert model.coef_.shape == (200,)
    assert model.coef_.any()
    np.testing.assert_allclose(model.coef_[FILLED], other.coef_, atol=1e-6)
    assert np.count_nonzero(model.coef_) == np.count_nonzero(model.coef_[FILLED])
    assert model.objective_ == pytest.approx(other.objective_, rel=1e-8)
    np.testing.assert_allclose(model.predict(X), other.predict(inside), atol=1e-5)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_classification_is_that_of_the_other_columns(loss, n_classes):
    X, inside, y = mostly_empty()
    y = np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))
    terms = {"alpha": 0.01, "tol": 1e-9, "max_iter": 5000, "loss": loss}
    model = SparseLpClassifier(**terms).fit(sparse.csr_array(X), y)
    other = SparseLpClassifier(**terms).fit(inside, y)
    rows = 1 if n_classes == 2 else n_classes
    assert model.coef_.shape == (rows, 200)
    assert model.coef_.any()
    np.testing.assert_allclose(model.coef_[:, FILLED], other.coef_, atol=1e-5)
    np.testing.assert_allclose(
        model.decision_function(X), other.decision_function(inside), atol=1e-4
    )


def test_outputs_starts_and_types_are_kept():
    X, _, y = mostly_empty()
    Y = np.column_stack([y, -y, y**2])
    stored = sparse.csr_array(X.astype(np.float32))
    model = SparseLpRegressor(alpha=0.05, warm_start=True).fit(stored, Y)
    assert model.coef_.shape == (3, 200)
    assert model.coef_.dtype == np.float32
    first = model.coef_.copy()
    model.fit(stored, Y)
    assert (model.n_iter_ == 1).all()
    np.testing.assert_allclose(model.coef_, first, atol=1e-6)


def test_a_path_keeps_every_feature():
    X, inside, y = mostly_empty()
    path = sparse_lp_path(sparse.csr_array(X), y, alphas=5)
    other = sparse_lp_path(inside, y, alphas=5)
    coefs = path.coefs.toarray() if sparse.issparse(path.coefs) else path.coefs
    assert coefs.shape == (5, 200)
    np.testing.assert_allclose(path.objectives, other.objectives, rtol=1e-4)
