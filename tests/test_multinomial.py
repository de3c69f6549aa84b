"""Multinomial logistic regression without an estimator: its loss, and what solvers find."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from layouts import LAYOUTS
from mpmath import mp, mpf
from numpy.testing import assert_allclose
from reference import prox
from scipy import optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn_sparselp._core._loss import Multinomial
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp._solvers import SOLVERS, Design, solve
from sklearn_sparselp._solvers.certificate import Certifier
from sklearn_sparselp._solvers.class_states import OtherClasses
from sklearn_sparselp._solvers.multinomial import MultinomialProblem

N, D, K = 50, 8, 3
EPS = np.finfo(np.float64).eps
FACTORS = np.array([1.0, 0.5, 2.0, np.inf, 1.0, 1.0, 0.3, 1.0])
CONVEX = [
    {"p": 1.0, "alpha": 0.02},
    {"p": 1.0, "alpha": 0.05, "fit_intercept": False},
    {"p": 1.0, "alpha": 0.02, "l2_reg": 0.1, "penalty_factor": FACTORS},
    {"p": 1.5, "alpha": 0.02},
    {"p": 2.0, "alpha": 0.02, "positive": True},
    {"p": 3.0, "alpha": 0.02},
]
NONCONVEX = [
    {"p": 0.0, "alpha": 0.02, "l2_reg": 0.01},
    {"p": 0.5, "alpha": 0.02},
    {"p": 0.5, "alpha": 0.02, "fit_intercept": False, "penalty_factor": FACTORS},
    {"p": 1.0, "alpha": 0.01, "sparsity_threshold": 0.2},
    {"p": 2.0, "alpha": 0.01, "sparsity_threshold": 0.3},
]


def pairs(cases):
    return [
        pytest.param(solver, case, id=",".join([solver, *(f"{k}={v}" for k, v in case.items())]))
        for solver, row in SOLVERS.items()
        for case in cases
        if case["p"] > 1.0 or not row.smooth_only
    ]


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) * rng.uniform(0.5, 2.0, D) + rng.normal(size=D)
    X *= rng.uniform(size=X.shape) < 0.8
    W = np.zeros((K, D))
    W[:, :4] = 1.5 * rng.normal(size=(K, 4))
    y = np.argmax(X @ W.T + rng.gumbel(size=(N, K)), axis=1)
    return X, y, rng.integers(0, 4, N).astype(np.float64)


def problem_of(X, y, case, weights=None):
    terms = {k: v for k, v in case.items() if k != "fit_intercept"}
    penalty = LpPenalty(D, **terms)
    return MultinomialProblem(Design(X), y, K, penalty, weights, case.get("fit_intercept", True))


def run(X, y, case, weights=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return solve([problem_of(X, y, case, weights)], **options)[0]


class Oracle:
    """The problem written down in NumPy, coefficients of shape (K, D)."""

    def __init__(self, X, y, weights=None, *, p, alpha, sparsity_threshold=0.0, l2_reg=0.0,
                 penalty_factor=None, positive=False, fit_intercept=True):  # fmt: skip
        self.X, self.members = X, np.eye(K)[y]
        weights = np.ones(len(y)) if weights is None else weights
        self.s = weights / weights.sum()
        self.p, self.tau, self.l2_reg, self.positive = p, sparsity_threshold, l2_reg, positive
        self.fit_intercept = fit_intercept
        u = np.ones(D) if penalty_factor is None else penalty_factor
        mean = self.s @ X if fit_intercept else 0.0
        self.L = 0.25 * (self.s @ (X - mean) ** 2) + l2_reg
        self.usable = np.isfinite(u)
        self.strength = alpha * np.where(self.usable, u, 0.0)
        saved = self.strength * (1.0 - p) * (self.tau**p if self.tau else 0.0)
        self.kappa = (
            np.maximum(0.0, 0.5 * self.L * self.tau**2 - saved) if self.tau else np.zeros(D)
        )

    def loss(self, W, b):
        f = self.X @ W.T + b
        return self.s @ (special.logsumexp(f, axis=1) - (f * self.members).sum(axis=1))

    def penalty(self, W):
        on = W != 0.0
        each = self.strength * np.abs(np.where(on, W, 1.0)) ** self.p + self.kappa
        return (each * on).sum() + 0.5 * self.l2_reg * (W**2).sum()

    def intercept(self, W):
        if not self.fit_intercept:
            return np.zeros(K)

        def free(c):
            return np.append(c, -c.sum())

        def slopes(c):
            excess = special.softmax(self.X @ W.T + free(c), axis=1) - self.members
            by_class = self.s @ excess
            return by_class[:-1] - by_class[-1]

        return free(optimize.root(slopes, np.zeros(K - 1), method="hybr", tol=1e-14).x)

    def gradient(self, W, b):
        excess = special.softmax(self.X @ W.T + b, axis=1) - self.members
        return (self.s[:, None] * excess).T @ self.X + self.l2_reg * W

    def residual(self, W, b):
        g, at_zero = self.gradient(W, b), self.gradient(0.0 * W, self.intercept(0.0 * W))
        worst = 0.0
        for k in range(K):
            for j in np.flatnonzero(self.usable):
                z = W[k, j] - g[k, j] / self.L[j]
                t = prox(z, self.strength[j] / self.L[j], self.p)
                t = 0.0 if abs(t) <= self.tau or (self.positive and z <= 0.0) else t
                worst = max(worst, self.L[j] * abs(W[k, j] - t))
        return worst / np.abs(at_zero[:, self.usable]).max()

    def optimum(self):
        """By L-BFGS-B on the positive and negative parts."""
        size = K * D

        def value_and_slope(x):
            a, c, b = x[:size].reshape(K, D), x[size : 2 * size].reshape(K, D), x[2 * size :]
            W = a - c
            excess = special.softmax(self.X @ W.T + b, axis=1) - self.members
            smooth = self.gradient(W, b)
            bend = self.strength * self.p * (a + c) ** (self.p - 1.0)
            value = self.loss(W, b) + (self.strength * (a + c) ** self.p).sum()
            value += 0.5 * self.l2_reg * (W**2).sum()
            parts = [(smooth + bend).ravel(), (bend - smooth).ravel(), self.s @ excess]
            return value, np.concatenate(parts)

        up = [(0.0, None if use else 0.0) for use in self.usable] * K
        down = [(0.0, None if use and not self.positive else 0.0) for use in self.usable] * K
        middle = [(None, None) if self.fit_intercept else (0.0, 0.0)] * K
        x = np.zeros(2 * size + K)
        for _ in range(2):
            x = optimize.minimize(
                value_and_slope, x, jac=True, method="L-BFGS-B", bounds=[*up, *down, *middle],
                options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11},
            ).x  # fmt: skip
        return value_and_slope(x)[0]


@pytest.mark.parametrize("label", range(3))
def test_the_loss_and_its_derivatives_are_exact_over_a_wide_range(label):
    mp.dps = 60
    rng = np.random.default_rng(label)
    loss, one, y = Multinomial(3), np.ones(3), np.eye(3)[label]
    for size in (0.0, 1e-300, 1e-8, 1.0, 30.0, 700.0, 1e4, 1e100):
        for _ in range(5):
            f = size * rng.normal(size=3)
            gradient, curvature = np.empty(3), np.empty(3)
            loss.derivatives(y, f, one, gradient, curvature)
            others = [mpf(v) - mpf(f[label]) for v in np.delete(f, label)]
            value = mp.log1p(sum(mp.exp(v) for v in others))
            found = loss.value(y, f, one)
            noise = 8 * EPS * (1 + max(map(abs, map(mpf, f))))
            assert abs(mpf(found) - value) <= noise * value + mpf(1e-307)
            total = sum(mp.exp(mpf(v)) for v in f)
            for k in range(3):
                rest = sum(mp.exp(mpf(f[m])) for m in range(3) if m != k) / total
                chance = mp.exp(mpf(f[k])) / total
                slope = -rest if k == label else chance
                assert abs(mpf(gradient[k]) - slope) <= noise * abs(slope) + mpf(1e-307)
                bend = chance * rest
                assert abs(mpf(curvature[k]) - bend) <= 4 * noise * bend + mpf(1e-307)


def test_the_conjugate_bounds_the_loss_and_meets_it_at_the_gradient():
    rng = np.random.default_rng(1)
    y = np.eye(K)[rng.integers(0, K, 6)].T.ravel()
    weights = np.tile(rng.integers(0, 3, 6) / 8.0, K)
    loss = Multinomial(K)
    for _ in range(50):
        f, other = 2.0 * rng.normal(size=6 * K), 2.0 * rng.normal(size=6 * K)
        gradient, curvature = np.empty(6 * K), np.empty(6 * K)
        loss.derivatives(y, f, weights, gradient, curvature)
        met = loss.value(y, f, weights) + loss.conjugate(y, gradient, 1.0, weights)
        np.testing.assert_allclose(met, gradient @ f, rtol=1e-10, atol=1e-12)
        for scale in (0.0, 0.3, 0.9):
            bound = loss.value(y, other, weights) + loss.conjugate(y, gradient, scale, weights)
            assert bound >= scale * gradient @ other - 1e-12


@pytest.mark.parametrize("layout", ["dense_c", "dense_f", "csr_array_int32", "csc_array_int64"])
@pytest.mark.parametrize(("solver", "case"), pairs(CONVEX))
def test_convex_problems_end_at_the_optimum(solver, case, layout):
    X, y, weights = data()
    result = run(LAYOUTS[layout](X), y, case, weights, solver=solver, tol=1e-9, max_iter=20_000)
    oracle = Oracle(X, y, weights, **case)
    W, b = result.coef.reshape(K, D), result.intercept
    null = oracle.loss(np.zeros((K, D)), oracle.intercept(np.zeros((K, D))))
    best = oracle.optimum()
    assert result.converged
    assert result.objective == pytest.approx(oracle.loss(W, b) + oracle.penalty(W), rel=1e-12)
    assert result.objective <= best + 1.1e-9 * null
    assert result.objective - best <= result.dual_gap + 1e-11
    assert result.dual_gap <= 1e-9 * null
    assert (np.diff(result.history) <= 1e-13).all()
    assert not W[:, ~oracle.usable].any()
    if oracle.fit_intercept:
        np.testing.assert_allclose(b, oracle.intercept(W), atol=1e-6)
        assert abs(b.sum()) <= 1e-12


@pytest.mark.parametrize("layout", ["dense_c", "csr_array_int64"])
@pytest.mark.parametrize(("solver", "case"), pairs(NONCONVEX))
def test_other_problems_end_at_a_fixed_point(solver, case, layout):
    X, y, weights = data(1)
    result = run(LAYOUTS[layout](X), y, case, weights, solver=solver, tol=1e-7, max_iter=20_000)
    oracle = Oracle(X, y, weights, **case)
    W, b = result.coef.reshape(K, D), result.intercept
    assert result.converged
    assert np.isnan(result.dual_gap)
    assert W.any()
    assert oracle.residual(W, b) <= 1.01e-7
    np.testing.assert_allclose(
        result.fixed_point_residual, oracle.residual(W, b), rtol=1e-4, atol=1e-11
    )
    assert result.objective == pytest.approx(oracle.loss(W, b) + oracle.penalty(W), rel=1e-12)
    assert (np.diff(result.history) <= 1e-13).all()


@pytest.mark.parametrize("case", [CONVEX[0], CONVEX[2], CONVEX[3]], ids=str)
def test_the_gap_bounds_the_distance_to_the_optimum_anywhere(case):
    X, y, weights = data(2)
    oracle, best = Oracle(X, y, weights, **case), Oracle(X, y, weights, **case).optimum()
    rng = np.random.default_rng(0)
    for size in (0.0, 0.1, 1.0, 10.0):
        problem = problem_of(X, y, case, weights)
        W = np.where(oracle.usable, size * rng.normal(size=(K, D)), 0.0)
        prediction, b = problem.predict(W.ravel(), problem.no_intercept)
        raw, _ = problem.derivatives(prediction)
        smooth = problem.design.rmatvec(raw[np.newaxis])[0]
        problem.set_gradient_scale(smooth)
        certificate = Certifier(problem).certify(W.ravel(), prediction, raw, smooth)
        value = oracle.loss(W, b) + oracle.penalty(W)
        assert certificate.objective == pytest.approx(value, rel=1e-12)
        assert certificate.dual_gap >= value - best - 1e-11 * value
        assert np.isfinite(certificate.dual_gap)


@pytest.mark.parametrize("penalty", [1, 2])
def test_the_optimum_is_that_of_scikit_learn(penalty):
    X, y, _ = data(3)
    alpha = 0.01
    result = run(X, y, {"p": penalty, "alpha": alpha}, tol=1e-10, max_iter=10_000)
    l1_ratio = 1.0 if penalty == 1 else 0.0
    peer = LogisticRegression(
        C=1.0 / (N * alpha * penalty), l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=200_000
    )
    if peer.penalty == "l2":  # older than 1.8
        peer.set_params(penalty="elasticnet")
    peer.fit(X, y)
    oracle = Oracle(X, y, p=penalty, alpha=alpha)
    theirs = oracle.loss(peer.coef_, peer.intercept_) + oracle.penalty(peer.coef_)
    assert result.objective == pytest.approx(theirs, rel=1e-6)
    np.testing.assert_allclose(result.coef.reshape(K, D), peer.coef_, atol=5e-4)


@pytest.mark.parametrize(("solver", "case"), pairs([CONVEX[0], CONVEX[3], NONCONVEX[1]]))
def test_weights_count_rows(solver, case):
    X, y, weights = data(4)
    repeated = np.repeat(np.arange(N), weights.astype(int))
    weighted = run(X, y, case, weights, solver=solver, tol=1e-10, max_iter=20_000)
    plain = run(X[repeated], y[repeated], case, solver=solver, tol=1e-10, max_iter=20_000)
    np.testing.assert_allclose(weighted.coef, plain.coef, atol=1e-5)
    np.testing.assert_allclose(weighted.intercept, plain.intercept, atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_predictions_far_apart_neither_overflow_nor_loop(solver):
    X, y, _ = data(5)
    case = {"p": 2.0, "alpha": 1e-4}
    start = 1e3 * np.random.default_rng(0).normal(size=K * D)
    options = {"solver": solver, "tol": 1e-6, "max_iter": 5000}
    result = run(
        X, y, case, coef_init=[start], intercept_init=[np.array([1e3, -1e3, 0.0])], **options
    )
    assert result.converged
    assert result.objective == pytest.approx(run(X, y, case, **options).objective, rel=1e-4)


def test_unpenalised_features_have_their_gap_too():
    X, y, weights = data(6)
    case = {"p": 1.0, "alpha": 0.02, "penalty_factor": np.where(np.arange(D) < 2, 0.0, 1.0)}
    result = run(X, y, case, weights, tol=1e-8)
    assert result.converged
    assert result.objective <= Oracle(X, y, weights, **case).optimum() + 1e-8
    assert result.dual_gap <= 1e-8 * 1.2


@pytest.mark.parametrize("scale", [1.0, 30.0, 2000.0])
def test_sum_over_the_other_classes_keeps_its_digits_while_classes_change(scale):
    rng = np.random.default_rng(3)
    prediction = scale * rng.standard_normal((5, 40))
    others = OtherClasses(prediction)
    for k in (0, 2, 3, 4):
        rest = np.delete(prediction, k, axis=0)
        assert_allclose(
            others.log_sum(k), np.logaddexp.reduce(rest, axis=0), rtol=1e-13, atol=1e-13
        )
        # Far beyond the highest prediction that the sums have started from.
        prediction[k] += scale * rng.standard_normal(40)
