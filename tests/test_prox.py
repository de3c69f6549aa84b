"""The scalar proximal maps against mpmath and against brute force."""

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sklearn_sparselp import prox_lp

SPECIAL_ORDERS = [0.0, 0.5, 2 / 3, 1.0, 4 / 3, 1.5, 2.0, 3.0, 4.0]
NEIGHBOURS = [1e-9, 0.1, 0.3, 0.9, 0.999, 1 - 1e-9, 1 + 1e-12, 1 + 1e-9, 1.001, 1.3]
NEIGHBOURS += [2 + 1e-12, 5.0, 7.3, 10.0]
SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)
EPSILON = 2.0**-52


def exact(order):
    """The order that a double stands for: 2/3 is two thirds."""
    return mpmath.mpf(2) / 3 if order == 2 / 3 else mpmath.mpf(order)


def threshold(scale, order):
    """z* of the prox, for p < 1."""
    p, scale = exact(order), mpmath.mpf(scale)
    if p == 0:
        return mpmath.sqrt(2 * scale)
    jump = (2 * scale * (1 - p)) ** (1 / (2 - p))
    return jump * (2 - p) / (2 * (1 - p))


def largest_root(z, scale, order):
    """The largest root of t + scale p t^(p-1) = z and its condition number.

    By Newton on its logarithm in 40 digits.
    """
    z, scale, p = mpmath.mpf(z), mpmath.mpf(scale), exact(order)
    t = z
    if p > 1:
        t = min(t, mpmath.exp((mpmath.log(z) - mpmath.log(scale) - mpmath.log(p)) / (p - 1)))
    for _ in range(10_000):
        term = scale * p * t ** (p - 1)
        step = mpmath.log((t + term) / z) * (t + term) / (t + (p - 1) * term)
        t *= mpmath.exp(-step)
        if abs(step) < mpmath.mpf(10) ** -30:
            return t, z / (t * abs(1 + scale * p * (p - 1) * t ** (p - 2)))
    raise AssertionError(f"the reference did not converge at {z}, {scale}, {order}")


def assert_is_prox(got, z, scale, order, unit=EPSILON):
    with mpmath.workdps(40):
        if order < 1:
            jump = threshold(scale, order)
            near = abs(mpmath.mpf(z) / jump - 1) < 16 * unit
            if got == 0.0:
                assert near or z <= jump, (z, scale, order)
                return
            assert near or z > jump, (z, scale, order)
            if order == 0:
                assert got == z
                return
        if order == 1:
            expected, condition = (
                max(mpmath.mpf(z) - mpmath.mpf(scale), mpmath.mpf(0)),
                mpmath.mpf(1),
            )
            assert abs(got - expected) <= unit * abs(expected)
            return
        expected, condition = largest_root(z, scale, order)
        smallest = mpmath.mpf(float(np.finfo(np.float32 if unit > 1e-10 else np.float64).tiny))
        if expected < smallest:
            assert 0 <= got <= 2 * smallest
            return
        error = abs(mpmath.mpf(float(got)) - expected) / (expected * unit)
        assert error <= 4 * max(1, condition), (z, scale, order, float(error), float(condition))


orders = st.one_of(st.sampled_from(SPECIAL_ORDERS + NEIGHBOURS), st.floats(0, 2), st.floats(0, 10))
exponents = st.one_of(st.floats(-300, 300), st.floats(-3, 3))


@SETTINGS
@example(order=4.0, z=100.58, scale=264.6)
@example(order=2 / 3, z=213.3, scale=284.05)
@example(order=0.3, z=-81.27, scale=-138.48)
@example(order=3.0, z=290.0, scale=290.0)
@example(order=2.0, z=300.0, scale=300.0)
@given(order=orders, z=exponents, scale=exponents)
def test_prox_is_the_root_to_four_units_in_the_last_place(order, z, scale):
    z, scale = 10.0**z, 10.0**scale
    assert_is_prox(prox_lp(z, scale, order), z, scale, order)


@SETTINGS
@example(order=2 / 3, z=-137.2141, shift=-0.2264)
@example(order=2 / 3, z=137.2141, shift=-0.2264)
@given(order=orders, z=exponents, shift=st.floats(-2, 2))
def test_prox_is_as_accurate_where_both_terms_matter(order, z, shift):
    z = 10.0**z
    with mpmath.workdps(40):
        scale = mpmath.mpf(z) ** (2 - exact(order)) * mpmath.mpf(10) ** shift
    if 1e-300 < scale < 1e300:
        assert_is_prox(prox_lp(z, float(scale), order), z, float(scale), order)


@settings(SETTINGS, max_examples=80)
@given(order=orders, z=st.floats(-30, 30), scale=st.floats(-30, 30))
def test_prox_of_float32_is_float32_and_as_accurate(order, z, scale):
    z, scale = np.float32(10.0**z), np.float32(10.0**scale)
    got = prox_lp(z, scale, order)
    assert got.dtype == np.float32
    assert_is_prox(got, float(z), float(scale), order, unit=2.0**-23)


@settings(SETTINGS, max_examples=80)
@given(
    order=st.one_of(st.sampled_from(SPECIAL_ORDERS), st.floats(0, 5)),
    z=st.floats(-5, 5),
    scale=st.floats(0.01, 5),
)
def test_prox_minimises_its_own_objective(order, z, scale):
    grid = np.concatenate([[0.0], np.linspace(-6, 6, 20_001)])
    penalty = np.where(grid == 0, 0.0, np.abs(grid) ** order)
    best = (0.5 * (grid - z) ** 2 + scale * penalty).min()
    t = float(prox_lp(z, scale, order))
    value = 0.5 * (t - z) ** 2 + (scale * abs(t) ** order if t else 0.0)
    assert value <= best * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("order", SPECIAL_ORDERS + NEIGHBOURS)
def test_prox_is_odd_monotone_and_shrinks(order):
    z = np.concatenate([np.linspace(0, 5, 2001), np.geomspace(1e-300, 1e300, 501)])
    z.sort()
    t = prox_lp(z, 0.7, order)
    assert np.array_equal(prox_lp(-z, 0.7, order), -t)
    assert (t <= z).all()
    assert (t >= 0).all()
    assert (np.diff(t) >= -8 * EPSILON * t[1:]).all()


@pytest.mark.parametrize("order", [0.0, 0.5, 2 / 3, 0.9, 0.1])
def test_ties_at_the_threshold_go_to_zero(order):
    if order == 0.0:
        assert prox_lp(2.0, 2.0, 0.0) == 0.0
        assert prox_lp(np.nextafter(2.0, 3.0), 2.0, 0.0) > 0.0
        return
    jump = float(threshold(0.7, order))
    assert prox_lp(jump * (1 - 1e-14), 0.7, order) == 0.0
    assert prox_lp(jump * (1 + 1e-14), 0.7, order) > 0.5 * jump * 2 * (1 - order) / (2 - order)


@pytest.mark.parametrize("order", [0.1, 0.5, 0.9, 1 - 1e-9])
@pytest.mark.parametrize("scale", [1e-290, 1e-250, 7.267e268, 1e290])
def test_the_threshold_is_as_sharp_at_the_ends_of_the_range(order, scale):
    with mpmath.workdps(40):
        jump = float(threshold(scale, order))
    assert prox_lp(jump * (1 - 1e-14), scale, order) == 0.0
    assert prox_lp(jump * (1 + 1e-14), scale, order) > 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", SPECIAL_ORDERS + NEIGHBOURS)
def test_entries_of_an_array_are_mapped_as_if_alone(order, dtype):
    # More of them than are worked on at once, ordinary ones beside those of every other case.
    rng = np.random.default_rng(0)
    z = (rng.standard_normal(301) * 10.0 ** rng.integers(-2, 2, 301)).astype(dtype)
    scale = rng.exponential(size=301).astype(dtype)
    z[::7], scale[::11] = 0.0, 0.0
    z[[5, 15, 25, 35]] = np.nan, np.inf, -np.inf, np.finfo(dtype).tiny
    scale[[6, 15, 26]] = np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny
    for positive in (False, True):
        got = prox_lp(z, scale, order, positive=positive)
        pairs = zip(z, scale, strict=True)
        alone = [prox_lp(*pair, order, positive=positive) for pair in pairs]
        np.testing.assert_allclose(got, alone, rtol=4 * np.finfo(dtype).eps)


def test_soft_threshold_is_exact():
    assert np.array_equal(prox_lp([-2.0, -0.5, 0.0, 0.5, 2.0], 0.5), [-1.5, 0.0, 0.0, 0.0, 1.5])


@pytest.mark.parametrize("order", SPECIAL_ORDERS + NEIGHBOURS)
def test_the_ends_of_the_range_are_kept(order):
    assert prox_lp(1.5, 0.0, order) == 1.5
    assert prox_lp(1.5, np.inf, order) == 0.0
    assert prox_lp(0.0, 1.0, order) == 0.0
    assert np.isnan(prox_lp(np.nan, 1.0, order))
    tiny, huge = 5e-324, np.finfo(np.float64).max
    for z in (tiny, huge):
        for scale in (tiny, huge):
            t = float(prox_lp(z, scale, order))
            assert 0.0 <= t <= z


def test_positive_maps_what_is_not_positive_to_zero():
    assert np.array_equal(prox_lp([-3.0, 0.0, 3.0], 1.0, positive=True), [0.0, 0.0, 2.0])


def test_arguments_broadcast_and_keep_their_dtype():
    z = np.linspace(-2, 2, 6).reshape(2, 3)
    scale = np.array([0.1, 0.2, 0.3])
    got = prox_lp(z, scale, 0.5)
    assert got.shape == (2, 3)
    expected = [[float(prox_lp(z[i, j], scale[j], 0.5)) for j in range(3)] for i in range(2)]
    assert np.array_equal(got, expected)
    assert prox_lp(z.astype(np.float32), scale).dtype == np.float64
    assert prox_lp(z[::-1, ::2], 1.0).shape == (2, 2)
    assert prox_lp([1, 2, 3], 1).dtype == np.float64
    assert prox_lp(np.empty((0, 3)), 1.0).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1.0, -1.0), ValueError, "scale must be >= 0, got -1.0"),
        ((1.0, np.nan), ValueError, "scale must be >= 0, got nan"),
        ((1.0, 1.0, -0.5), ValueError, "p must be finite and >= 0, got p=-0.5"),
        ((1.0, 1.0, np.inf), ValueError, "p must be finite"),
        ((1.0, 1.0, np.nan), ValueError, "p must be finite"),
        ((1.0, 1.0, "1"), TypeError, "p must be a number"),
        ((1.0j, 1.0), TypeError, "z must hold real numbers"),
        (([1.0, 2.0], [1.0, 2.0, 3.0]), ValueError, "shape"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        prox_lp(*arguments)
