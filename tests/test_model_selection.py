"""The estimators that choose p, alpha and the mask, against scikit-learn and single fits."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LassoCV, LogisticRegressionCV
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpClassifierCV,
    SparseLpRegressor,
    SparseLpRegressorCV,
    sparse_lp_path,
)
from sklearn_sparselp._callbacks import CallbackSupportMixin

RNG = np.random.default_rng(0)
N, D = 90, 30
X = RNG.normal(size=(N, D))
X[RNG.random((N, D)) < 0.3] = 0.0
Y = X[:, :3] @ [2.0, -1.5, 1.0] + RNG.normal(size=N)
LABELS = np.where(Y + RNG.normal(size=N) > 0.0, "yes", "no")
CLASSES = np.digitize(Y, [-1.0, 1.0])
WEIGHTS = RNG.integers(1, 4, N).astype(float)
NEW = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
L1_CV = {"l1_ratios": (1.0,), "use_legacy_attributes": False} if NEW else {"penalty": "l1"}
TARGETS = {
    "squared_error": Y,
    "huber": Y,
    "poisson": np.floor(np.exp(0.4 * Y)),
    "gamma": np.exp(0.4 * Y),
    "log_loss": LABELS,
    "squared_hinge": LABELS,
    "multinomial": CLASSES,
    "one_vs_rest": CLASSES,
}


def tuned(name, **parameters):
    """An estimator of a few candidates; the name of a target says the loss."""
    loss = {"multinomial": "log_loss", "one_vs_rest": "squared_hinge"}.get(name, name)
    kind = SparseLpClassifierCV if loss in ("log_loss", "squared_hinge") else SparseLpRegressorCV
    return kind(**({"loss": loss, "alphas": 8, "eps": 3e-2, "cv": 4} | parameters))


def single(model, p, alpha, tau, **parameters):
    """The estimator of one candidate."""
    kind = SparseLpClassifier if isinstance(model, SparseLpClassifierCV) else SparseLpRegressor
    shared = {k: v for k, v in model.get_params().items() if k in kind._get_param_names()}
    return kind(**(shared | {"p": p, "alpha": alpha, "sparsity_threshold": tau} | parameters))


@pytest.fixture(autouse=True)
def _check_of_array_api_input_runs(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@parametrize_with_checks(
    [
        SparseLpRegressorCV(alphas=10),
        SparseLpRegressorCV(
            [0.5, 1], alphas=6, sparsity_threshold=[0, 0.05], selection_rule="one_se", n_jobs=2
        ),
        SparseLpRegressorCV(alphas=6, criterion="bic", refit="relaxed"),
        SparseLpRegressorCV(1.5, alphas=6, loss="huber", refit="relaxed"),
        SparseLpClassifierCV(alphas=5),
        SparseLpClassifierCV([0.5, 2], alphas=6, loss="squared_hinge", n_jobs=2),
        SparseLpClassifierCV(alphas=6, criterion="aic", l2_reg=1e-3, refit="relaxed"),
        SparseLpClassifierCV(0.5, alphas=3, scoring="balanced_accuracy", l2_reg=1e-3),
    ]
)
def test_estimator_passes_scikit_learns_check(estimator, check):
    with warnings.catch_warnings():
        # The data of some checks can be separated or are noise.
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize("storage", ["dense", "csr"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_p_1_chooses_the_alpha_of_lasso_cv_by_the_same_scores(storage, fit_intercept):
    data, y = load_diabetes(return_X_y=True)
    data = data if storage == "dense" else sparse.csr_array(np.where(data > 0.0, data, 0.0))
    common = {"cv": KFold(4, shuffle=True, random_state=0), "fit_intercept": fit_intercept}
    common |= {"max_iter": 100_000, "tol": 1e-10}
    # The number of alphas was called n_alphas before scikit-learn 1.7.
    grid = "n_alphas" if LassoCV().alphas is None else "alphas"
    peer = LassoCV(**{grid: 40}, **common).fit(data, y)
    ours = SparseLpRegressorCV(alphas=40, **common).fit(data, y)
    np.testing.assert_allclose(ours.alphas_[0, 0], peer.alphas_, rtol=1e-10)
    np.testing.assert_allclose(-ours.cv_scores_[0, 0], peer.mse_path_, rtol=1e-6)
    assert ours.best_index_ == (0, 0, int(np.argmin(peer.mse_path_.mean(axis=1))))
    assert ours.alpha_ == pytest.approx(peer.alpha_, rel=1e-10)
    np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
def test_p_1_chooses_the_c_of_logistic_regression_cv_by_the_same_scores(scoring):
    data, y = load_breast_cancer(return_X_y=True)
    data, y = scale(data[:240, :8]), y[:240]
    splits = list(StratifiedKFold(4, shuffle=True, random_state=0).split(data, y))
    size = len(splits[0][0])
    # Its C does not scale with the size of a fold, so that folds have to be of one size.
    assert all(len(train) == size for train, _ in splits)
    strengths = np.geomspace(0.02, 0.3, 5)
    with warnings.catch_warnings():
        # Releases of scikit-learn differ in how they say L1.
        warnings.simplefilter("ignore", FutureWarning)
        peer = LogisticRegressionCV(
            Cs=strengths, cv=splits, solver="saga", scoring=scoring, tol=1e-8,
            max_iter=100_000, random_state=0, **L1_CV,
        ).fit(data, y)  # fmt: skip
    alphas = 1.0 / (size * strengths)
    ours = SparseLpClassifierCV(alphas=alphas, cv=splits, scoring=scoring, tol=1e-10).fit(data, y)
    scores = peer.scores_ if isinstance(peer.scores_, np.ndarray) else peer.scores_[1]
    np.testing.assert_allclose(ours.cv_scores_[0, 0].T, scores.reshape(4, 5), atol=1e-6)
    assert 1.0 / (size * ours.alpha_) == pytest.approx(np.ravel(peer.C_)[0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_scores_are_those_of_single_fits_to_the_training_samples(name, weighted):
    y, weights = TARGETS[name], WEIGHTS if weighted else np.ones(N)
    folds = list(KFold(3, shuffle=True, random_state=1).split(X))
    model = tuned(name, p=[0.5, 1], alphas=5, cv=folds, tol=1e-9, max_iter=20_000)
    model.fit(X, y, weights if weighted else None)
    scorer = {
        "squared_error": "neg_mean_squared_error",
        "poisson": "neg_mean_poisson_deviance",
        "gamma": "neg_mean_gamma_deviance",
        "log_loss": "neg_log_loss",
        "multinomial": "neg_log_loss",
    }.get(name, "accuracy")
    for (train, test), position in zip(folds, range(3), strict=True):
        for k in (1, 4):
            alpha = model.alphas_[1, 0, k]
            fit = single(model, 1.0, alpha, 0.0).fit(X[train], y[train], weights[train])
            if name == "huber":
                r = np.abs(y[test] - fit.predict(X[test]))
                loss = np.where(r <= 1.35, r * r / 2, 1.35 * r - 1.35**2 / 2)
                expected = -np.average(loss, weights=weights[test])
            else:
                expected = get_scorer(scorer)(fit, X[test], y[test], sample_weight=weights[test])
            assert model.cv_scores_[1, 0, k, position] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["squared_error", "log_loss", "multinomial"])
def test_a_scorer_sees_the_models_whose_scores_are_computed_at_once(name):
    scoring = {"squared_error": "neg_mean_squared_error"}.get(name, "accuracy")
    at_once = tuned(name, scoring=scoring).fit(X, TARGETS[name])
    asked = tuned(name, scoring=get_scorer(scoring)).fit(X, TARGETS[name])
    np.testing.assert_allclose(asked.cv_scores_, at_once.cv_scores_, rtol=1e-12)
    other = {"squared_error": "r2"}.get(name, "roc_auc_ovr")
    assert np.isfinite(tuned(name, scoring=other).fit(X, TARGETS[name]).cv_scores_).all()


@pytest.mark.parametrize("refit", ["penalised", "relaxed"])
@pytest.mark.parametrize("name", ["squared_error", "poisson", "log_loss", "multinomial"])
def test_the_model_is_a_fit_of_all_samples_with_the_choice(name, refit):
    y = TARGETS[name]
    parameters = {"p": [1, 2], "l2_reg": 1e-2, "tol": 1e-10, "selection_rule": "one_se"}
    model = tuned(name, refit=refit, **parameters).fit(X, y)
    chosen = single(model, model.p_, model.alpha_, model.sparsity_threshold_).fit(X, y)
    if refit == "relaxed":
        used = np.atleast_2d(chosen.mask_).any(axis=0)
        chosen = single(model, 1.0, 0.0, 0.0).fit(X[:, used], y)
        assert not model.coef_[..., ~used].any()
        found, expected = model.predict(X), chosen.predict(X[:, used])
    else:
        found, expected = model.predict(X), chosen.predict(X)
        assert model.objective_ == pytest.approx(chosen.objective_, rel=1e-8)
        row = model.path_.coefs[0] if isinstance(model.path_.coefs, list) else model.path_.coefs
        k = model.best_index_[2]
        dense = row[[k]].toarray() if sparse.issparse(row) else row[[k]]
        np.testing.assert_array_equal(dense[0], np.atleast_2d(model.coef_)[0])
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    else:
        assert (found == expected).all()


def test_relaxed_keeps_the_ridge():
    model = tuned("squared_error", refit="relaxed", l2_reg=0.5, tol=1e-10).fit(X, Y)
    used = model.mask_
    centred, y = X[:, used] - X[:, used].mean(axis=0), Y - Y.mean()
    ridge = np.linalg.solve(centred.T @ centred / N + 0.5 * np.eye(used.sum()), centred.T @ y / N)
    np.testing.assert_allclose(model.coef_[used], ridge, rtol=1e-6)


def test_of_the_models_within_one_standard_error_the_sparsest_is_chosen():
    parameters = {"p": [0.9, 1], "alphas": 40, "eps": 1e-3}
    model = tuned("squared_error", selection_rule="one_se", **parameters).fit(X, Y)
    mean = model.cv_scores_.mean(axis=-1)
    best = np.unravel_index(mean.argmax(), mean.shape)
    error = model.cv_scores_[best].std(ddof=1) / np.sqrt(model.cv_scores_.shape[-1])
    allowed = mean >= mean[best] - error
    assert allowed[model.best_index_]
    assert model.cv_df_[model.best_index_] == model.cv_df_[allowed].min()
    assert model.cv_df_[model.best_index_] < model.cv_df_[best]
    plain = tuned("squared_error", **parameters).fit(X, Y)
    assert plain.best_index_ == best


def test_without_sparsity_one_standard_error_goes_to_the_strongest_penalty():
    model = tuned("squared_error", p=2.0, alphas=20, eps=1e-4, selection_rule="one_se").fit(X, Y)
    mean = model.cv_scores_.mean(axis=-1)[0, 0]
    error = model.cv_scores_[0, 0, mean.argmax()].std(ddof=1) / 2.0
    assert model.best_index_[2] == np.flatnonzero(mean >= mean.max() - error)[0]


@pytest.mark.parametrize("p", [0.0, 0.5, 0.9, 1.0])
def test_a_mask_that_changes_nothing_shares_the_path_and_another_is_followed_anew(p):
    tau = 0.08
    parameters = {"p": p, "eps": 1e-4, "tol": 1e-10}
    together = tuned("squared_error", sparsity_threshold=[tau, 0.0], **parameters).fit(X, Y)
    alone = tuned("squared_error", sparsity_threshold=tau, **parameters).fit(X, Y)
    np.testing.assert_array_equal(together.alphas_[0, 0], alone.alphas_[0, 0])
    np.testing.assert_allclose(together.cv_scores_[0, 0], alone.cv_scores_[0, 0], rtol=1e-7)
    free, masked = together.coefs_paths_[0, 1, 0], together.coefs_paths_[0, 0, 0]
    free, masked = (c.toarray() if sparse.issparse(c) else c for c in (free, masked))
    # The prox jumps over (0, tau) down to this alpha.
    jump = np.array([(2.0 * (1.0 - p) * a / X.var(axis=0).max()) for a in together.alphas_[0, 0]])
    void = jump ** (1.0 / (2.0 - p)) > 1.2 * tau
    assert void.any() == (p < 1.0)
    np.testing.assert_array_equal(free[void], masked[void])
    assert (free[-1] != masked[-1]).any()


def test_masks_of_which_none_acts_cost_one_path(monkeypatch):
    import sklearn_sparselp._tuning as tuning

    lengths = []

    class Counted(tuning.Follow):
        def __init__(self, problems, alphas, *args, **options):
            lengths.append(alphas.size)
            super().__init__(problems, alphas, *args, **options)

    monkeypatch.setattr(tuning, "Follow", Counted)
    model = tuned("squared_error", p=0.5, sparsity_threshold=[0.0, 1e-6, 1e-5], cv=3)
    model.fit(X, Y)
    assert lengths == [8] * 4


@pytest.mark.parametrize("name", ["squared_error", "multinomial", "one_vs_rest"])
def test_the_number_of_threads_changes_no_bit(name):
    parameters = {"p": [0.5, 1], "sparsity_threshold": [0.0, 0.1], "max_iter": 20_000}
    one = tuned(name, **parameters).fit(X, TARGETS[name])
    two = tuned(name, n_jobs=2, **parameters).fit(X, TARGETS[name])
    assert (one.cv_scores_ == two.cv_scores_).all()
    assert (one.coef_ == two.coef_).all()
    assert one.best_index_ == two.best_index_


@pytest.mark.parametrize("name", ["squared_error", "log_loss"])
def test_weights_repeat_rows_and_zero_weights_drop_them(name):
    y, weights = TARGETS[name], RNG.integers(0, 3, N).astype(float)
    fold = np.arange(N) % 4
    repeats = weights.astype(int)
    fold_of_copy = np.repeat(fold, repeats)
    splits = [[(np.flatnonzero(f != k), np.flatnonzero(f == k)) for k in range(4)]
              for f in (fold, fold_of_copy)]  # fmt: skip
    a = tuned(name, cv=splits[0], tol=1e-10).fit(X, y, weights)
    b = tuned(name, cv=splits[1], tol=1e-10).fit(np.repeat(X, repeats, 0), np.repeat(y, repeats))
    np.testing.assert_allclose(a.alphas_, b.alphas_, rtol=1e-10)
    np.testing.assert_allclose(a.cv_scores_, b.cv_scores_, rtol=1e-5)
    for criterion in ("aic", "bic", "ebic"):
        a = tuned(name, criterion=criterion, tol=1e-10).fit(X, y, weights)
        b = tuned(name, criterion=criterion, tol=1e-10)
        b.fit(np.repeat(X, repeats, 0), np.repeat(y, repeats))
        np.testing.assert_allclose(a.criterion_, b.criterion_, rtol=1e-6)


@pytest.mark.parametrize("criterion", ["aic", "bic", "ebic"])
@pytest.mark.parametrize("name", ["squared_error", "poisson", "log_loss", "multinomial"])
def test_criteria_follow_their_definition(name, criterion):
    from math import comb

    y = TARGETS[name]
    fit = model = tuned(name, p=[0.5, 1], criterion=criterion).fit(X, y)
    df, n_coefs = np.count_nonzero(fit.coef_), fit.coef_.size
    if name == "squared_error":
        misfit = N * np.log(np.mean((y - fit.predict(X)) ** 2))
    elif name == "poisson":
        misfit = -N * get_scorer("neg_mean_poisson_deviance")(fit, X, y)
    else:
        misfit = 2.0 * log_loss(y, fit.predict_proba(X), normalize=False)
    expected = misfit + {"aic": 2.0}.get(criterion, np.log(N)) * df
    if criterion == "ebic":
        expected += 2.0 * np.log(comb(n_coefs, df))
    least = model.criterion_[model.best_index_]
    assert least == model.criterion_.min()
    assert least == pytest.approx(expected, rel=1e-9)
    assert not hasattr(model, "cv_scores_")


def test_a_criterion_needs_a_likelihood_and_models_that_are_not_saturated():
    with pytest.raises(ValueError, match=r"criterion='bic' needs a likelihood.*got loss='huber'"):
        tuned("huber", criterion="bic").fit(X, Y)
    with pytest.raises(ValueError, match="undefined on the whole grid"):
        tuned("squared_error", criterion="aic", alphas=[1e-6]).fit(X[:40], Y[:40])


def test_groups_and_weights_are_routed():
    groups = RNG.integers(0, 6, N)
    expected = list(GroupKFold(3).split(X, Y, groups))
    by_hand = tuned("squared_error", cv=expected).fit(X, Y, WEIGHTS)
    with config_context(enable_metadata_routing=True):
        splitter = GroupKFold(3).set_split_request(groups=True)
        model = tuned("squared_error", cv=splitter).set_fit_request(sample_weight=True)
        model.fit(X, Y, sample_weight=WEIGHTS, groups=groups)
        np.testing.assert_array_equal(model.cv_scores_, by_hand.cv_scores_)
        scorer = get_scorer("r2").set_score_request(sample_weight=True)
        weighted = tuned("squared_error", cv=splitter, scoring=scorer, n_jobs=2)
        weighted.fit(X, Y, sample_weight=WEIGHTS, groups=groups)
    plain = tuned("squared_error", cv=expected, scoring="r2").fit(X, Y, WEIGHTS)
    np.testing.assert_array_equal(weighted.cv_scores_, plain.cv_scores_)
    with pytest.raises(ValueError, match="groups"):
        model.fit(X, Y, groups=groups)


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_storage_and_precision_are_kept(storage, dtype):
    model = tuned("squared_error").fit(storage(X.astype(dtype)), Y)
    dense = tuned("squared_error").fit(X, Y)
    assert model.coef_.dtype == dtype
    assert model.predict(storage(X.astype(dtype))).dtype == dtype
    np.testing.assert_allclose(model.cv_scores_, dense.cv_scores_, rtol=2e-3)


def test_ten_folds_take_little_more_memory_than_one_fit():
    n, d = 2000, 10_000
    wide = sparse.random_array((n, d), density=0.02, rng=np.random.default_rng(0), format="csr")
    y = wide[:, :5] @ np.ones(5) + 0.1 * RNG.normal(size=n)
    size = wide.data.nbytes + wide.indices.nbytes + wide.indptr.nbytes

    def peak(fit):
        fit()
        tracemalloc.start()
        fit()
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size + used

    alphas = np.geomspace(1.0, 0.1, 10) * 1e-2
    one = peak(lambda: SparseLpRegressor(alpha=alphas[-1]).fit(wide, y))
    folds = peak(lambda: SparseLpRegressorCV(alphas=alphas, cv=10).fit(wide, y))
    assert folds <= 1.5 * one


def test_searches_in_a_pipeline_tune_p_alpha_and_mask():
    data, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), SparseLpRegressor())
    grid = {
        "sparselpregressor__p": [0.5, 1],
        "sparselpregressor__alpha": [0.1, 1.0, 10.0],
        "sparselpregressor__sparsity_threshold": [0.0, 1.0],
    }
    full = GridSearchCV(pipeline, grid, cv=3).fit(data, y)
    assert full.best_score_ == max(full.cv_results_["mean_test_score"])
    drawn = RandomizedSearchCV(pipeline, grid, n_iter=5, cv=3, random_state=0).fit(data, y)
    halved = HalvingGridSearchCV(pipeline, grid, cv=3, random_state=0).fit(data, y)
    for search in (drawn, halved):
        assert search.best_score_ > 0.2
    nested = cross_val_score(make_pipeline(StandardScaler(), tuned("squared_error")), data, y)
    assert nested.mean() > 0.4


def test_the_grid_search_of_the_same_candidates_agrees():
    folds = KFold(4, shuffle=True, random_state=0)
    model = tuned("squared_error", p=[0.5, 1], cv=folds, tol=1e-10).fit(X, Y)
    for i, p in enumerate((0.5, 1)):
        if p == 1:
            search = GridSearchCV(
                SparseLpRegressor(tol=1e-10), {"alpha": model.alphas_[i, 0]},
                cv=folds, scoring="neg_mean_squared_error",
            ).fit(X, Y)  # fmt: skip
            np.testing.assert_allclose(
                search.cv_results_["mean_test_score"], model.cv_scores_[i, 0].mean(-1), rtol=1e-6
            )


def test_a_model_pickles_and_a_second_fit_leaves_nothing_of_the_first():
    model = tuned("multinomial").fit(X, CLASSES)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    model.set_params(criterion="aic").fit(X, LABELS)
    assert not hasattr(model, "cv_scores_")
    assert not hasattr(model, "coefs_paths_")
    assert model.classes_.tolist() == ["no", "yes"]
    assert not hasattr(tuned("multinomial", store_cv_paths=False).fit(X, CLASSES), "coefs_paths_")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"p": -1.0}, "'p' parameter"),
        ({"p": [1.0, -1.0]}, "'p' parameter"),
        ({"p": []}, "p must be a number or a non-empty vector"),
        ({"p": ["a"]}, "p must be a number"),
        ({"sparsity_threshold": [[0.1]]}, "sparsity_threshold must be a number"),
        ({"alphas": 0}, "'alphas' parameter"),
        ({"alphas": [1.0, -1.0]}, "alphas must be finite and >= 0"),
        ({"eps": 0.0}, "'eps' parameter"),
        ({"cv": 1}, "'cv' parameter"),
        ({"cv": 200}, "Cannot have number of splits"),
        ({"scoring": "nonsense"}, "'nonsense' is not a valid scoring"),
        ({"selection_rule": "worst"}, "'selection_rule' parameter"),
        ({"refit": True}, "'refit' parameter"),
        ({"criterion": "dic"}, "'criterion' parameter"),
        ({"solver": "gd", "p": [1.5, 1.0]}, "solver='gd' needs p > 1"),
        ({"cv": [(np.arange(0), np.arange(5))]}, "training samples of fold 0 have no weight"),
    ],
)
def test_what_is_not_valid_is_an_error_that_changes_nothing(parameters, message):
    model = tuned("squared_error").fit(X, Y)
    before = dict(vars(model))
    model.set_params(**parameters)
    after = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is after[name] for name in after)


def test_folds_must_train_on_every_class_and_test_on_some_weight():
    y = np.repeat([0, 1, 2], 30)
    with pytest.raises(ValueError, match="fold 0 trains on no sample of class 0"):
        tuned("multinomial", cv=KFold(3)).fit(X, y)
    weights = np.ones(N)
    weights[:30] = 0.0
    with pytest.raises(ValueError, match="test samples of fold 0 have no weight"):
        tuned("squared_error", cv=KFold(3)).fit(X, Y, weights)
    with pytest.raises(ValueError, match="y should be a 1d array"):
        tuned("squared_error").fit(X, np.column_stack([Y, Y]))


def test_few_members_of_a_class_mean_fewer_folds_by_default():
    y = np.r_[np.zeros(20), np.ones(3)]
    assert tuned("log_loss", cv=None).fit(X[:23], y).cv_scores_.shape[-1] == 3


def test_verbose_2_prints_a_line_for_each_fit_too(capsys):
    tuned("squared_error", alphas=7, cv=3, verbose=2).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("fold") for line in lines) == 3
    assert sum(line.startswith("alpha") for line in lines) == 7 * (3 + 1)


def test_verbose_prints_a_line_for_each_path_of_each_fold(capsys):
    tuned("squared_error", p=[0.5, 1], cv=3, verbose=1).fit(X, Y)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fold")]
    assert len(lines) == 6
    assert lines[0].startswith("fold 1 of 3, p=0.5, sparsity_threshold=0: 8 fits, score -")


def test_one_warning_speaks_of_all_folds():
    with pytest.warns(ConvergenceWarning) as caught:
        tuned("squared_error", max_iter=1, tol=1e-14).fit(X, Y)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert "fits of the cross-validation stopped at max_iter=1" in messages[0]
    assert "fits of the path of all samples stopped at max_iter=1" in messages[1]
    assert all(warning.filename == __file__ for warning in caught)


class Recorder:
    """A callback that writes down the tasks."""

    def __init__(self):
        self.begun, self.ended, self.open = [], [], 0

    def setup(self, estimator, context):
        self.open += 1

    def teardown(self, estimator, context):
        self.open -= 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.task_name, context.task_id, context.max_subtasks))


@pytest.mark.skipif(
    not hasattr(CallbackSupportMixin, "set_callbacks"), reason="scikit-learn has no callbacks"
)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_callbacks_follow_folds_paths_and_fits(n_jobs):
    recorder = Recorder()
    model = tuned("squared_error", p=[0.5, 1], cv=3, n_jobs=n_jobs)
    model.set_callbacks(recorder).fit(X, Y)
    assert sorted(recorder.begun) == sorted(recorder.ended)
    names = [name for name, _, _ in recorder.begun]
    assert [names.count(n) for n in ("fit", "fold", "path", "alpha", "refit")] == [1, 3, 7, 56, 1]
    assert recorder.open == 0
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.full_like(X, np.inf), Y)
    assert recorder.open == 0
    again = tuned("squared_error", p=[0.5, 1], cv=3, criterion="aic")
    again.set_callbacks(recorder).fit(X, Y)
    assert sorted(recorder.begun) == sorted(recorder.ended)


@pytest.mark.skipif(
    not hasattr(CallbackSupportMixin, "set_callbacks"), reason="scikit-learn has no callbacks"
)
def test_scikit_learns_progress_bar_shows_the_folds(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    tuned("squared_error", cv=3).set_callbacks(ProgressBar()).fit(X, Y)
    assert "SparseLpRegressorCV" in capsys.readouterr().out


def test_strings_and_names_pass_through():
    pd = pytest.importorskip("pandas")
    data = load_iris(as_frame=True)
    model = SparseLpClassifierCV(alphas=10).fit(data.data, data.target_names[data.target])
    assert model.feature_names_in_.tolist() == data.data.columns.tolist()
    assert set(model.classes_) == set(data.target_names)
    assert model.score(data.data, data.target_names[data.target]) > 0.9
    assert isinstance(data.data, pd.DataFrame)


def test_paths_of_folds_are_paths():
    folds = list(KFold(3).split(X))
    model = tuned("squared_error", cv=folds, tol=1e-10).fit(X, Y)
    train = folds[1][0]
    path = sparse_lp_path(X[train], Y[train], alphas=model.alphas_[0, 0], tol=1e-10)
    expected = path.coefs.toarray() if sparse.issparse(path.coefs) else path.coefs
    found = model.coefs_paths_[0, 0, 1]
    found = found.toarray() if sparse.issparse(found) else found
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
