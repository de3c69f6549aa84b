"""The penalty kernels against brute force: T_j, the prox of P_j, kappa_j, entry, conjugate."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference, power
from sklearn_sparselp._core._cd import QuadraticModel, sweep
from sklearn_sparselp._core._penalty import (
    LpPenalty,
    Penalty,
    conjugate_total,
    entry_gradients,
    smooth_terms,
    total,
)

ORDERS = [0.0, 0.3, 0.5, 2 / 3, 0.9, 1.0, 1.3, 1.5, 2.0, 3.0]


def step(penalty, z, lipschitz, bound_to=None):
    """T_j(z_j) of every coordinate: one epoch of the kernel on columns that do not overlap.

    With ``bound_to`` the penalty belongs to those L_j and the step has another ``lipschitz``.
    """
    z = np.asarray(z, dtype=np.float64)
    lipschitz = np.broadcast_to(np.float64(lipschitz), z.shape).copy()
    own = lipschitz if bound_to is None else np.full(z.shape, bound_to)
    each = np.arange(z.size)
    w = np.zeros(z.size)
    model = QuadraticModel(
        penalty.bind(own), each, w, -lipschitz * z, 1.0, lipschitz, None, 1.0, bound_to is None
    )
    sweep(np.ones(z.size), each, each, each + 1, model, 1, 0.0, -1, each[:0])
    return w


def kappa(p, strength, tau, lipschitz):
    """As the contract has it."""
    if not np.isfinite(strength):
        return 0.0
    return max(0.0, lipschitz * tau**2 / 2 - strength * (1 - p) * (tau**p if tau else 0.0))


def grid_values(z, p, strength, tau, lipschitz, mask, positive):
    """The points of a fine grid of {0} and |t| >= tau, and ``L/2 (t - z)^2 + P(t)`` there."""
    reach = max(abs(z), tau) * 1.1 + 1e-3
    t = np.concatenate([[0.0, tau, -tau, z], np.linspace(-reach, reach, 20_001)])
    t = t[(t == 0.0) | (np.abs(t) >= tau)]
    t = t[t >= 0.0] if positive else t
    if not np.isfinite(strength):
        t = t[t == 0.0]
    return t, values(t, z, p, strength, lipschitz, mask)


def values(t, z, p, strength, lipschitz, mask):
    t = np.asarray(t)
    strength = 0.0 if not np.isfinite(strength) else strength
    return lipschitz / 2 * (t - z) ** 2 + strength * power(t, p) + mask * (t != 0.0)


def assert_minimises(t, z, p, strength, tau, lipschitz, mask, positive):
    admissible, tried = grid_values(z, p, strength, tau, lipschitz, mask, positive)
    assert t == 0.0 or (abs(t) >= tau and np.isfinite(strength))
    assert t >= 0.0 or not positive
    value = float(values(t, z, p, strength, lipschitz, mask))
    assert value <= tried.min() + 1e-13 * max(tried.min(), lipschitz * z * z), (
        f"{t}, but {admissible[tried.argmin()]} is lower"
    )


coordinates = st.fixed_dictionaries(
    {
        "z": st.floats(-4.0, 4.0),
        "p": st.one_of(st.sampled_from(ORDERS), st.floats(0.0, 4.0)),
        "alpha": st.floats(0.0, 2.0),
        "factor": st.sampled_from([0.0, 0.5, 1.0, np.inf]),
        "tau": st.one_of(st.just(0.0), st.floats(1e-3, 2.0)),
        "lipschitz": st.floats(0.1, 10.0),
        "positive": st.booleans(),
    }
)


def penalty_of(c):
    return LpPenalty(
        1, c["p"], c["alpha"], c["tau"], np.array([c["factor"]]), positive=c["positive"]
    )


def strength_of(c):
    return np.inf if np.isinf(c["factor"]) else c["alpha"] * c["factor"]


@settings(max_examples=400)
@given(c=coordinates)
def test_the_masked_update_is_the_exact_minimiser_of_its_penalty(c):
    strength = strength_of(c)
    mask = kappa(c["p"], strength, c["tau"], c["lipschitz"])
    t = step(penalty_of(c), [c["z"]], c["lipschitz"])[0]
    assert_minimises(t, c["z"], c["p"], strength, c["tau"], c["lipschitz"], mask, c["positive"])
    assert t == 0.0 or abs(t) > c["tau"]


@settings(max_examples=400)
@given(c=coordinates, ratio=st.floats(0.2, 20.0))
def test_a_step_of_another_length_minimises_the_same_penalty(c, ratio):
    strength = strength_of(c)
    mask = kappa(c["p"], strength, c["tau"], c["lipschitz"])
    longer = ratio * c["lipschitz"]
    t = step(penalty_of(c), [c["z"]], longer, bound_to=c["lipschitz"])[0]
    assert_minimises(t, c["z"], c["p"], strength, c["tau"], longer, mask, c["positive"])


@pytest.mark.parametrize("tau", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("p", ORDERS)
def test_the_penalty_counts_kappa_for_each_coefficient_that_is_not_zero(p, tau):
    factor = np.array([1.0, 0.0, 3.0, np.inf])
    lipschitz = np.array([0.5, 2.0, 8.0, 1.0])
    penalty = LpPenalty(4, p, 0.3, tau, factor, l2_reg=0.2).bind(lipschitz)
    for j in range(3):
        w = np.zeros(4)
        for w[j] in (-2.5, 1.0, 1.7):
            mask = kappa(p, 0.3 * factor[j], tau, lipschitz[j])
            expected = 0.3 * factor[j] * abs(w[j]) ** p + mask + 0.1 * w[j] ** 2
            assert total(penalty, w) == pytest.approx(expected, rel=1e-14)
    assert total(penalty, np.zeros(4)) == 0.0


def test_kappa_is_what_makes_the_mask_start_where_the_prox_crosses_it():
    # By hand: L = 2, tau = 1/2, p = 1, alpha = 1: the prox passes 1/2 at z = 1, and
    # kappa = 2 (1/2)^2 / 2 - 0 = 1/4 makes 2/2 (1/2 - 1)^2 + 1/2 + 1/4 = 2/2 1^2.
    penalty = LpPenalty(1, 1.0, 1.0, 0.5).bind(np.array([2.0]))
    assert total(penalty, np.array([0.5])) == 0.75
    assert step(penalty, [1.0], 2.0)[0] == 0.0
    assert step(penalty, [np.nextafter(1.0, 2.0)], 2.0)[0] > 0.5


TIES = [  # p, alpha, tau, lipschitz of the step, lipschitz of the mask, z
    (0.0, 0.5, 0.0, 1.0, 1.0, 1.0),
    (0.0, 1.0, 0.0, 2.0, 2.0, 1.0),
    (0.0, 0.125, 1.0, 1.0, 1.0, 1.0),
    (0.5, 1.0, 0.0, 1.0, 1.0, 1.5),
    (1.0, 0.5, 0.0, 1.0, 1.0, 0.5),
    (1.0, 0.5, 0.25, 1.0, 1.0, 0.75),
    (1.0, 1.0, 0.5, 4.0, 4.0, 0.75),
    (2.0, 0.5, 0.25, 1.0, 1.0, 0.5),
    (2.0, 0.0, 0.25, 1.0, 1.0, 0.25),
    (3.0, 1.0, 0.5, 1.0, 1.0, 1.25),
    (0.0, 0.125, 1.0, 4.0, 1.0, 0.625),
    (1.0, 0.5, 0.5, 2.0, 1.0, 0.625),
]


@pytest.mark.parametrize(("p", "alpha", "tau", "lipschitz", "own", "z"), TIES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_tie_goes_to_zero(p, alpha, tau, lipschitz, own, z, sign):
    penalty = LpPenalty(3, p, alpha, tau)
    around = sign * np.array([z * (1 - 1e-12), z, z * (1 + 1e-12)])
    t = step(penalty, around, lipschitz, bound_to=None if own == lipschitz else own)
    assert np.array_equal(t[:2], [0.0, 0.0])
    assert np.sign(t[2]) == sign


@pytest.mark.parametrize("tau", [0.0, 0.3])
@pytest.mark.parametrize("p", ORDERS)
def test_zero_is_left_exactly_beyond_the_entry_gradient(p, tau):
    lipschitz = np.array([0.5, 1.0, 4.0])
    penalty = LpPenalty(3, p, 0.4, tau, np.array([1.0, 0.0, 2.0])).bind(lipschitz)
    entry = entry_gradients(penalty, lipschitz)
    assert not step(penalty, entry / lipschitz * (1 - 1e-12), lipschitz).any()
    assert step(penalty, entry / lipschitz * (1 + 1e-12) + 1e-30, lipschitz).all()


def test_features_that_are_dropped_or_flat_never_enter():
    penalty = LpPenalty(3, 0.0, 0.0, 0.0, np.array([np.inf, 1.0, 1.0]))
    entry = entry_gradients(penalty, np.array([1.0, 0.0, 1.0]))
    assert np.array_equal(entry, [np.inf, np.inf, 0.0])
    assert np.array_equal(step(penalty, [9.0, 9.0, 9.0], [1.0, 0.0, 1.0]), [0.0, 0.0, 9.0])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l2_reg", [0.0, 0.3])
@pytest.mark.parametrize("p", [1.0, 1.3, 1.5, 2.0, 3.0])
def test_the_conjugate_is_the_supremum(p, l2_reg, positive):
    factor = np.array([0.5, 1.0, 2.0, np.inf])
    penalty = LpPenalty(4, p, 0.7, 0.0, factor, l2_reg, positive)
    t = np.linspace(0.0 if positive else -40.0, 40.0, 800_001)
    skip = np.zeros(4, dtype=np.uint8)
    for v in (np.array([0.3, -0.6, 1.2, 5.0]), np.array([-0.1, 0.65, -1.3, 0.0])):
        strengths = 0.7 * factor[:3]
        best = sum(
            (v[j] * t - strengths[j] * power(t, p) - l2_reg / 2 * t**2).max() for j in range(3)
        )
        assert conjugate_total(penalty, v, 1.0, skip) == pytest.approx(best, rel=1e-6, abs=1e-8)
        assert conjugate_total(penalty, 0.5 * v, 2.0, skip) == pytest.approx(
            best, rel=1e-6, abs=1e-8
        )


def test_the_conjugate_of_a_norm_is_infinite_outside_of_its_box():
    penalty = LpPenalty(2, 1.0, 0.7)
    nothing = np.zeros(2, dtype=np.uint8)
    assert conjugate_total(penalty, np.array([0.1, 0.71]), 1.0, nothing) == np.inf
    assert conjugate_total(penalty, np.array([0.1, 0.71]), 0.9, nothing) == 0.0
    assert conjugate_total(penalty, np.array([0.1, 0.71]), 1.0, np.uint8([0, 1])) == 0.0


@pytest.mark.parametrize("p", ORDERS)
def test_slope_and_curvature_are_the_derivatives_of_the_penalty(p):
    features, l2_reg = np.array([2, 0]), 0.2
    penalty = LpPenalty(3, p, 0.4, 0.0, np.array([1.0, 5.0, 3.0]), l2_reg)
    for w in (np.array([1.3, -0.7]), np.array([-0.2, 2.0])):
        slope, curvature = np.empty(2), np.empty(2)
        smooth_terms(penalty, features, w, slope, curvature)
        h = 1e-4
        value = [
            0.4 * np.array([3.0, 1.0]) * power(w + k * h, p) + l2_reg / 2 * (w + k * h) ** 2
            for k in (-1, 0, 1)
        ]
        np.testing.assert_allclose(slope, (value[2] - value[0]) / (2 * h), rtol=1e-5)
        second = (value[2] - 2 * value[1] + value[0]) / h**2
        np.testing.assert_allclose(curvature, second, rtol=1e-4, atol=1e-6)


def test_the_reference_and_the_kernel_apply_the_same_update():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 4)), rng.normal(size=9)
    reference = Reference(X, y, p=0.4, alpha=0.2, sparsity_threshold=0.3, l2_reg=0.1)
    penalty = LpPenalty(4, 0.4, 0.2, 0.3, l2_reg=0.1)
    for z in rng.normal(size=(50, 4)):
        expected = [reference.update(z[j], j) for j in range(4)]
        np.testing.assert_allclose(step(penalty, z, reference.lipschitz), expected, rtol=1e-12)


def test_what_a_penalty_does_not_define_is_not_a_number():
    bare = Penalty()
    assert not bare.convex
    assert np.isnan(total(bare, np.ones(2)))


def test_a_penalty_survives_pickling_with_its_mask():
    lipschitz = np.array([5.0, 2.0])
    penalty = LpPenalty(2, 0.5, 0.1, 0.3, np.array([1.0, np.inf]), 0.2, True).bind(lipschitz)
    again = pickle.loads(pickle.dumps(penalty))
    w = np.array([0.7, 0.0])
    assert total(again, w) == total(penalty, w)
    assert total(penalty, w) > total(LpPenalty(2, 0.5, 0.1, 0.0, None, 0.2), w)
    for name in ("n_features", "p", "alpha", "sparsity_threshold", "l2_reg", "positive"):
        assert getattr(again, name) == getattr(penalty, name)
