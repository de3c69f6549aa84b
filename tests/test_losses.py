"""Losses against mpmath over the range of floats, and what their conjugates promise."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp, mpf
from sklearn_sparselp._core._log_link import Gamma, Poisson
from sklearn_sparselp._core._loss import Huber, LogLoss, SquaredError, SquaredHinge

mp.dps = 60
EPS = np.finfo(np.float64).eps
SMALL = [0.0, 5e-324, 1e-300, 1e-17, 1e-8, 0.3, 0.9999999, 1.0, 1.0000001, 2.5, 17.0, 36.0, 700.0]
PREDICTIONS = sorted({s * f for f in [*SMALL, 745.0, 1e4, 1e100] for s in (-1.0, 1.0)})


def softplus(f):
    return mp.log1p(mp.exp(f))


# Per loss: targets, the value, and its first two derivatives with respect to the prediction.
FORMULAS = {
    "squared_error": (
        SquaredError(),
        [-3.0, 0.0, 1e-8, 1e100],
        lambda y, f: ((y - f) ** 2 / 2, f - y, mpf(1)),
    ),
    "huber": (
        Huber(0.5),
        [-3.0, 0.0, 0.7, 1e100],
        lambda y, f: (
            ((y - f) ** 2 / 2, f - y, mpf(1))
            if abs(f - y) <= 0.5
            else ((abs(f - y) - mpf("0.25")) / 2, mp.sign(f - y) / 2, mpf(0))
        ),
    ),
    "log_loss": (
        LogLoss(),
        [0.0, 1.0],
        lambda y, f: (
            softplus(-f if y else f),
            (-1 if y else 1) / (1 + mp.exp(f if y else -f)),
            1 / ((1 + mp.exp(f)) * (1 + mp.exp(-f))),
        ),
    ),
    "squared_hinge": (
        SquaredHinge(),
        [0.0, 1.0],
        lambda y, f: (
            max(mpf(0), 1 - (2 * y - 1) * f) ** 2,
            -2 * (2 * y - 1) * max(mpf(0), 1 - (2 * y - 1) * f),
            mpf(2) if (2 * y - 1) * f < 1 else mpf(0),
        ),
    ),
    "poisson": (
        Poisson(),
        [0.0, 1e-300, 0.2, 1.0, 40.0, 1e100],
        lambda y, f: (
            mp.exp(f) - y * f + (y * mp.log(y) - y if y else 0),
            mp.exp(f) - y,
            mp.exp(f),
        ),
    ),
    "gamma": (
        Gamma(),
        [1e-300, 0.2, 1.0, 40.0, 1e100],
        lambda y, f: (
            y * mp.exp(-f) + f - mp.log(y) - 1,
            1 - y * mp.exp(-f),
            y * mp.exp(-f),
        ),
    ),
}
CLASSES = {name: (loss, targets) for name, (loss, targets, _) in FORMULAS.items()}


def evaluate(loss, y, f, weight=1.0):
    one = np.array([weight])
    gradient, curvature = np.empty(1), np.empty(1)
    value = loss.value(np.array([y]), np.array([f]), one)
    again = loss.derivatives(np.array([y]), np.array([f]), one, gradient, curvature)
    np.testing.assert_allclose(again, value, rtol=1e-14)
    return value, gradient[0], curvature[0]


def close(found, exact, noise):
    """Equal to a few roundings of the result, or of what its terms are made of."""
    if abs(exact) > mpf(np.finfo(np.float64).max):
        return np.isinf(found) or abs(found) > 1e307
    allowed = mpf(8 * EPS) * (abs(exact) + noise) + mpf(5e-324) * 4
    return bool(abs(mpf(float(found)) - exact) <= allowed)


@pytest.mark.parametrize("name", FORMULAS)
def test_value_gradient_and_curvature_are_exact_over_the_range_of_floats(name):
    loss, targets, formula = FORMULAS[name]
    for y in targets:
        for f in PREDICTIONS:
            with np.errstate(all="ignore"):
                found = evaluate(loss, y, f)
            exact = formula(mpf(y), mpf(f))
            # exp of an argument of size s is known to s units in the last place; differences
            # of terms to their own last places. log_loss has neither: it is exact relative to
            # its value however small.
            log_y = abs(mp.log(mpf(y))) if y > 0 else mpf(0)
            size = {
                "squared_error": [0, 0, 0],
                "huber": [0, 0, 0],
                "log_loss": [0, 0, 0],
                "squared_hinge": [0, 0, 0],
                "poisson": [
                    abs(mpf(y) * mpf(f)) + mpf(y) * (log_y + 1) + 1,
                    mpf(y),
                    0,
                ],
                "gamma": [
                    exact[2] * (abs(mpf(f)) + log_y) + abs(mpf(f)) + log_y + 1,
                    exact[2] * (abs(mpf(f)) + log_y) + 1,
                    exact[2] * (abs(mpf(f)) + log_y),
                ],
            }[name]
            for what, one, true, noise in zip(
                ["value", "gradient", "curvature"], found, exact, size, strict=True
            ):
                assert not np.isnan(one), (what, y, f)
                assert close(one, true, noise), (what, y, f, one, mp.nstr(true, 20))


@pytest.mark.parametrize("name", CLASSES)
def test_weights_count_samples_and_zero_weights_drop_them(name):
    loss, targets = CLASSES[name]
    rng = np.random.default_rng(0)
    y = rng.choice([t for t in targets if abs(t) < 1e50], size=6)
    f = rng.normal(size=6)
    weights = np.array([0.0, 1.0, 2.0, 0.0, 3.0, 1.0])
    repeated = np.repeat(np.arange(6), weights.astype(int))
    ones = np.ones(repeated.size)
    np.testing.assert_allclose(
        loss.value(y, f, weights), loss.value(y[repeated], f[repeated], ones), rtol=1e-14
    )
    gradient, curvature = np.empty(6), np.empty(6)
    loss.derivatives(y, f, weights, gradient, curvature)
    for k in range(6):
        _, one_gradient, one_curvature = evaluate(loss, y[k], f[k])
        np.testing.assert_allclose(gradient[k], weights[k] * one_gradient, rtol=1e-15)
        np.testing.assert_allclose(curvature[k], weights[k] * one_curvature, rtol=1e-15)
    wild = f.copy()
    wild[[0, 3]] = 1e4, -1e4
    assert loss.value(y, wild, weights) == loss.value(y, f, weights)
    loss.derivatives(y, wild, weights, gradient, curvature)
    assert not gradient[[0, 3]].any()
    assert not curvature[[0, 3]].any()


@pytest.mark.parametrize("name", CLASSES)
def test_the_conjugate_bounds_the_loss_and_meets_it_at_the_gradient(name):
    loss, targets = CLASSES[name]
    rng = np.random.default_rng(1)
    y = rng.choice([t for t in targets if abs(t) < 1e50], size=8)
    weights = rng.integers(0, 3, 8) / 8.0
    for _ in range(50):
        f, other = 2.0 * rng.normal(size=8), 2.0 * rng.normal(size=8)
        gradient, curvature = np.empty(8), np.empty(8)
        loss.derivatives(y, f, weights, gradient, curvature)
        met = loss.value(y, f, weights) + loss.conjugate(y, gradient, 1.0, weights)
        np.testing.assert_allclose(met, gradient @ f, rtol=1e-10, atol=1e-12)
        for scale in (0.0, 0.3, 0.9):
            conjugate = loss.conjugate(y, gradient, scale, weights)
            assert np.isfinite(conjugate)
            bound = loss.value(y, other, weights) + conjugate
            assert bound >= scale * gradient @ other - 1e-12


SHARES = [
    1e-300,
    1e-17,
    1e-8,
    0.1,
    0.25,
    0.5 - EPS,
    0.5,
    0.5 + EPS,
    0.7071,
    0.9,
    1.0 - 1e-9,
    1.0 - EPS,
]


@pytest.mark.parametrize("n_samples", [1, 2, 9])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_conjugate_of_log_loss_is_an_entropy(label, share, n_samples):
    # More samples than vectors hold: the loop and its rest.
    a = mpf(share)
    expected = n_samples * (a * mp.log(a) + (1 - a) * mp.log1p(-a))
    y, ones = np.full(n_samples, label), np.ones(n_samples)
    dual = np.full(n_samples, share if label == 0.0 else -share)
    found = LogLoss().conjugate(y, 2.0 * dual, 0.5, ones)
    assert abs(mpf(found) - expected) <= 4 * EPS * abs(expected)
    assert LogLoss().conjugate(y, dual, -1.0, ones) == np.inf
    assert LogLoss().conjugate(y, dual, 1.1 / share, ones) == np.inf


def test_the_conjugate_of_log_loss_leaves_out_what_weighs_or_lacks_nothing():
    y, dual = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, -1.0, 7.0, 5e-324])
    assert LogLoss().conjugate(y, dual, 1.0, np.array([1.0, 1.0, 0.0, 1.0])) == 0.0


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("limit", [0.2, 1.0, 3.0])
def test_the_best_scale_is_no_worse_than_others_within_the_limit(name, limit):
    loss, targets = CLASSES[name]
    rng = np.random.default_rng(2)
    y = rng.choice([t for t in targets if abs(t) < 1e50], size=8)
    weights = rng.integers(1, 3, 8) / 8.0
    f = 2.0 * rng.normal(size=8)
    gradient, curvature = np.empty(8), np.empty(8)
    loss.derivatives(y, f, weights, gradient, curvature)
    scale = loss.best_scale(y, gradient, weights, limit)
    assert 0.0 <= scale <= limit
    best = loss.conjugate(y, gradient, scale, weights)
    assert np.isfinite(best)
    if name in ("squared_error", "squared_hinge"):
        others = [loss.conjugate(y, gradient, t, weights) for t in np.linspace(0.0, limit, 50)]
        assert best <= min(others) + 1e-12


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "squared_error"])
def test_a_majoriser_is_not_below_the_loss_within_its_reach_and_bends_like_it_at_no_reach(name):
    loss, targets = CLASSES[name]
    rng = np.random.default_rng(3)
    for _ in range(400):
        y = np.array([rng.choice([t for t in targets if abs(t) < 1e50])])
        f, one, curvature = 3.0 * rng.normal(size=1), np.ones(1), np.empty(1)
        value, slope, bend = evaluate(loss, y[0], f[0])
        loss.majoriser(y, f, one, np.zeros(1), curvature)
        np.testing.assert_allclose(curvature[0], bend, rtol=1e-14)
        reach = rng.choice([0.1, 1.0, 10.0, np.inf])
        loss.majoriser(y, f, one, np.array([reach]), curvature)
        assert bend <= curvature[0] <= max(loss.curvature_bound, bend) * (1.0 + 1e-15)
        step = np.clip(5.0 * rng.normal(), -reach, reach)
        if name in ("poisson", "gamma"):
            # Bounded on the way to the best prediction, log(y), and no further.
            towards = np.log(y[0] + 1e-300) - f[0]
            step = np.copysign(min(abs(step), abs(towards)), towards)
        model = value + slope * step + 0.5 * curvature[0] * step * step
        assert evaluate(loss, y[0], f[0] + step)[0] <= model + 1e-12 * (1.0 + abs(model))


@pytest.mark.parametrize("name", ["huber", "log_loss", "squared_hinge"])
@pytest.mark.parametrize("start", [0.0, -40.0, 1e3])
def test_the_search_for_the_intercept_ends_at_a_minimum_from_anywhere(name, start):
    loss, targets = CLASSES[name]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y = rng.choice([t for t in targets if abs(t) < 1e50], size=9)
        y[:2] = targets[:2]
        f, weights = 10.0 ** rng.uniform(-3, 3) * rng.normal(size=9), rng.integers(1, 3, 9) / 9.0
        shift = loss.best_shift(y, f, weights, start)
        gradient, curvature = np.empty(9), np.empty(9)
        loss.derivatives(y, f + shift, weights, gradient, curvature)
        # The slope of a rounding of the shift is all that may be left.
        rounding = 1e-15 * (np.abs(gradient).sum() + abs(shift) * curvature.sum())
        assert abs(gradient.sum()) <= 8.0 * rounding


@pytest.mark.parametrize(("loss", "low"), [(Poisson(), 0.0), (Gamma(), 1e-6)])
def test_the_closed_form_of_the_intercept_is_a_minimum(loss, low):
    rng = np.random.default_rng(4)
    y = rng.gamma(1.0, 3.0, size=9) + low
    f, weights = 3.0 * rng.normal(size=9), rng.integers(0, 3, 9) / 9.0
    shift = loss.best_shift(y, f, weights)
    gradient, curvature = np.empty(9), np.empty(9)
    loss.derivatives(y, f + shift, weights, gradient, curvature)
    assert abs(gradient.sum()) <= 1e-13 * np.abs(gradient).sum()
    far = f + 700.0
    assert loss.best_shift(y, far, weights) == pytest.approx(shift - 700.0, rel=1e-13)
