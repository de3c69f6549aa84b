"""SparseLpRegressor as its users meet it: frames, memory maps, pipelines, pickles, searches."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from layouts import LAYOUTS, buffers, regression
from reference import Reference
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import Lasso
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._validation import canonical

X, Y = regression(21, 50, 12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_reaches_the_kernels_without_a_copy_and_stays_as_it_was(layout, dtype):
    stored = LAYOUTS[layout](X.astype(dtype) * (np.abs(X) > 0.5))
    before = [array.copy() for array in buffers(stored)]
    for array in buffers(stored):
        array.flags.writeable = False
    ready = canonical(stored)
    for ours, theirs in zip(buffers(ready), buffers(stored), strict=True):
        assert np.shares_memory(ours, theirs)
        assert ours.dtype == theirs.dtype
    model = SparseLpRegressor(alpha=0.05).fit(stored, Y)
    assert model.coef_.dtype == dtype
    assert model.predict(stored).dtype == dtype
    assert model.predict(stored.astype(np.float64)).dtype == np.float64
    for array, old in zip(buffers(stored), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize(
    "make", [sparse.coo_array, sparse.lil_matrix, sparse.dok_array, sparse.bsr_array]
)
def test_other_sparse_formats_are_converted(make):
    thin = X * (np.abs(X) > 0.5)
    expected = SparseLpRegressor(alpha=0.05).fit(sparse.csc_array(thin), Y).coef_
    np.testing.assert_allclose(SparseLpRegressor(alpha=0.05).fit(make(thin), Y).coef_, expected)


def test_repeated_entries_count_as_their_sum():
    thin = sparse.coo_array(X * (np.abs(X) > 0.5))
    data, rows, columns = np.tile(thin.data / 2, 2), np.tile(thin.row, 2), np.tile(thin.col, 2)
    order = np.argsort(rows, kind="stable")
    indptr = np.searchsorted(rows[order], np.arange(thin.shape[0] + 1))
    twice = sparse.csr_array((data[order], columns[order], indptr), shape=thin.shape)
    assert not twice.has_canonical_format
    stored = twice.nnz
    expected = SparseLpRegressor(alpha=0.05).fit(thin, Y).coef_
    np.testing.assert_allclose(SparseLpRegressor(alpha=0.05).fit(twice, Y).coef_, expected)
    assert twice.nnz == stored


def test_memory_maps_are_read_where_they_are(tmp_path):
    np.save(tmp_path / "X.npy", np.asfortranarray(X))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(canonical(mapped), mapped)
    model = SparseLpRegressor(alpha=0.05).fit(mapped, Y)
    np.testing.assert_array_equal(
        model.coef_, SparseLpRegressor(alpha=0.05).fit(np.asfortranarray(X), Y).coef_
    )


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_give_names_and_are_checked_against_them(frame):
    names = [f"f{j}" for j in range(X.shape[1])]
    data = frame(dict(zip(names, X.T, strict=True)))
    if not hasattr(Lasso().fit(data, Y), "feature_names_in_"):
        pytest.skip("this scikit-learn takes no names from this version of the frame")
    model = SparseLpRegressor(alpha=0.05).fit(data, Y)
    assert list(model.feature_names_in_) == names
    np.testing.assert_allclose(model.coef_, SparseLpRegressor(alpha=0.05).fit(X, Y).coef_)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame(dict(zip(names[::-1], X.T, strict=True))))


def test_attributes_of_a_fit_agree_with_each_other():
    model = SparseLpRegressor(0.5, 0.2).fit(X, Y)
    np.testing.assert_array_equal(model.mask_, model.coef_ != 0.0)
    assert 0 < model.mask_.sum() < X.shape[1]
    assert sparse.issparse(model.sparse_coef_)
    np.testing.assert_array_equal(model.sparse_coef_.toarray()[0], model.coef_)
    assert np.isnan(model.dual_gap_)
    np.testing.assert_allclose(model.predict(X), X @ model.coef_ + model.intercept_, rtol=1e-12)
    assert SparseLpRegressor(1.0, 0.2).fit(X, Y).dual_gap_ >= 0.0


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_outputs_are_independent_problems(p):
    targets = np.column_stack([Y, Y[::-1], np.full(50, 3.0)])
    model = SparseLpRegressor(p, 0.1, tol=1e-8).fit(X, targets)
    assert model.coef_.shape == model.mask_.shape == model.sparse_coef_.shape == (3, 12)
    assert model.predict(X).shape == (50, 3)
    for name in ("intercept_", "objective_", "dual_gap_", "fixed_point_residual_", "n_iter_"):
        assert getattr(model, name).shape == (3,)
    for k in range(3):
        reference = Reference(X, targets[:, k], p=p, alpha=0.1)
        assert reference.fixed_point_residual(model.coef_[k]) <= 1e-6
    assert not model.mask_[2].any()
    assert model.intercept_[2] == pytest.approx(3.0)


def test_a_warm_start_continues_from_the_last_solution():
    # Of two equal columns a solution keeps one: the one that it started with.
    twins = np.column_stack([X[:, 0], X[:, 0]])
    model = SparseLpRegressor(0.5, 0.1, warm_start=True).fit(twins, Y)
    np.testing.assert_array_equal(model.mask_, [True, False])
    model.coef_ = model.coef_[::-1].copy()
    np.testing.assert_array_equal(model.fit(twins, Y).mask_, [False, True])
    np.testing.assert_array_equal(clone(model).fit(twins, Y).mask_, [True, False])
    model = SparseLpRegressor(0.5, 0.1, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="12 features and 1 outputs, but X and y now have 5 and 1"):
        model.fit(X[:, :5], Y)


def test_a_failed_fit_leaves_the_former_one():
    model = SparseLpRegressor(alpha=0.05).fit(X, Y)
    before = {name: np.copy(value) for name, value in vars(model).items()}
    for bad_X, bad_y, weights in (
        (X[:, :3], Y[:-1], None),
        (np.where(X > 2, np.nan, X), Y, None),
        (X[:, :4], Y, np.zeros(50)),
        (X[:, :4], Y, -np.ones(50)),
    ):
        with pytest.raises(ValueError, match=r"(?i)inconsistent|NaN|non-zero|negative"):
            model.fit(bad_X, bad_y, sample_weight=weights)
        assert vars(model).keys() == before.keys()
        for name, value in before.items():
            np.testing.assert_array_equal(vars(model)[name], value)


def test_a_pickle_and_a_clone_predict_and_fit_alike():
    model = SparseLpRegressor(0.5, 0.1, sparsity_threshold=0.1, penalty_factor=np.ones(12)).fit(
        X, Y
    )
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(clone(loaded).fit(X, Y).coef_, model.coef_)


def test_it_is_tuned_by_a_grid_search_with_weights_routed_to_it():
    weights = np.random.default_rng(0).integers(0, 3, 50).astype(float)
    grid = {"sparselpregressor__p": [0, 0.5, 1], "sparselpregressor__alpha": [0.01, 0.1, 1.0]}
    with config_context(enable_metadata_routing=True):
        step = SparseLpRegressor().set_fit_request(sample_weight=True)
        # A scorer of its own: not every pipeline passes weights on to the score of its last step.
        scorer = make_scorer(r2_score).set_score_request(sample_weight=True)
        model = make_pipeline(MaxAbsScaler(), step)
        search = GridSearchCV(model, grid, cv=3, n_jobs=2, scoring=scorer)
        search.fit(sparse.csr_array(X), Y, sample_weight=weights)
    best = search.best_estimator_[-1]
    scaled = MaxAbsScaler().fit_transform(X)
    expected = clone(best).fit(scaled, Y, sample_weight=weights)
    np.testing.assert_allclose(best.coef_, expected.coef_, rtol=1e-8, atol=1e-12)
    unweighted = clone(best).fit(scaled, Y)
    assert np.abs(best.coef_ - unweighted.coef_).max() > 1e-3


def test_cross_validation_scores_are_those_of_the_lasso():
    own = cross_validate(SparseLpRegressor(1.0, 0.1, tol=1e-10), X, Y, cv=4)["test_score"]
    other = cross_validate(Lasso(0.1, tol=1e-12), X, Y, cv=4)["test_score"]
    np.testing.assert_allclose(own, other, rtol=1e-7)


def test_verbose_prints_the_passes(capsys):
    SparseLpRegressor(p=0.5, alpha=0.05, verbose=1).fit(X, Y)
    assert "pass 1: 1 of 1 problems still open" in capsys.readouterr().out
    # Few columns are read once, before the first pass.
    SparseLpRegressor(alpha=0.05, verbose=1).fit(X, Y)
    assert capsys.readouterr().out.startswith("no pass: ")
    SparseLpRegressor(alpha=0.05).fit(X, Y)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("layout", ["dense_c", "dense_f", "csr_array_int32", "csc_array_int64"])
def test_prediction_from_few_features_is_that_of_all(layout):
    rng = np.random.default_rng(5)
    wide = rng.normal(size=(30, 400))
    model = SparseLpRegressor(0.5, 0.5).fit(wide, wide[:, :3] @ [3.0, -2.0, 2.0])
    assert 0 < model.mask_.sum() <= 12
    expected = wide @ model.coef_ + model.intercept_
    np.testing.assert_allclose(model.predict(LAYOUTS[layout](wide)), expected, rtol=1e-12)
