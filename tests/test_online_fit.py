"""Fits and streams of the online estimators: optima, stopping, starts, files, errors."""

import copy
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file
from sklearn.exceptions import ConvergenceWarning
from test_online import data

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpRegressor,
    SparseLpSGDClassifier,
    SparseLpSGDRegressor,
)

ONLINE = [SparseLpSGDRegressor, SparseLpSGDClassifier]


def objective(model, X, y, loss, alpha, p, l2_reg):
    f = X @ np.ravel(model.coef_) + model.intercept_
    w = np.ravel(model.coef_)
    value = 0.5 * (y - f) ** 2 if loss == "squared_error" else np.logaddexp(0.0, -y * f)
    return value.mean() + alpha * (np.abs(w) ** p).sum() + l2_reg / 2 * w @ w


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("learning_rate", ["invscaling", "adagrad", "adaptive"])
def test_objective_comes_within_a_hundredth_of_the_batch_optimum(loss, p, learning_rate):
    X, y, labels = data(n_samples=500, seed=5)
    terms = {"p": p, "alpha": 0.02, "l2_reg": 0.01}
    target = y if loss == "squared_error" else labels
    batch = SparseLpRegressor if loss == "squared_error" else SparseLpClassifier
    cls = SparseLpSGDRegressor if loss == "squared_error" else SparseLpSGDClassifier
    best = objective(batch(tol=1e-10, **terms).fit(X, target), X, target, loss, **terms)
    eta0 = {"invscaling": 0.1, "adagrad": 0.3, "adaptive": 0.05}[learning_rate]
    options = {"learning_rate": learning_rate, "eta0": eta0, "power_t": 0.5, "random_state": 0}
    model = cls(loss, max_iter=300, tol=None, average=50_000, **options, **terms).fit(X, target)
    assert best <= objective(model, X, target, loss, **terms) <= 1.01 * best


def test_weights_of_a_fit_have_the_optimum_of_repeated_samples():
    X, y, _ = data(n_samples=300, seed=6)
    weights = np.random.default_rng(0).integers(0, 4, 300).astype(float)
    options = {"alpha": 0.02, "max_iter": 300, "tol": None, "average": 50_000, "random_state": 0}
    model = SparseLpSGDRegressor(**options).fit(X, y, sample_weight=weights)
    repeats = np.repeat(np.arange(300), weights.astype(int))
    best = SparseLpRegressor(alpha=0.02, tol=1e-10).fit(X[repeats], y[repeats])
    np.testing.assert_allclose(model.coef_, best.coef_, atol=0.02)


def test_batch_seeds_online_and_online_seeds_batch():
    X, y, labels = data()
    for batch, online, target in (
        (SparseLpRegressor(alpha=0.01, warm_start=True), SparseLpSGDRegressor(), y),
        (SparseLpClassifier(alpha=0.01, warm_start=True), SparseLpSGDClassifier(), labels),
    ):
        batch.fit(X, target)
        online.set_params(alpha=0.01, max_iter=1, tol=None, eta0=1e-12)
        online.set_params(learning_rate="constant")
        online.fit(X, target, coef_init=batch.coef_, intercept_init=batch.intercept_)
        np.testing.assert_allclose(online.coef_, batch.coef_, atol=1e-8)
        np.testing.assert_allclose(online.intercept_, batch.intercept_, atol=1e-8)
        coef, objective = batch.coef_, batch.objective_
        batch.coef_, batch.intercept_ = online.coef_, online.intercept_
        assert np.all(batch.fit(X, target).n_iter_ <= 2)
        np.testing.assert_allclose(batch.objective_, objective, rtol=1e-4)
        np.testing.assert_allclose(batch.coef_, coef, atol=1e-2)


@pytest.mark.parametrize("cls", ONLINE)
def test_warm_start_goes_on_and_a_cold_fit_repeats_itself(cls):
    X, y, labels = data()
    y = y if cls is SparseLpSGDRegressor else labels
    options = {"alpha": 0.01, "random_state": 0, "max_iter": 3, "tol": None}
    cold = cls(**options).fit(X, y)
    assert cold.fit(X, y).coef_.tobytes() == cls(**options).fit(X, y).coef_.tobytes()
    warm = cls(warm_start=True, learning_rate="constant", **options | {"eta0": 1e-12}).fit(X, y)
    before = warm.set_params(eta0=0.05).fit(X, y).coef_
    np.testing.assert_allclose(warm.set_params(eta0=1e-12).fit(X, y).coef_, before, atol=1e-8)
    with pytest.raises(ValueError, match="has shape"):
        warm.fit(X[:, :5], y)
    assert warm.n_features_in_ == X.shape[1]


def test_multiclass_is_one_class_against_the_rest():
    X, y, _ = data(n_samples=300)
    codes = np.digitize(y, np.quantile(y, [0.33, 0.66]))
    labels = np.array(["low", "middle", "high"])[codes]
    options = {"alpha": 0.001, "shuffle": False, "max_iter": 4, "tol": None}
    model = SparseLpSGDClassifier(**options).fit(X, labels)
    assert model.coef_.shape == (3, X.shape[1])
    for k, name in enumerate(model.classes_):
        single = SparseLpSGDClassifier(**options).fit(X, labels == name)
        assert single.coef_[0].tobytes() == model.coef_[k].tobytes()
    odds = np.exp(model.decision_function(X))
    expected = odds / (1.0 + odds)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-9)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cls", ONLINE)
def test_early_stopping_ends_by_the_held_out_score(cls):
    X, y, labels = data(n_samples=400)
    y = y if cls is SparseLpSGDRegressor else labels
    options = {"early_stopping": True, "random_state": 0, "alpha": 1e-4}
    model = cls(max_iter=500, **options).fit(X, y, sample_weight=np.ones(400))
    assert 5 < model.n_iter_ < 500
    assert model.t_ == 1 + 360 * model.n_iter_
    assert model.score(X, y) > 0.85
    with pytest.raises(ValueError, match="early_stopping"):
        cls(**options).partial_fit(X, y)


def test_max_iter_warns():
    X, y, _ = data()
    with pytest.warns(ConvergenceWarning, match="max_iter=2") as caught:
        SparseLpSGDRegressor(max_iter=2).fit(X, y)
    assert caught[0].filename == __file__


def test_mask_is_strict_and_every_coefficient_is_beyond_it():
    X, y, _ = data()
    for interval in (None, 7):
        model = SparseLpSGDRegressor(sparsity_threshold=0.2, mask_interval=interval)
        model.set_params(max_iter=20, tol=None, random_state=0).fit(X, y)
        assert 0 < model.mask_.sum() < X.shape[1]
        assert np.abs(model.coef_[model.mask_]).min() > 0.2
        assert model.sparse_coef_.nnz == model.mask_.sum()


def test_class_weights_multiply_sample_weights():
    X, _, labels = data()
    weights = np.where(labels > 0, 3.0, 1.0)
    options = {"random_state": 0, "max_iter": 3, "tol": None}
    weighted = SparseLpSGDClassifier(**options).fit(X, labels, sample_weight=weights)
    by_class = SparseLpSGDClassifier(class_weight={1.0: 3.0}, **options).fit(X, labels)
    assert weighted.coef_.tobytes() == by_class.coef_.tobytes()
    parts = SparseLpSGDClassifier(class_weight={1.0: 3.0}, random_state=0)
    whole = SparseLpSGDClassifier(random_state=0)
    parts.partial_fit(X, labels, classes=[-1.0, 1.0])
    whole.partial_fit(X, labels, classes=[-1.0, 1.0], sample_weight=weights)
    assert parts.coef_.tobytes() == whole.coef_.tobytes()
    with pytest.raises(ValueError, match="balanced"):
        SparseLpSGDClassifier(class_weight="balanced").partial_fit(X, labels, classes=[-1, 1])


def wrong_calls():
    X, y, labels = data()
    ok = {"classes": [-1.0, 1.0]}
    yield SparseLpSGDRegressor(), (X[:, :4], y), {}, "4 features.*25 features"
    yield SparseLpSGDClassifier(), (X, labels + 1.0), {}, r"not among the classes \[-1.0, 1.0\]"
    yield SparseLpSGDClassifier(), (X, labels), {"classes": [0, 1]}, "keeps its classes"
    yield SparseLpSGDRegressor(), (X, np.full(len(y), np.nan)), {}, "NaN"
    yield SparseLpSGDRegressor(), (X, y[:-1]), {}, "inconsistent"
    yield SparseLpSGDClassifier(), (X, labels), ok | {"sample_weight": [-1.0] * 120}, "Negative"
    yield SparseLpSGDRegressor(), (X, y), {"sample_weight": [1.0]}, "sample_weight"


@pytest.mark.parametrize(("model", "arguments", "options", "message"), list(wrong_calls()))
def test_a_wrong_chunk_is_a_clear_error_and_changes_nothing(model, arguments, options, message):
    X, y, labels = data()
    if isinstance(model, SparseLpSGDRegressor):
        model.partial_fit(X, y)
    else:
        model.partial_fit(X, labels, classes=[-1.0, 1.0])
    before, steps = model.coef_.copy(), model.t_
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*arguments, **options)
    assert model.coef_.tobytes() == before.tobytes()
    assert model.t_ == steps


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"alpha": -1.0}, "alpha"),
        ({"p": -0.5}, "'p'"),
        ({"mask_interval": 0}, "mask_interval"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": "optimal", "alpha": 0.0}, "optimal"),
        ({"penalty_factor": [1.0, 2.0]}, "penalty_factor"),
    ],
)
@pytest.mark.parametrize("cls", ONLINE)
def test_wrong_parameters_are_named_and_nothing_is_fitted(cls, parameters, message):
    X, y, labels = data()
    y = y if cls is SparseLpSGDRegressor else labels
    more = {} if cls is SparseLpSGDRegressor else {"classes": [-1.0, 1.0]}
    for call in (lambda m: m.fit(X, y), lambda m: m.partial_fit(X, y, **more)):
        model = cls(**parameters)
        with pytest.raises(ValueError, match=message):
            call(model)
        assert not hasattr(model, "coef_")
        assert not hasattr(model, "n_features_in_")


def test_a_model_that_diverges_says_so_and_a_fit_leaves_the_former_one():
    X, y, _ = data()
    model = SparseLpSGDRegressor(max_iter=5, tol=None).fit(X, y)
    before = model.coef_.copy()
    model.set_params(learning_rate="constant", eta0=1e10, max_iter=100)
    with pytest.raises(ValueError, match="Decrease eta0"):
        model.fit(1e200 * X, y)
    assert model.coef_.tobytes() == before.tobytes()


def test_stream_of_chunks_is_partial_fit():
    X, y, _ = data()
    chunks = [(X[:50], y[:50]), (sparse.csr_array(X[50:]), y[50:], np.ones(70))]
    options = {"alpha": 0.01, "shuffle": False, "random_state": 0}
    streamed = SparseLpSGDRegressor(**options).fit_stream(iter(chunks))
    whole = SparseLpSGDRegressor(**options).partial_fit(X, y)
    assert streamed.coef_.tobytes() == whole.coef_.tobytes()
    # anew unless warm_start
    assert streamed.fit_stream(chunks).coef_.tobytes() == whole.coef_.tobytes()
    assert streamed.set_params(warm_start=True).fit_stream(chunks).t_ == 241


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("block_size", [100, 1000, 10**6])
def test_stream_of_an_svmlight_file_is_one_pass(tmp_path, zero_based, block_size, capsys):
    X, _, labels = data()
    X = np.round(X, 3)
    path = tmp_path / "data.svm"
    dump_svmlight_file(X, labels, str(path), zero_based=zero_based)
    options = {"alpha": 0.01, "shuffle": False, "random_state": 0}
    model = SparseLpSGDClassifier(verbose=1, **options)
    reader = {"n_features": 25, "zero_based": zero_based, "block_size": block_size}
    model.fit_stream(path, [-1.0, 1.0], **reader)
    whole = SparseLpSGDClassifier(**options).partial_fit(X, labels, [-1.0, 1.0])
    assert model.coef_.tobytes() == whole.coef_.tobytes()
    lines = capsys.readouterr().out.splitlines()
    assert f"{120} samples" in lines[-1]
    assert len(lines) == 1 if block_size == 10**6 else len(lines) > 1
    with pytest.raises(ValueError, match="n_features"):
        SparseLpSGDClassifier().fit_stream(path, [-1.0, 1.0])
    with pytest.raises(ValueError, match="7"):
        SparseLpSGDClassifier().fit_stream(path, [-1.0, 1.0], **reader | {"n_features": 7})


def test_stream_of_a_parquet_file_is_one_pass(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    X, y, _ = data()
    weights = np.arange(120.0)
    columns = {f"x{j}": X[:, j] for j in range(25)} | {"weight": weights, "y": y}
    parquet.write_table(pyarrow.table(columns), tmp_path / "data.parquet", row_group_size=50)
    options = {"alpha": 0.01, "shuffle": False, "random_state": 0}
    model = SparseLpSGDRegressor(**options)
    model.fit_stream(tmp_path / "data.parquet", weight="weight", block_size=5000)
    whole = SparseLpSGDRegressor(**options).partial_fit(X, y, sample_weight=weights)
    assert model.coef_.tobytes() == whole.coef_.tobytes()
    with pytest.raises(ValueError, match="no column 'z'"):
        model.fit_stream(tmp_path / "data.parquet", target="z")


def test_wrong_streams_are_clear_errors(tmp_path):
    X, y, _ = data()
    model = SparseLpSGDRegressor()
    with pytest.raises(ValueError, match="no chunk"):
        model.fit_stream([])
    with pytest.raises(TypeError, match="iterable"):
        model.fit_stream(3)
    with pytest.raises(ValueError, match="chunk 2"):
        model.fit_stream([(X, y), X])
    assert model.t_ == 121  # the first one has been learned
    with pytest.raises(FileNotFoundError, match=r"nothing\.svm"):
        model.fit_stream(tmp_path / "nothing.svm", n_features=3)
    with pytest.raises(ValueError, match="block_size"):
        model.fit_stream([(X, y)], block_size=0)


def test_copies_go_their_own_way():
    X, y, _ = data()
    model = SparseLpSGDRegressor(p=0.5, random_state=0).partial_fit(X, y)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = model.coef_.tobytes()
        other.partial_fit(X, y)
        assert model.coef_.tobytes() == before != other.coef_.tobytes()
    assert other.coef_.tobytes() == model.partial_fit(X, y).coef_.tobytes()


def test_published_coefficients_cannot_be_written():
    X, y, _ = data()
    model = SparseLpSGDRegressor().partial_fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coef_[0] = 1.0


def test_ctrl_c_ends_a_long_fit():
    X, y, _ = data(n_samples=2000)
    model = SparseLpSGDRegressor(max_iter=10**8, tol=None)
    import _thread
    import time

    timer = threading.Timer(0.5, _thread.interrupt_main)
    # A process in the background starts without a handler.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.perf_counter()
    timer.start()
    try:
        with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    finally:
        signal.signal(signal.SIGINT, former)
    assert time.perf_counter() - started < 5.0
    assert not hasattr(model, "coef_")
