"""Data at the edge: flat, single, repeated and badly scaled columns, extreme targets and factors.

A warning is an error here: every fit must reach its tolerance.
"""

import numpy as np
import pytest
from layouts import LAYOUTS, regression
from reference import Reference, prox
from scipy import sparse

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor
from sklearn_sparselp._solvers import SOLVERS

STORED = ["dense_c", "dense_f", "csr_array_int32", "csc_matrix_int64"]
ORDERS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
EVERY_SOLVER = [(solver, p) for solver, row in SOLVERS.items() for p in ORDERS
                if p > 1.0 or not row.smooth_only]  # fmt: skip


def make(p, alpha, **parameters):
    return SparseLpRegressor(p, alpha, **{"tol": 1e-9, "max_iter": 20_000, **parameters})


# ----- flat columns


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
@pytest.mark.parametrize("l2_reg", [0.0, 0.1])
def test_constant_and_empty_columns_get_zero_and_change_nothing(l2_reg, solver, p, layout):
    X, y = regression(0, 30, 5)
    wide = np.column_stack([X[:, :2], np.full(30, 0.1), np.zeros(30), X[:, 2:], np.full(30, 1e9)])
    model = make(p, 0.01, l2_reg=l2_reg, solver=solver)
    coef = model.fit(LAYOUTS[layout](wide), y).coef_
    flat = [2, 3, 7]
    assert not coef[flat].any()
    expected = model.fit(LAYOUTS[layout](X), y).coef_
    np.testing.assert_allclose(np.delete(coef, flat), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("p", ORDERS)
def test_without_an_intercept_only_an_empty_column_is_flat(p, layout):
    y = np.array([2.0, 3.0, 4.0])
    X = np.column_stack([np.ones(3), np.zeros(3)])
    coef = make(p, 0.0, fit_intercept=False).fit(LAYOUTS[layout](X), y).coef_
    np.testing.assert_allclose(coef, [3.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("p", ORDERS)
def test_a_matrix_of_zeros_leaves_the_null_model(p, fit_intercept):
    y = np.array([1.0, 2.0, 6.0])
    for X in (np.zeros((3, 4)), sparse.csr_array((3, 4)), sparse.csc_array((3, 4))):
        model = make(p, 0.1, fit_intercept=fit_intercept).fit(X, y)
        assert not model.coef_.any()
        assert model.intercept_ == pytest.approx(3.0 if fit_intercept else 0.0)
        assert model.fixed_point_residual_ == 0.0


def test_stored_zeros_are_zeros():
    X, y = regression(1, 30, 5, density=0.5)
    lean = sparse.csr_array(X)
    full = sparse.csr_array(np.where(X == 0.0, 7.0, X))
    full.data[full.data == 7.0] = 0.0
    assert full.nnz > lean.nnz
    for convert in (sparse.csr_array, sparse.csc_array):
        a, b = (make(0.5, 0.05).fit(convert(S), y).coef_ for S in (lean, full))
        np.testing.assert_allclose(a, b, rtol=1e-10)


# ----- small shapes


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("threshold", [0.0, 0.1])
@pytest.mark.parametrize("p", ORDERS)
def test_one_sample_is_solved(p, threshold, layout):
    X, y = LAYOUTS[layout](np.array([[2.0, -1.0, 0.0]])), np.array([3.0])
    model = make(p, 0.01, sparsity_threshold=threshold).fit(X, y)
    assert not model.coef_.any()
    assert model.intercept_ == 3.0
    assert model.objective_ == 0.0
    model = make(p, 0.01, sparsity_threshold=threshold, fit_intercept=False).fit(X, y)
    assert model.predict(X)[0] == pytest.approx(3.0, rel=0.1)
    reference = Reference(X.toarray() if sparse.issparse(X) else X, y, p=p, alpha=0.01,
                          sparsity_threshold=threshold, fit_intercept=False)  # fmt: skip
    assert reference.fixed_point_residual(model.coef_) <= 1e-4
    assert model.coef_[2] == 0.0


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
def test_one_feature_is_one_prox(solver, p, fit_intercept, layout):
    X, y = regression(2, 20, 1)
    x = X[:, 0] - X.mean() * fit_intercept
    lipschitz = (x**2).mean()
    z = x @ y / 20 / lipschitz
    for alpha in (0.01, 0.3, 100.0):
        model = make(p, alpha, fit_intercept=fit_intercept, solver=solver, tol=1e-13)
        coef = model.fit(LAYOUTS[layout](X), y).coef_
        # An objective known to 1e-13 tells its argument to half of the digits.
        assert coef[0] == pytest.approx(prox(z, alpha / lipschitz, p), rel=1e-5)


# ----- no penalty


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
def test_without_a_penalty_it_is_least_squares(solver, p, fit_intercept):
    X, y = regression(3, 40, 6)
    design = np.column_stack([X, np.ones(40)]) if fit_intercept else X
    expected = np.linalg.lstsq(design, y)[0]
    model = make(p, 0.0, fit_intercept=fit_intercept, solver=solver, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected[:6], rtol=1e-4)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("shape", [(8, 20), (20, 20), (19, 20), (21, 20)])
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
def test_without_a_penalty_and_with_many_features_it_interpolates(solver, p, shape, layout):
    X, y = regression(4, *shape)
    model = make(p, 0.0, solver=solver, tol=1e-5, max_iter=100_000).fit(LAYOUTS[layout](X), y)
    null = 0.5 * y.var()
    centred = X - X.mean(axis=0)
    best = 0.5 * np.mean((centred @ np.linalg.lstsq(centred, y - y.mean())[0] - y + y.mean()) ** 2)
    assert model.objective_ - best <= (1.1e-5 if p >= 1.0 else 1e-2) * null
    assert np.isfinite(model.coef_).all()


def test_a_mask_without_a_penalty_keeps_large_least_squares_coefficients():
    X = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 4)))[0] * np.sqrt(30)
    y = X @ [2.0, 0.9, -1.1, 0.1]
    model = make(2.0, 0.0, sparsity_threshold=1.0, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(model.coef_, [2.0, 0.0, -1.1, 0.0], atol=1e-12)


# ----- repeated columns


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
def test_repeated_columns_share_what_one_would_get(solver, p, layout):
    X, y = regression(5, 40, 4)
    alpha = 0.05
    twice = np.hstack([X, X])
    model = make(p, alpha, solver=solver, tol=1e-11, max_iter=100_000)
    coef = model.fit(LAYOUTS[layout](twice), y).coef_
    if p < 1.0:
        # Equal halves are a fixed point too; what is promised is a fixed point.
        assert Reference(twice, y, p=p, alpha=alpha).fixed_point_residual(coef) <= 1e-10
        return
    # Two equal halves: 2 |w/2|^p is |w|^p 2^(1-p).
    one = make(p, alpha * 2.0 ** (1.0 - p), tol=1e-11, solver=solver).fit(X, y)
    np.testing.assert_allclose(coef[:4] + coef[4:], one.coef_, rtol=1e-4, atol=1e-5)
    if p > 1.0:
        np.testing.assert_allclose(coef[:4], coef[4:], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("p", [0.0, 0.5, 0.9])
def test_a_concave_penalty_keeps_one_of_two_equal_columns(p, layout):
    X, y = regression(5, 40, 4)
    model = make(p, 0.05, solver="cd")
    coef = model.fit(LAYOUTS[layout](np.hstack([X, X])), y).coef_
    assert not (coef[:4] * coef[4:]).any()
    np.testing.assert_allclose(coef[:4] + coef[4:], model.fit(X, y).coef_, rtol=1e-6)


# ----- scales


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("p", ORDERS)
def test_columns_in_other_units_get_coefficients_in_other_units(p, fit_intercept, layout):
    X, y = regression(6, 40, 6)
    units = np.array([1e8, 1e-8, 1.0, 1e-8, 1e8, 1.0])
    plain = make(p, 0.05, fit_intercept=fit_intercept).fit(X, y)
    scaled = make(p, 0.05, fit_intercept=fit_intercept, penalty_factor=units**p)
    scaled.fit(LAYOUTS[layout](X * units), y)
    np.testing.assert_allclose(scaled.coef_ * units, plain.coef_, rtol=1e-4, atol=1e-6)
    assert scaled.objective_ == pytest.approx(plain.objective_, rel=1e-8)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("scale", [1e8, 1e-8])
@pytest.mark.parametrize("p", ORDERS)
def test_badly_scaled_columns_without_factors_are_solved(p, scale, layout):
    X, y = regression(7, 40, 6)
    X[:, ::2] *= scale
    # Correlations with columns of 1e8 are known to about 1e-8, a millionth of alpha: so far is a
    # dual point from its bounds, and a gap of 1e-9 of the objective would be a matter of luck.
    tol = 1e-8 if scale > 1.0 and p == 1.0 else 1e-9
    model = make(p, 0.01, tol=tol).fit(LAYOUTS[layout](X), y)
    reference = Reference(X, y, p=p, alpha=0.01)
    if p >= 1.0:
        assert model.dual_gap_ <= tol * reference.objective(np.zeros(6))
    else:
        assert reference.fixed_point_residual(model.coef_) <= 2e-9
    np.testing.assert_allclose(model.objective_, reference.objective(model.coef_), rtol=1e-9)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_an_intercept_takes_up_any_shift_of_the_columns(p, layout):
    X, y = regression(8, 40, 6)
    plain, moved = make(p, 0.05).fit(X, y), make(p, 0.05)
    moved.fit(LAYOUTS[layout](X + 1e5), y + 1e6)
    np.testing.assert_allclose(moved.coef_, plain.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moved.predict(X + 1e5), plain.predict(X) + 1e6, rtol=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("unit", [1e100, 1e-100])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_huge_and_tiny_targets_are_the_same_problem_in_other_units(p, unit, threshold, loss):
    X, y = regression(9, 40, 6)
    plain = make(p, 0.05, sparsity_threshold=threshold, loss=loss, epsilon=0.7).fit(X, y)
    scaled = make(
        p, 0.05 * unit ** (2.0 - p), sparsity_threshold=threshold * unit, loss=loss,
        epsilon=0.7 * unit,
    ).fit(X, y * unit)  # fmt: skip
    np.testing.assert_allclose(scaled.coef_ / unit, plain.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scaled.intercept_ / unit, plain.intercept_, rtol=1e-4, atol=1e-6)
    assert scaled.objective_ / unit**2 == pytest.approx(plain.objective_, rel=1e-8)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_target_is_the_intercept(constant, solver, p, loss, layout):
    X, _ = regression(10, 30, 5)
    model = make(p, 0.1, solver=solver, loss=loss).fit(LAYOUTS[layout](X), np.full(30, constant))
    np.testing.assert_allclose(model.coef_, np.zeros(5), atol=1e-12 * max(constant, 1.0))
    assert model.intercept_ == pytest.approx(constant, rel=1e-12)
    assert model.objective_ == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
def test_a_target_of_zeros_gives_zeros(solver, p, fit_intercept):
    X, _ = regression(10, 30, 5)
    model = make(p, 0.1, solver=solver, fit_intercept=fit_intercept).fit(X, np.zeros(30))
    assert not model.coef_.any()
    assert model.objective_ == model.intercept_ == model.fixed_point_residual_ == 0.0


# ----- factors


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_infinite_factors_drop_every_feature(alpha, solver, p, layout):
    X, y = regression(11, 30, 5)
    model = make(p, alpha, solver=solver, penalty_factor=np.full(5, np.inf))
    model.fit(LAYOUTS[layout](X), y)
    assert not model.coef_.any()
    assert model.intercept_ == pytest.approx(y.mean())
    assert model.objective_ == pytest.approx(0.5 * y.var())
    assert model.fixed_point_residual_ == 0.0
    assert np.isnan(model.dual_gap_) if p < 1.0 else model.dual_gap_ <= 1e-12


@pytest.mark.parametrize(("solver", "p"), EVERY_SOLVER)
def test_a_dropped_feature_is_as_good_as_absent_and_a_free_one_is_fitted(solver, p):
    X, y = regression(12, 40, 6)
    factor = np.array([1.0, np.inf, 0.0, 1.0, np.inf, 1.0])
    kept = np.isfinite(factor)
    wide = make(p, 0.3, solver=solver, penalty_factor=factor).fit(X, y)
    narrow = make(p, 0.3, solver=solver, penalty_factor=factor[kept]).fit(X[:, kept], y)
    assert not wide.coef_[~kept].any()
    np.testing.assert_allclose(wide.coef_[kept], narrow.coef_, rtol=1e-5, atol=1e-7)
    residual = y - wide.predict(X)
    assert abs((X[:, 2] - X[:, 2].mean()) @ residual) / 40 <= 1e-3


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_a_large_alpha_gives_the_null_model(p):
    X, y = regression(13, 30, 5)
    model = make(p, 1e6).fit(X, y)
    assert not model.coef_.any()
    assert model.objective_ == pytest.approx(0.5 * y.var())
    assert model.n_iter_ == 1


@pytest.mark.parametrize("layout", ["dense_c", "dense_f", "csr_array_int32", "csc_array_int32"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_column_whose_squares_overflow_is_named(classes, layout):
    """No curvature bound is finite: its coefficient would stay 0 under a certificate of 0."""
    X = np.random.default_rng(0).normal(size=(30, 5))
    y = X[:, 3].copy()
    X[:, 3] *= 1e160
    if classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    model = SparseLpClassifier(alpha=1e-3) if classes else SparseLpRegressor(alpha=1e-3)
    before = dict(vars(model))
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="squares of feature 3 of X overflow"),
    ):
        model.fit(LAYOUTS[layout](X), y)
    assert vars(model) == before
