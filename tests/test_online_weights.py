"""Weights of samples are repeated samples, whatever their order; heavy ones do not overshoot."""

import numpy as np
import pytest
from reference_online import slope
from scipy import sparse
from test_online import CLASSIFICATION, REGRESSION, assert_equals_eager, data

from sklearn_sparselp import SparseLpRegressor, SparseLpSGDClassifier, SparseLpSGDRegressor

FITTED = [
    {},
    {"p": 0.5, "average": True, "dropout": 0.2},
    {"p": 2, "learning_rate": "optimal", "l2_reg": 0.1},
    {"p": 1.5, "learning_rate": "adaptive", "eta0": 0.01, "sparsity_threshold": 0.01},
    {"learning_rate": "invscaling", "mask_interval": 31, "sparsity_threshold": 0.01},
]


def weighted(seed=0, n_samples=120):
    X, y, labels = data(n_samples)
    weights = np.random.default_rng(seed).choice([0.0, 1.0, 2.0, 3.0], n_samples)
    return X, y, labels, weights, np.repeat(np.arange(n_samples), weights.astype(int))


def assert_same_bits(one, other):
    assert one.coef_.tobytes() == other.coef_.tobytes()
    assert one.intercept_.tobytes() == other.intercept_.tobytes()
    assert (one.t_, one.n_iter_, one.n_touched_) == (other.t_, other.n_iter_, other.n_touched_)


@pytest.mark.parametrize("store", [np.array, sparse.csr_array])
@pytest.mark.parametrize("options", FITTED, ids=str)
def test_a_fit_with_whole_weights_has_the_bits_of_one_with_repeated_samples(options, store):
    X, y, _, weights, repeats = weighted()
    other = np.random.default_rng(1).permutation(repeats)
    options = {"alpha": 0.01, "max_iter": 7, "tol": None, "random_state": 0} | options
    model = SparseLpSGDRegressor(**options).fit(store(X), y, sample_weight=weights)
    assert model.t_ == 1 + 7 * repeats.size
    for rows in (repeats, other):
        assert_same_bits(model, SparseLpSGDRegressor(**options).fit(store(X[rows]), y[rows]))


@pytest.mark.parametrize("class_weight", [None, "balanced", {1.0: 2.3}, {1.0: 3.0, -1.0: 0.4}])
@pytest.mark.parametrize("options", FITTED, ids=str)
def test_repeated_samples_have_the_weight_of_their_class_each_time(options, class_weight):
    X, _, labels, weights, repeats = weighted(seed=2)
    options = {"alpha": 0.01, "max_iter": 4, "tol": None, "random_state": 0} | options
    options["class_weight"] = class_weight
    model = SparseLpSGDClassifier(**options).fit(X, labels, sample_weight=weights)
    assert_same_bits(model, SparseLpSGDClassifier(**options).fit(X[repeats], labels[repeats]))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("options", FITTED, ids=str)
def test_a_stream_with_whole_weights_has_the_bits_of_one_with_repeated_samples(options, shuffle):
    X, y, _, weights, repeats = weighted(seed=3)
    options = {"alpha": 0.01, "random_state": 0, "shuffle": shuffle} | options
    model = SparseLpSGDRegressor(**options).partial_fit(X, y, sample_weight=weights)
    assert_same_bits(model, SparseLpSGDRegressor(**options).partial_fit(X[repeats], y[repeats]))


def test_a_shuffled_fit_does_not_depend_on_the_order_of_the_samples():
    X, y, _, _, _ = weighted()
    weights = np.random.default_rng(4).uniform(0.0, 3.0, 120)
    order = np.random.default_rng(5).permutation(120)
    options = {"alpha": 0.01, "max_iter": 3, "tol": None, "random_state": 0}
    model = SparseLpSGDRegressor(**options).fit(X, y, sample_weight=weights)
    other = SparseLpSGDRegressor(**options).fit(X[order], y[order], sample_weight=weights[order])
    assert_same_bits(model, other)
    in_turn = SparseLpSGDRegressor(shuffle=False, **options).fit(X, y, sample_weight=weights)
    assert model.coef_.tobytes() != in_turn.coef_.tobytes()


def test_samples_that_differ_in_one_bit_have_different_places():
    # Keys are spread: of 5000 samples that differ in little no two are taken for the same.
    from sklearn_sparselp._core._lazy import sample_keys

    X = sparse.csr_array(np.ones((5000, 3)))
    X.data[::3] += np.arange(5000) * 2.0**-52
    arrays = X.data, X.indices, X.indptr, False
    keys = sample_keys(*arrays, np.zeros(5000), np.empty(0))
    assert np.unique(keys).size == 5000
    # A position in the order tells nothing about the value.
    assert abs(np.corrcoef(np.argsort(np.argsort(keys)), np.arange(5000))[0, 1]) < 0.05
    y, weights = np.zeros(5000), np.ones(5000)
    y[0], weights[1] = 1.0, 0.5
    moved = np.flatnonzero(sample_keys(*arrays, y, weights) != keys)
    assert moved.tolist() == [0, 1]


def test_fractional_weights_lead_to_the_weighted_optimum():
    X, y, _ = data(n_samples=300, seed=6)
    weights = np.random.default_rng(0).choice([0.0, 0.3, 1.0, 2.7], 300)
    options = {"alpha": 0.02, "max_iter": 300, "tol": None, "average": 50_000, "random_state": 0}
    model = SparseLpSGDRegressor(**options).fit(X, y, sample_weight=weights)
    best = SparseLpRegressor(alpha=0.02, tol=1e-10).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(model.coef_, best.coef_, atol=0.02)


def test_the_unit_of_weights_that_are_all_small_or_large_does_not_matter():
    X, y, _ = data(seed=7)
    weights = np.random.default_rng(0).uniform(0.0, 1.0, 120)
    weights[3] = 1.0
    options = {"alpha": 0.01, "max_iter": 3, "tol": None, "random_state": 0}
    model = SparseLpSGDRegressor(**options).fit(X, y, sample_weight=weights)
    for unit in (2.0**-1000, 2.0**-10, 0.5):
        assert_same_bits(
            model, SparseLpSGDRegressor(**options).fit(X, y, sample_weight=unit * weights)
        )
    large = SparseLpSGDRegressor(**options).fit(X, y, sample_weight=2.0**5 * weights)
    # 10 visits a sample in the mean and one more at most where that is not whole
    assert 3 * 10 * 120 <= large.t_ - 1 <= 3 * 11 * 120
    for unit in (2.0**10, 2.0**1000):
        assert_same_bits(
            large, SparseLpSGDRegressor(**options).fit(X, y, sample_weight=unit * weights)
        )


@pytest.mark.parametrize("loss", REGRESSION + CLASSIFICATION)
@pytest.mark.parametrize("p", [0.5, 1, 2])
def test_lazy_equals_eager_with_heavy_weights(loss, p):
    X, y, labels = data(n_samples=40, seed=8)
    target = y if loss in REGRESSION else labels
    weights = np.random.default_rng(1).choice([0.5, 1.0, 3.5, 150.0, 1e4], 40)
    options = {"learning_rate": "constant", "eta0": 0.05, "epsilon": 0.2}
    if loss in CLASSIFICATION:
        options.pop("epsilon")
    assert_equals_eager(loss, X, target, weights, p=p, alpha=1e-4, **options)


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adagrad"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "log_loss", "squared_hinge"])
@pytest.mark.parametrize("weight", [1e4, 1e8, 1e12])
def test_a_heavy_sample_in_a_stream_takes_100_steps_and_does_not_overshoot(
    loss, weight, learning_rate
):
    x, y = np.array([[1.0, -2.0, 0.5]]), np.array([1.0])
    options = {"alpha": 0.0, "learning_rate": learning_rate, "eta0": 0.3}
    if loss in REGRESSION:
        model = SparseLpSGDRegressor(loss, **options)
        model.partial_fit(x, y, sample_weight=[weight])
        f = model.predict(x)[0]
    else:
        model = SparseLpSGDClassifier(loss, **options)
        model.partial_fit(x, y, classes=[-1.0, 1.0], sample_weight=[weight])
        f = model.decision_function(x)[0]
    assert model.t_ == 101
    if learning_rate == "adagrad":
        assert np.abs(model.coef_).max() <= 100 * 0.3
    elif loss == "squared_error":
        # Steps of 1 + weight / 100 * rate * |x|^2 divide what is left of the residual.
        assert 0.0 <= 1.0 - f < 1e-3
    else:
        assert abs(slope(loss, 1.0, f, 0.1)) <= abs(slope(loss, 1.0, 0.0, 0.1))
        assert f <= 1.0 + 1e-9 or loss == "log_loss"


def test_a_stream_names_a_weight_beyond_reason():
    X, y, labels = data()
    with pytest.raises(ValueError, match=r"largest weight of a sample is 1e\+13"):
        SparseLpSGDRegressor().partial_fit(X, y, sample_weight=np.full(120, 1e13))
    model = SparseLpSGDClassifier(class_weight={1.0: 1e300})
    with pytest.raises(ValueError, match="up to 1e\\+12"):
        model.partial_fit(X, labels, [-1.0, 1.0], sample_weight=1e10)
    assert not hasattr(model, "classes_")


def test_samples_of_weight_0_are_left_out_of_a_stream_and_may_be_all():
    X, y, _ = data()
    model = SparseLpSGDRegressor(random_state=0).partial_fit(X, y)
    before, steps = model.coef_.tobytes(), model.t_
    model.partial_fit(X, y, sample_weight=0.0)
    assert (model.coef_.tobytes(), model.t_) == (before, steps)
