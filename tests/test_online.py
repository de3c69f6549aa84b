"""Lazy steps equal eager ones, whatever the order of the penalty, the rate or the chunks."""

import pickle
import threading

import numpy as np
import pytest
from reference_online import eager, loss_of, slope
from scipy import sparse

from sklearn_sparselp import SparseLpSGDClassifier, SparseLpSGDRegressor

REGRESSION = ("squared_error", "huber", "epsilon_insensitive")
CLASSIFICATION = ("log_loss", "hinge", "squared_hinge", "modified_huber")
RATES = ("constant", "optimal", "invscaling", "adaptive", "adagrad")
ORDERS = (0, 0.3, 0.5, 2 / 3, 1, 1.5, 2, 3, 2.5)


def data(n_samples=120, n_features=25, seed=0):
    """Sparse rows, a linear target, its sign."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * (rng.random((n_samples, n_features)) < 0.15)
    w = rng.normal(size=n_features) * (rng.random(n_features) < 0.5)
    y = X @ w + 0.3 + 0.1 * rng.normal(size=n_samples)
    return X, y, np.where(y > np.median(y), 1.0, -1.0)


def online(loss, **options):
    cls = SparseLpSGDRegressor if loss in REGRESSION else SparseLpSGDClassifier
    rate = "invscaling" if cls is SparseLpSGDRegressor else "optimal"
    return cls(loss, shuffle=False, **{"learning_rate": rate, "eta0": 0.01} | options)


def learned(model, X, y, sample_weight=None, cuts=()):
    """One pass in chunks that end at ``cuts``."""
    for rows in np.split(np.arange(X.shape[0]), list(cuts)):
        more = {} if isinstance(model, SparseLpSGDRegressor) else {"classes": [-1.0, 1.0]}
        own = None if sample_weight is None else sample_weight[rows]
        model.partial_fit(X[rows], y[rows], sample_weight=own, **more)
    return model


def assert_equals_eager(loss, X, y, weights=None, **options):
    model = learned(online(loss, **options), sparse.csr_array(X), y, weights)
    reference = {k: value for k, value in options.items() if value is not None}
    coef, intercept = eager(X, y, loss=loss, weights=weights, **reference)
    np.testing.assert_allclose(np.ravel(model.coef_), coef, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(model.intercept_[0], intercept, rtol=1e-9, atol=1e-13)
    return model


@pytest.mark.parametrize("average", [False, True, 40])
@pytest.mark.parametrize("learning_rate", RATES)
@pytest.mark.parametrize("p", ORDERS)
def test_lazy_equals_eager_for_every_order_rate_and_average(p, learning_rate, average):
    X, y, _ = data()
    # "optimal" starts with the rate 1 / (alpha t0): a penalty that keeps it below 1.
    alpha = 0.05 if p >= 1 else 0.01
    options = {"power_t": 0.25, "average": average, "eta0": 0.1}
    model = assert_equals_eager(
        "huber", X, y, p=p, alpha=alpha, learning_rate=learning_rate, epsilon=0.5, **options
    )
    assert np.any(model.coef_)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adagrad"])
@pytest.mark.parametrize("average", [False, 3])
@pytest.mark.parametrize("p", ORDERS)
def test_lazy_equals_eager_with_ridge_factors_mask_and_weights(p, average, learning_rate):
    X, y, _ = data(seed=1)
    rng = np.random.default_rng(2)
    factor = rng.choice([0.0, 0.5, 1.0, 2.0, np.inf], X.shape[1])
    options = {"l2_reg": 0.3, "penalty_factor": factor, "sparsity_threshold": 0.02}
    options |= {"mask_interval": 17, "average": average, "eta0": 0.1, "power_t": 0.25}
    weights = rng.choice([0.0, 0.5, 1.0, 2.0, 2.5], X.shape[0])
    assert_equals_eager(
        "squared_error", X, y, weights, p=p, alpha=0.02, learning_rate=learning_rate, **options
    )


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("learning_rate", ["constant", "adagrad"])
def test_lazy_equals_eager_whatever_the_number_of_stored_values(learning_rate, index):
    # The kernels take 4 and 16 features at once and fetch those of a next row, longer or shorter.
    rng = np.random.default_rng(5)
    sizes = rng.permutation(np.tile(np.arange(70), 4))
    X = np.zeros((sizes.size, 90))
    for row, size in zip(X, sizes, strict=True):
        row[rng.choice(90, size, replace=False)] = rng.normal(size=size)
    y = np.sign(X @ rng.normal(size=90) + 0.5)
    options = {"learning_rate": learning_rate, "eta0": 0.05, "alpha": 0.05}
    rows = sparse.csr_array(X)
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    model = learned(online("log_loss", **options), rows, y)
    coef, intercept = eager(X, y, loss="log_loss", p=1, **options)
    assert 20 < np.count_nonzero(model.coef_) < 90
    np.testing.assert_allclose(np.ravel(model.coef_), coef, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(model.intercept_[0], intercept, rtol=1e-9, atol=1e-13)
    cut = learned(online("log_loss", **options), rows, y, cuts=(1, 2, 150))
    assert cut.coef_.tobytes() == model.coef_.tobytes()


@pytest.mark.parametrize("p", [1, 2])
def test_lazy_equals_eager_with_a_ridge_so_strong_that_the_clock_starts_again(p):
    X, y, _ = data(n_samples=400)
    options = {"l2_reg": 20.0, "learning_rate": "constant", "eta0": 0.1, "alpha": 0.01}
    assert_equals_eager("squared_error", X, y, p=p, **options)


@pytest.mark.parametrize("loss", REGRESSION + CLASSIFICATION)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_lazy_equals_eager_for_every_loss(loss, fit_intercept):
    X, y, labels = data(seed=3)
    target = y if loss in REGRESSION else labels
    options = {"learning_rate": "constant", "eta0": 0.1, "fit_intercept": fit_intercept}
    assert_equals_eager(loss, X, target, p=1, alpha=0.01, **options)


@pytest.mark.parametrize("loss", REGRESSION + CLASSIFICATION)
def test_slopes_of_the_reference_are_derivatives_of_its_losses(loss):
    for y in (-1.0, 1.0):
        for f in (-2.3, -0.61, 0.37, 0.95, 1.7):
            step = 1e-6
            numeric = loss_of(loss, y, f + step, 0.1) - loss_of(loss, y, f - step, 0.1)
            assert slope(loss, y, f, 0.1) == pytest.approx(numeric / (2 * step), abs=1e-8)


@pytest.mark.parametrize("loss", REGRESSION + CLASSIFICATION)
def test_the_loss_that_stops_a_fit_is_the_mean_loss_before_each_step(loss, capsys):
    X, y, labels = data(seed=3)
    target = y if loss in REGRESSION else labels
    model = online(loss, alpha=1e-9, learning_rate="constant", eta0=1e-12, verbose=1)
    model.set_params(max_iter=1, tol=None, fit_intercept=False).fit(X, target)
    expected = np.mean([loss_of(loss, t, 0.0, 0.1) for t in target])
    shown = float(capsys.readouterr().out.split("mean loss ")[1].split(",")[0])
    assert shown == pytest.approx(expected, rel=1e-5)


CHUNKED = [
    {"p": 1},
    {"p": 1, "l2_reg": 0.1, "average": 10},
    {"p": 2, "learning_rate": "adagrad", "average": True},
    {"p": 1, "learning_rate": "adagrad"},
    {"p": 0.5, "dropout": 0.3},
    {"p": 0, "learning_rate": "constant", "eta0": 0.05},
    {"p": 1.5, "average": True},
    {"p": 1, "sparsity_threshold": 0.03, "mask_interval": 13},
    {"p": 1, "sparsity_threshold": 0.03},
]


@pytest.mark.parametrize("options", CHUNKED, ids=str)
@pytest.mark.parametrize("cuts", [(1,), (60,), (7, 8, 50, 119), tuple(range(1, 120))], ids=len)
def test_chunks_give_the_bits_of_one_pass(options, cuts):
    X, y, _ = data()
    X = sparse.csr_array(X)
    weights = np.random.default_rng(0).choice([0.0, 1.0, 2.0], X.shape[0])

    def model():
        return online("squared_error", alpha=0.01, random_state=0, **options)

    whole = learned(model(), X, y, weights)
    parts = model()
    for rows in np.split(np.arange(X.shape[0]), list(cuts)):
        parts.partial_fit(X[rows], y[rows], sample_weight=weights[rows])
        assert np.isfinite(parts.coef_).all()  # reading changes nothing
        parts = pickle.loads(pickle.dumps(parts))  # nor does a pickle
    assert whole.coef_.tobytes() == parts.coef_.tobytes()
    assert whole.intercept_.tobytes() == parts.intercept_.tobytes()
    assert whole.n_touched_ == parts.n_touched_ == weights @ np.diff(X.indptr)
    assert whole.t_ == weights.sum() + 1


def test_one_epoch_of_fit_is_one_pass():
    X, y, _ = data()
    options = {"alpha": 0.01, "random_state": 0}
    fitted = online("squared_error", max_iter=1, tol=None, **options).fit(X, y)
    passed = learned(online("squared_error", **options), X, y)
    assert fitted.coef_.tobytes() == passed.coef_.tobytes()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("store", [np.array, sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_storage_does_not_matter_and_float32_stays(kind, store):
    X, y, _ = data()
    X = X.astype(kind)
    expected = learned(online("squared_error", alpha=0.01), sparse.csr_array(X), y).coef_
    model = online("squared_error", alpha=0.01).partial_fit(store(X), y)
    assert model.coef_.dtype == kind
    assert model.coef_.tobytes() == expected.tobytes()
    assert model.predict(store(X)).dtype == kind


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "options", [{}, {"learning_rate": "adagrad"}, {"p": 0.5, "average": True}], ids=str
)
def test_dense_samples_without_zeros_are_walked_as_they_are(options, order, kind):
    X = np.random.default_rng(0).normal(size=(60, 7)).astype(kind, order=order)
    y = X[:, 0] - X[:, 1] ** 2
    options = {"alpha": 0.01, "random_state": 0, "shuffle": True, "eta0": 0.1} | options
    for split in ({}, {"early_stopping": True}):
        models = [
            online("squared_error", **split).set_params(**options).fit(store, y)
            for store in (X, sparse.csr_array(X))
        ]
        assert models[0].coef_.tobytes() == models[1].coef_.tobytes()
        assert models[0].n_touched_ == models[1].n_touched_
    parts = [
        learned(online("squared_error").set_params(**options), store, y, cuts=(1, 20))
        for store in (X, sparse.csr_array(X))
    ]
    assert parts[0].coef_.tobytes() == parts[1].coef_.tobytes()


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_index_types_give_the_same_model(index):
    X, y, _ = data()
    rows = sparse.csr_array(X)
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    expected = learned(online("squared_error", alpha=0.01), X, y).coef_
    assert (
        learned(online("squared_error", alpha=0.01), rows, y).coef_.tobytes() == expected.tobytes()
    )


def test_settings_may_change_between_calls():
    X, y, _ = data()
    common = {"loss": "squared_error", "learning_rate": "constant", "fit_intercept": False}
    first, _ = eager(X[:50], y[:50], p=0.5, alpha=0.01, eta0=0.02, **common)
    model = online("squared_error", p=0.5, alpha=0.01, learning_rate="constant", eta0=0.02)
    model.set_params(fit_intercept=False).partial_fit(X[:50], y[:50])
    model.set_params(p=1, alpha=0.05, eta0=0.1, average=True).partial_fit(X[50:], y[50:])
    second, _ = eager(X[50:], y[50:], p=1, alpha=0.05, eta0=0.1, coef=first, average=1, **common)
    np.testing.assert_allclose(model.coef_, second, rtol=1e-9, atol=1e-13)


def test_dropout_keeps_the_expected_prediction_and_drops_the_given_fraction():
    # A step of squared error from w moves it by -rate g x' with x' the sample after dropout:
    # sums of steps of size x' show what was kept.
    n_features, n_samples, dropout = 200, 500, 0.3
    X = np.ones((n_samples, n_features))
    options = {"alpha": 0.0, "learning_rate": "constant", "eta0": 1.0, "fit_intercept": False}
    # hinge with y = 1 and tiny rows has slope -1 always: w counts x'.
    model = online("hinge", dropout=dropout, random_state=0, **options)
    learned(model, 1e-6 * X, np.ones(n_samples))
    counts = np.ravel(model.coef_) / 1e-6 * (1.0 - dropout)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
    kept = counts / n_samples
    assert kept.mean() == pytest.approx(1.0 - dropout, abs=4 * np.sqrt(0.21 / X.size))
    assert kept.std() == pytest.approx(np.sqrt(0.21 / n_samples), rel=0.2)
    # so that the mean of x' is x
    assert np.mean(model.coef_) / (1e-6 * n_samples) == pytest.approx(1.0, abs=0.01)


def test_a_feature_that_is_not_touched_costs_nothing_to_learn_but_is_up_to_date():
    X = sparse.csr_array(([1.0] * 11, ([*range(11)], [0] + [1] * 10)), shape=(11, 3))
    model = online("squared_error", alpha=0.01, learning_rate="constant", eta0=0.1)
    model.set_params(fit_intercept=False).partial_fit(X, np.ones(11))
    # one step of 0.1, then eleven penalties of 0.1 * 0.01
    assert model.coef_[0] == pytest.approx(0.1 - 11 * 1e-3, rel=1e-12)
    assert model.coef_[2] == 0.0
    assert model.n_touched_ == 11


def test_two_threads_cannot_train_one_model_and_predictions_run_meanwhile():
    rng = np.random.default_rng(0)
    X = sparse.random_array((400_000, 1000), density=0.05, format="csr", rng=rng)
    y = X @ rng.normal(size=1000)
    model = SparseLpSGDRegressor(p=1.5, random_state=0).partial_fit(X[:100], y[:100])
    before = model.predict(X[:5])
    errors, results = [], []
    barrier = threading.Barrier(3)

    def train():
        barrier.wait()
        try:
            model.partial_fit(X, y)
        except RuntimeError as error:
            errors.append(error)

    def predict():
        barrier.wait()
        results.extend(model.predict(X[:5]) for _ in range(50))

    threads = [threading.Thread(target=f) for f in (train, train, predict)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert "another thread is training" in str(errors[0])
    after = model.predict(X[:5])
    assert all(np.array_equal(r, before) or np.array_equal(r, after) for r in results)
