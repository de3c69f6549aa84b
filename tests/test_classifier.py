"""SparseLpClassifier: labels, weights, probabilities and states of a model, against peers."""

import pickle

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from layouts import LAYOUTS, regression
from reference import Reference
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.svm import LinearSVC

from sklearn_sparselp import SparseLpClassifier, SparseLpSGDClassifier

LOSSES = ["log_loss", "squared_hinge"]
N, D = 80, 10
X, SCORE = regression(31, N, D, noise=2.0)
BINARY = np.where(np.median(SCORE) < SCORE, "yes", "no")
# Not in the order of the classes, so that a row of the wrong class shows.
THREE = np.array(["cat", "ant", "bee"])[np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.6]))]
L1 = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1}


def fit(y=BINARY, weights=None, X=X, **parameters):
    common = {"alpha": 0.01, "tol": 1e-9, "max_iter": 10_000}
    return SparseLpClassifier(**{**common, **parameters}).fit(X, y, sample_weight=weights)


def hinge(y=THREE, **parameters):
    return fit(y, **{"loss": "squared_hinge", "p": 2.0, **parameters})


def objective(coef, intercept, y, positive, **problem):
    reference = Reference(X, (y == positive).astype(float), **problem)
    return reference.objective(np.ravel(coef), float(np.ravel(intercept)[0]))


# ----- peers


@pytest.mark.parametrize("solver", ["saga", "newton-cholesky"])
def test_log_loss_reaches_the_minimum_of_logistic_regression(solver):
    alpha, p = 0.01, 1 if solver == "saga" else 2
    strength = {1: 1.0, 2: 2.0}[p] * alpha
    options = L1 if solver == "saga" else {}
    other = LogisticRegression(
        C=1 / (N * strength), solver=solver, tol=1e-10, max_iter=100_000, **options
    ).fit(X, BINARY)
    model = fit(p=p, alpha=alpha)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, other.intercept_, atol=1e-5)
    problem = {"y": BINARY, "positive": "yes", "p": p, "alpha": alpha, "loss": "log_loss"}
    theirs = objective(other.coef_, other.intercept_, **problem)
    assert objective(model.coef_, model.intercept_, **problem) <= theirs * (1.0 + 1e-8)
    assert model.objective_[0] == pytest.approx(theirs, rel=1e-6)
    assert 0.0 <= model.dual_gap_[0] <= 1e-8


@pytest.mark.parametrize("y", [BINARY, THREE], ids=["binary", "one-vs-rest"])
@pytest.mark.parametrize(("penalty", "p"), [("l1", 1), ("l2", 2)])
def test_squared_hinge_reaches_the_minimum_of_a_linear_support_vector_machine(penalty, p, y):
    alpha = 0.02
    other = LinearSVC(
        penalty=penalty, C=1 / (p * N * alpha), dual=False, fit_intercept=False,
        tol=1e-10, max_iter=10**6,
    ).fit(X, y)  # fmt: skip
    model = hinge(y, p=p, alpha=alpha, fit_intercept=False)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-5)
    assert not model.intercept_.any()
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    np.testing.assert_allclose(model.decision_function(X), other.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0])
def test_each_class_against_the_rest_is_a_problem_of_its_own(p):
    model = hinge(p=p, alpha=0.05)
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    assert model.coef_.shape == model.mask_.shape == model.sparse_coef_.shape == (3, D)
    for name in ("intercept_", "objective_", "dual_gap_", "fixed_point_residual_", "n_iter_"):
        assert getattr(model, name).shape == (3,)
    for k, label in enumerate(model.classes_):
        alone = hinge(label == THREE, p=p, alpha=0.05)
        np.testing.assert_allclose(model.coef_[k], alone.coef_[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(model.intercept_[k], alone.intercept_[0], rtol=1e-6)
        reference = Reference(
            X, (label == THREE).astype(float), p=p, alpha=0.05, loss="squared_hinge"
        )
        assert reference.fixed_point_residual(model.coef_[k]) <= 1e-6
    assert np.isnan(model.dual_gap_).all() == (p < 1.0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("p", "threshold"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.3), (2.0, 0.3)])
def test_sparse_models_hold_an_independent_certificate(p, threshold, loss):
    model = fit(p=p, alpha=0.03, sparsity_threshold=threshold, loss=loss)
    terms = {"p": p, "alpha": 0.03, "sparsity_threshold": threshold, "loss": loss}
    reference = Reference(X, (BINARY == "yes").astype(float), **terms)
    coef = model.coef_[0]
    assert 0 < model.mask_.sum() < D
    assert reference.fixed_point_residual(coef) <= 1e-6
    assert model.objective_[0] == pytest.approx(reference.masked_objective(coef), rel=1e-7)
    assert model.intercept_[0] == pytest.approx(reference.best_intercept(coef), abs=1e-6)


@pytest.mark.parametrize("solver", ["saga", "newton-cholesky"])
def test_several_classes_reach_the_minimum_of_multinomial_logistic_regression(solver):
    alpha, p = 0.01, 1 if solver == "saga" else 2
    options = L1 if solver == "saga" else {}
    c = 1 / (p * N * alpha)
    other = LogisticRegression(C=c, solver=solver, tol=1e-10, max_iter=100_000, **options)
    other.fit(X, THREE)
    model = fit(THREE, p=p, alpha=alpha)
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-5)
    # Probabilities do not change when a number is added to all intercepts: here they sum to 0.
    assert abs(model.intercept_.sum()) < 1e-12
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    own = model.predict_log_proba(X)[np.arange(N), np.searchsorted(model.classes_, THREE)]
    value = -own.mean() + alpha * (np.abs(model.coef_) ** p).sum()
    theirs = other.predict_log_proba(X)[np.arange(N), np.searchsorted(model.classes_, THREE)]
    best = -theirs.mean() + alpha * (np.abs(other.coef_) ** p).sum()
    assert model.objective_ == pytest.approx([value], rel=1e-10)
    assert value <= best * (1.0 + 1e-8)
    for name in ("objective_", "dual_gap_", "fixed_point_residual_", "n_iter_"):
        assert getattr(model, name).shape == (1,)


# ----- labels


@pytest.mark.parametrize(
    "names",
    [
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        np.array([-1, 1]),
        np.array([False, True]),
        np.array([2.0, 7.0]),
        pd.Series(["a", "b"]),
    ],
    ids=lambda names: f"{type(names).__name__}-{names.dtype}",
)
def test_labels_of_any_kind_come_back(names):
    codes = (BINARY == "yes").astype(int)
    labels = names[codes] if isinstance(names, np.ndarray) else names.iloc[codes]
    model = fit(labels)
    assert model.classes_.tolist() == list(names)
    assert model.predict(X).dtype == np.asarray(names).dtype
    assert model.score(X, labels) == pytest.approx(np.mean(model.predict(X) == np.asarray(labels)))
    np.testing.assert_array_equal(model.coef_, fit(codes).coef_)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_sign_of_the_decision_names_the_class(loss):
    model = fit(loss=loss)
    decision = model.decision_function(X)
    assert decision.shape == (N,)
    np.testing.assert_allclose(decision, X @ model.coef_[0] + model.intercept_[0], rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), np.where(decision > 0, "yes", "no"))
    other = hinge()
    decision = other.decision_function(X)
    assert decision.shape == (N, 3)
    np.testing.assert_allclose(decision, X @ other.coef_.T + other.intercept_, rtol=1e-10)
    np.testing.assert_array_equal(other.predict(X), other.classes_[decision.argmax(axis=1)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_storage_and_precision_do_not_count(layout, dtype):
    thin = (X * (np.abs(X) > 0.4)).astype(dtype)
    stored = LAYOUTS[layout](thin)
    for y, parameters in (
        (BINARY, {"p": 0.5}),
        (THREE, {"loss": "squared_hinge", "p": 2}),
        (THREE, {"p": 1}),
    ):
        model = fit(y, X=stored, **parameters)
        assert model.coef_.dtype == model.intercept_.dtype == dtype
        assert model.decision_function(stored).dtype == dtype
        expected = fit(y, X=thin.astype(np.float64), **parameters)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(model.predict(stored), model.predict(thin))
        assert np.mean(model.predict(stored) == expected.predict(thin)) > 0.98
    for y in (BINARY, THREE):
        assert fit(y, X=stored).predict_proba(stored).dtype == dtype


# ----- weights


@pytest.mark.parametrize("loss", LOSSES)
def test_class_weights_multiply_sample_weights(loss):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, N)
    of_class = {"ant": 3.0, "cat": 0.25}
    product = weights * [of_class.get(label, 1.0) for label in THREE]
    expected = fit(THREE, product, loss=loss)
    model = fit(THREE, weights, loss=loss, class_weight=of_class)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6, atol=1e-9)
    assert np.abs(model.coef_ - fit(THREE, weights, loss=loss).coef_).max() > 1e-3


@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
def test_balanced_classes_have_equal_sums_of_weights(scale):
    weights = np.random.default_rng(1).integers(1, 4, N).astype(float)
    sums = {label: weights[label == THREE].sum() for label in np.unique(THREE)}
    expected = hinge(weights=weights / [sums[label] for label in THREE])
    model = hinge(weights=scale * weights, class_weight="balanced")
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6)
    repeats = weights.astype(int)
    repeated = hinge(
        np.repeat(THREE, repeats), X=np.repeat(X, repeats, axis=0), class_weight="balanced"
    )
    np.testing.assert_allclose(model.coef_, repeated.coef_, rtol=1e-6)


@pytest.mark.parametrize("y", [BINARY, THREE], ids=["binary", "three"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_whole_weight_repeats_a_row_and_zero_drops_it(loss, y):
    repeats = np.random.default_rng(2).integers(0, 4, N)
    kept = repeats > 0
    weighted = fit(y, repeats, loss=loss)
    repeated = fit(np.repeat(y, repeats), X=np.repeat(X, repeats, axis=0), loss=loss)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-9)
    dropped = fit(y[kept], repeats[kept], X[kept], loss=loss)
    np.testing.assert_allclose(weighted.coef_, dropped.coef_, rtol=1e-6, atol=1e-9)


# ----- probabilities


DECISIONS = [-1e4, -800.0, -40.0, -1e-9, 0.0, 1.5, 37.0, 746.0, 1e4]


def with_decisions(dtype=np.float64):
    """A model whose decision is its only feature."""
    model = SparseLpClassifier().fit(np.array([[-1.0], [1.0]], dtype=dtype), [0, 1])
    model.coef_, model.intercept_ = np.ones((1, 1), dtype=dtype), np.zeros(1, dtype=dtype)
    return model


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_accurate_far_into_the_tails(dtype):
    model, eps = with_decisions(dtype), float(np.finfo(dtype).eps)
    decisions = np.array(DECISIONS, dtype=dtype)[:, np.newaxis]
    probabilities, logs = model.predict_proba(decisions), model.predict_log_proba(decisions)
    assert probabilities.dtype == logs.dtype == dtype
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=2 * eps)
    tiny = float(np.finfo(dtype).tiny)
    with mpmath.workdps(60):
        for row, log_row, f in zip(probabilities, logs, decisions[:, 0], strict=True):
            for k, sign in ((0, -1), (1, 1)):
                exact = 1 / (1 + mpmath.exp(-sign * mpmath.mpf(float(f))))
                assert row[k] == pytest.approx(float(exact), rel=8 * eps, abs=tiny)
                assert log_row[k] == pytest.approx(float(mpmath.log(exact)), rel=8 * eps, abs=tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_of_several_classes_are_accurate_far_into_the_tails(dtype):
    model = SparseLpClassifier().fit(np.eye(3, dtype=dtype), [0, 1, 2])
    model.coef_, model.intercept_ = np.eye(3, dtype=dtype), np.zeros(3, dtype=dtype)
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    decisions = np.array(
        [[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 9990.0], [0.5, -30.0, 1.0], [40, 3, 2]],
        dtype=dtype,
    )
    probabilities, logs = model.predict_proba(decisions), model.predict_log_proba(decisions)
    assert probabilities.dtype == logs.dtype == dtype
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=4 * eps)
    with mpmath.workdps(60):
        for row, log_row, decision in zip(probabilities, logs, decisions, strict=True):
            exponentials = [mpmath.exp(mpmath.mpf(float(f))) for f in decision]
            for k, exponential in enumerate(exponentials):
                exact = exponential / sum(exponentials)
                assert row[k] == pytest.approx(float(exact), rel=16 * eps, abs=tiny)
                assert log_row[k] == pytest.approx(float(mpmath.log(exact)), rel=8 * eps, abs=tiny)


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e300, 1e300)))
def test_probabilities_are_probabilities_at_any_decision(decisions):
    model, data = with_decisions(), decisions[:, np.newaxis]
    probabilities, logs = model.predict_proba(data), model.predict_log_proba(data)
    assert ((probabilities >= 0.0) & (probabilities <= 1.0)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-15)
    assert np.isfinite(logs).all()
    assert (logs <= 0.0).all()
    likelier = probabilities[:, 1] > probabilities[:, 0]
    assert (model.predict(data)[likelier] == 1).all()


def test_probabilities_belong_to_log_loss_alone():
    model = hinge(BINARY)
    for name in ("predict_proba", "predict_log_proba"):
        assert not hasattr(model, name)
        assert not hasattr(SparseLpClassifier(loss="squared_hinge"), name)
        assert not hasattr(SparseLpClassifier(loss="none"), name)
        assert hasattr(SparseLpClassifier(), name)
    with pytest.raises(AttributeError, match="predict_proba") as raised:
        model.predict_proba(X)
    assert "loss='log_loss', but loss is 'squared_hinge'" in str(raised.value.__cause__)
    # The loss of the fit counts, not a parameter set since.
    assert not hasattr(model.set_params(loss="log_loss"), "predict_proba")
    fitted = fit().set_params(loss="squared_hinge")
    assert fitted.predict_proba(X).shape == (N, 2)


# ----- states


@pytest.mark.parametrize("layout", ["dense_c", "dense_f", "csr_array_int32", "csc_matrix_int64"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: fit(p=0.5, alpha=0.03),
        lambda: fit(THREE, p=0.5, alpha=0.03),
        lambda: hinge(p=0.5, alpha=0.05),
    ],
)
def test_a_sparse_model_predicts_as_the_dense_one(make, layout):
    model, stored = make(), LAYOUTS[layout](X)
    dense = model.coef_.copy()
    expected, mask = model.decision_function(stored), model.mask_.copy()
    assert not mask.all()
    assert model.sparsify() is model
    assert isinstance(model.coef_, sparse.csr_array)
    assert model.coef_.nnz == mask.sum()
    np.testing.assert_array_equal(model.mask_, mask)
    np.testing.assert_array_equal(model.sparse_coef_.toarray(), dense)
    np.testing.assert_allclose(model.decision_function(stored), expected, rtol=1e-12, atol=1e-14)
    loaded = pickle.loads(pickle.dumps(model.sparsify()))
    np.testing.assert_array_equal(loaded.predict(stored), model.predict(stored))
    assert model.densify() is model
    assert isinstance(model.coef_, np.ndarray)
    np.testing.assert_array_equal(model.densify().coef_, dense)
    assert isinstance(model.sparsify().fit(X, BINARY).coef_, np.ndarray)


def test_a_model_without_features_predicts_the_larger_class_in_both_states():
    y = np.array([1, 1, 0])
    model = SparseLpClassifier(alpha=10.0).fit(X[:3], y)
    assert not model.mask_.any()
    for state in (model, clone(model).fit(X[:3], y).sparsify()):
        np.testing.assert_array_equal(state.predict(X), np.ones(N))
        np.testing.assert_allclose(state.predict_proba(X)[:, 1], 2 / 3, rtol=1e-6)


@pytest.mark.parametrize("sparsified", [False, True])
def test_a_warm_start_continues_from_the_last_solution(sparsified):
    # Of two equal columns a solution keeps one: the one that it started with.
    twins = np.column_stack([X[:, 0], X[:, 0]])
    model = SparseLpClassifier(0.5, 0.02, warm_start=True).fit(twins, BINARY)
    np.testing.assert_array_equal(model.mask_, [[True, False]])
    model.coef_ = model.coef_[:, ::-1].copy()
    if sparsified:
        model.sparsify()
    np.testing.assert_array_equal(model.fit(twins, BINARY).mask_, [[False, True]])
    for again in (hinge(p=1.0, warm_start=True), fit(THREE, warm_start=True)):
        first, coef = again.n_iter_.sum(), again.coef_.copy()
        if sparsified:
            again.sparsify()
        assert again.fit(X, THREE).n_iter_.sum() < first
        np.testing.assert_allclose(again.coef_, coef, atol=1e-6)


def test_a_warm_start_needs_the_same_classes_and_features():
    model = fit(warm_start=True)
    with pytest.raises(ValueError, match=r"classes \['no', 'yes'\], but y now has \[0, 1\]"):
        model.fit(X, (BINARY == "yes").astype(int))
    with pytest.raises(ValueError, match="10 features and 1 rows"):
        model.fit(X[:, :5], BINARY)
    with pytest.raises(ValueError, match="1 rows of coefficients, but X and y now have 10 and 3"):
        model.set_params(loss="squared_hinge").fit(X, THREE)


def test_a_pickle_and_a_clone_predict_and_fit_alike():
    model = fit(p=0.5, class_weight={"yes": 2.0}, penalty_factor=np.ones(D))
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(clone(loaded).fit(X, BINARY).coef_, model.coef_)


# ----- separable classes


SEPARATE = np.digitize(X[:, 0], np.quantile(X[:, 0], [0.3, 0.6]))
FOR_FREE = [
    {"alpha": 0.0},
    {"alpha": 0.0, "p": 2.0},
    {"alpha": 0.0, "p": 2.0, "solver": "gd"},
    {"alpha": 0.0, "solver": "pg"},
    {"alpha": 0.0, "sparsity_threshold": 1e-6},
    {"p": 0.0},
    {"alpha": 10.0, "penalty_factor": np.r_[0.0, np.full(D - 1, 1e3)]},
]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("y", [SEPARATE > 0, SEPARATE], ids=["binary", "three"])
@pytest.mark.parametrize("terms", FOR_FREE, ids=str)
def test_separable_classes_without_a_bound_on_coefficients_are_warned_of(terms, y, scale):
    model = SparseLpClassifier(**{"alpha": 1e-6, **terms})
    with pytest.warns(ConvergenceWarning, match="log loss has no minimum: all 80 samples") as seen:
        model.fit(scale * X, y)
    assert seen[0].filename == __file__
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict_log_proba(scale * X)).all()
    assert model.score(scale * X, y) == 1.0


@pytest.mark.parametrize(
    "model",
    [
        SparseLpClassifier(2.0, 1e-3),
        SparseLpClassifier(alpha=0.0, l2_reg=1e-3),
        SparseLpClassifier(alpha=0.0, loss="squared_hinge"),
    ],
)
def test_separable_classes_are_no_matter_where_there_is_a_minimum(model):
    assert model.fit(X, SEPARATE > 0).score(X, SEPARATE > 0) > 0.9


def test_a_sample_on_the_wrong_side_is_enough_for_a_minimum_unless_its_weight_is_zero():
    y, weights = SEPARATE > 0, np.ones(N)
    wrong = np.append(y[1:], ~y[-1:])
    fit(wrong, alpha=0.0, tol=1e-4)
    y = y.copy()
    y[X[:, 0].argmax()], weights[X[:, 0].argmax()] = False, 0.0
    fit(y, alpha=0.0, tol=1e-4)
    with pytest.warns(ConvergenceWarning, match="all 79 samples"):
        fit(y, weights, alpha=0.0, tol=1e-4)


# ----- use


def test_it_is_tuned_by_a_grid_search_with_weights_routed_to_it():
    weights = np.random.default_rng(0).integers(0, 3, N).astype(float)
    grid = {"sparselpclassifier__p": [0.5, 1], "sparselpclassifier__alpha": [0.003, 0.03]}
    with config_context(enable_metadata_routing=True):
        step = SparseLpClassifier().set_fit_request(sample_weight=True)
        # A scorer of its own: not every pipeline passes weights on to the score of its last step.
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        search = GridSearchCV(make_pipeline(MaxAbsScaler(), step), grid, cv=3, scoring=scorer)
        search.fit(sparse.csr_array(X), BINARY, sample_weight=weights)
    best = search.best_estimator_[-1]
    scaled = MaxAbsScaler().fit_transform(X)
    expected = clone(best).fit(scaled, BINARY, sample_weight=weights)
    np.testing.assert_allclose(best.coef_, expected.coef_, rtol=1e-6, atol=1e-9)
    assert np.abs(best.coef_ - clone(best).fit(scaled, BINARY).coef_).max() > 1e-3
    assert search.score(X, BINARY) > 0.7


def test_probabilistic_scores_are_those_of_logistic_regression():
    c = 1 / (2 * (N * 0.75) * 0.01)
    own = SparseLpClassifier(2.0, 0.01, tol=1e-10)
    other = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10)
    searches = [
        GridSearchCV(model, {}, scoring=["neg_log_loss", "roc_auc"], refit=False, cv=4).fit(
            X, BINARY
        )
        for model in (own, other)
    ]
    for name in ("mean_test_neg_log_loss", "mean_test_roc_auc"):
        values = [search.cv_results_[name] for search in searches]
        np.testing.assert_allclose(*values, rtol=1e-6)


# ----- wrong input

ONES = np.ones(N)
YES = (BINARY == "yes").astype(float)
WRONG = [
    ({}, X, np.full(N, "a"), None, r"at least 2 classes, but every label of y is 'a'"),
    ({}, X, SCORE, None, r"(?i)unknown label type: continuous"),
    ({}, X, np.where(YES > 0, np.nan, 1.0), None, r"y contains NaN"),
    ({}, X, np.column_stack([YES, YES]), None, r"1d array"),
    ({}, X, BINARY[:-1], None, r"inconsistent numbers of samples: \[80, 79\]"),
    ({}, np.where(X > 3, np.inf, X), BINARY, None, r"X contains infinity"),
    ({}, X, BINARY, YES, r"All weights of class 'no' are 0"),
    ({"class_weight": {"yes": 0.0}}, X, BINARY, None, r"All weights of class 'yes' are 0"),
    ({"class_weight": "balanced"}, X, BINARY, YES, r"All weights of class 'no' are 0"),
    ({}, X, BINARY, 0.0 * ONES, r"all 80 of sample_weight are 0"),
    ({}, X, BINARY, -ONES, r"smallest is -1.*>= 0"),
    (
        {"class_weight": {"yes": 2.0, "maybe": 1.0}},
        X,
        BINARY,
        None,
        r"class_weight has the labels \['maybe'\], but the classes of y are \['no', 'yes'\]",
    ),
    ({"class_weight": {"yes": -1.0}}, X, BINARY, None, r"class_weight\['yes'\] is -1.0.*>= 0"),
    ({"class_weight": {"yes": np.inf}}, X, BINARY, None, r"class_weight\['yes'\] is inf"),
    ({"class_weight": {"yes": "1"}}, X, BINARY, None, r"class_weight\['yes'\] is '1'"),
    ({"class_weight": "even"}, X, BINARY, None, r"'class_weight'.*'balanced'.*Got 'even'"),
    ({"loss": "hinge"}, X, BINARY, None, r"'loss'.*Got 'hinge'"),
    ({"p": -1}, X, BINARY, None, r"'p'.*Got -1"),
    ({"solver": "gd"}, X, BINARY, None, r"solver='gd' needs p > 1"),
    ({"penalty_factor": ONES}, X, BINARY, None, r"penalty_factor has shape \(80,\)"),
]


@pytest.mark.parametrize(
    ("parameters", "data", "y", "weights", "message"), WRONG, ids=[case[-1] for case in WRONG]
)
def test_wrong_input_is_refused_and_leaves_the_former_fit(parameters, data, y, weights, message):
    unfitted = SparseLpClassifier(**parameters)
    with pytest.raises(ValueError, match=message):
        unfitted.fit(data, y, sample_weight=weights)
    assert not [name for name in vars(unfitted) if name.endswith("_")]
    fitted = fit().set_params(**parameters)
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match=message):
        fitted.fit(data, y, sample_weight=weights)
    assert all(vars(fitted)[name] is value for name, value in before.items())
    assert len(vars(fitted)) == len(before)


def test_sparse_labels_are_a_type_error():
    with pytest.raises(TypeError, match=r"y is a csr_array.*toarray"):
        SparseLpClassifier().fit(X, sparse.csr_array(YES[:, np.newaxis]))


def test_labels_that_were_never_seen_count_as_wrong():
    model = fit()
    right = model.predict(X) == BINARY
    rare = np.where(np.arange(N) == 3, "maybe", BINARY)
    expected = (right & (np.arange(N) != 3)).mean()
    assert model.score(X, rare) == pytest.approx(expected, abs=1e-15)
    weights = np.where(np.arange(N) == 3, N, 1.0)
    expected = right[np.arange(N) != 3].sum() / weights.sum()
    assert model.score(X, rare, sample_weight=weights) == pytest.approx(expected, abs=1e-15)
    assert model.score(X[3:4], rare[3:4]) == 0.0


@pytest.mark.parametrize("estimator", [SparseLpClassifier, SparseLpSGDClassifier])
def test_a_class_that_a_training_fold_lacks_leaves_cross_validation_finite(estimator):
    rare = np.where(np.arange(N) == 3, "maybe", BINARY)
    scores = cross_val_score(estimator(alpha=0.01), X, rare, cv=KFold(4))
    assert np.isfinite(scores).all()
    assert scores.mean() > 0.6


@pytest.mark.parametrize(
    "call", ["predict", "decision_function", "predict_proba", "predict_log_proba"]
)
def test_a_model_is_used_after_its_fit_and_with_its_features(call):
    with pytest.raises(NotFittedError):
        getattr(SparseLpClassifier(), call)(X)
    with pytest.raises(ValueError, match="X has 3 features, but SparseLpClassifier is expecting"):
        getattr(fit(), call)(X[:, :3])


@pytest.mark.parametrize("call", ["sparsify", "densify"])
def test_coefficients_are_stored_otherwise_after_a_fit_only(call):
    with pytest.raises(NotFittedError):
        getattr(SparseLpClassifier(), call)()


@pytest.mark.parametrize("alpha", [1e-2, 1e-3, 1e-4])
def test_squared_hinge_on_separable_wide_data_ends_with_a_small_gap(alpha):
    # Full Newton steps alone go to and fro between sets of samples within the margin.
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((60, 300))
    y = wide[:, :6] @ [2, -2, 2, -2, 1, 1.0] + rng.logistic(size=60) > 0
    model = SparseLpClassifier(2.0, alpha, loss="squared_hinge", solver="cd", tol=1e-6)
    assert model.fit(wide, y).dual_gap_[0] <= 1e-6
