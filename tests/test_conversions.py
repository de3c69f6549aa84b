"""The table "From other libraries" of the README: each row an identity.

scikit-learn's rows are compared with scikit-learn. The others are compared with the minimum of the
objective that celer, skglm and glmnet document, found by L-BFGS-B on split variables.
"""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

from sklearn_sparselp import SparseLpRegressor

N, D = 60, 8
A, R, DELTA = 0.2, 0.7, 0.8


def make_data(n_samples=N, n_features=D):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n_samples, n_features)) * rng.uniform(0.5, 3.0, n_features)
    X += rng.normal(size=n_features)
    return X, X[:, :3] @ [2.0, -1.0, 0.5] + 1.0 + 0.4 * rng.normal(size=n_samples)


X, Y = make_data()
U = np.random.default_rng(4).uniform(0.5, 2.0, D)
SD = X.std(axis=0)


def own(X=X, y=Y, **parameters):
    model = SparseLpRegressor(tol=1e-12, max_iter=10_000, **parameters).fit(X, y)
    return model.coef_, model.intercept_


def documented(penalty, X=X, y=Y, loss=lambda r: (0.5 * r**2, r)):
    """Minimum of ``1/n sum loss(f - y) + penalty(|w|)``: penalty returns value and slope."""

    def objective(v):
        w = v[:D] - v[D : 2 * D]
        value, slope = loss(X @ w + v[-1] - y)
        gradient = X.T @ slope / len(y)
        size, by_size = penalty(v[:D] + v[D : 2 * D])
        full = np.concatenate([gradient + by_size, by_size - gradient, [slope.mean()]])
        return value.mean() + size, full

    bounds = [(0.0, None)] * (2 * D) + [(None, None)]
    options = {"ftol": 1e-16, "gtol": 1e-11, "maxiter": 20_000, "maxfun": 40_000}
    v = minimize(objective, np.zeros(2 * D + 1), jac=True, bounds=bounds, options=options).x
    return v[:D] - v[D : 2 * D], v[-1]


def weighted_l1(a, u):
    return lambda size: (a * (u @ size), a * u)


def elastic_net(a, r):
    def penalty(size):
        value = a * (r * size.sum() + 0.5 * (1.0 - r) * (size**2).sum())
        return value, a * (r + (1.0 - r) * size)

    return penalty


def huber(residual):
    slope = np.clip(residual, -DELTA, DELTA)
    return slope * residual - 0.5 * slope**2, slope


SCIKIT_LEARN = {
    "Lasso": (Lasso(alpha=A, tol=1e-14, max_iter=10**6), {"p": 1, "alpha": A}),
    "ElasticNet": (
        ElasticNet(alpha=A, l1_ratio=R, tol=1e-14, max_iter=10**6),
        {"p": 1, "alpha": A * R, "l2_reg": A * (1 - R)},
    ),
    "Ridge as p = 2": (Ridge(alpha=A, tol=1e-14), {"p": 2, "alpha": A / (2 * N)}),
    "Ridge as l2_reg": (Ridge(alpha=A, tol=1e-14), {"alpha": 0, "l2_reg": A / N}),
}


@pytest.mark.parametrize("name", SCIKIT_LEARN)
def test_scikit_learns_row_gives_scikit_learns_coefficients(name):
    other, parameters = SCIKIT_LEARN[name]
    coef, intercept = own(**parameters)
    other.fit(X, Y)
    np.testing.assert_allclose(coef, other.coef_, atol=1e-7)
    np.testing.assert_allclose(intercept, other.intercept_, atol=1e-7)


OBJECTIVES = {
    "celer.Lasso, skglm.WeightedLasso": (
        documented(weighted_l1(A, U)),
        {"p": 1, "alpha": A, "penalty_factor": U},
    ),
    "celer.ElasticNet, skglm.ElasticNet": (
        documented(elastic_net(A, R)),
        {"p": 1, "alpha": A * R, "l2_reg": A * (1 - R)},
    ),
    "skglm Huber with L1": (
        documented(weighted_l1(A, np.ones(D)), loss=huber),
        {"p": 1, "alpha": A, "loss": "huber", "epsilon": DELTA},
    ),
    "glmnet, factors rescaled to mean 1": (
        documented(weighted_l1(A, U * D / U.sum())),
        {"p": 1, "alpha": A, "penalty_factor": U / U.mean()},
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_row_gives_the_minimum_of_the_objective_that_the_peer_documents(name):
    (w, b), parameters = OBJECTIVES[name]
    coef, intercept = own(**parameters)
    np.testing.assert_allclose(coef, w, atol=2e-5)
    np.testing.assert_allclose(intercept, b, atol=2e-5)


def test_glmnets_standardised_columns_are_factors():
    # glmnet solves for the columns divided by their standard deviation and divides back.
    w, b = documented(weighted_l1(A, U / U.mean()), (X - X.mean(axis=0)) / SD)
    coef, intercept = own(p=1, alpha=A, penalty_factor=SD * U / U.mean())
    np.testing.assert_allclose(coef, w / SD, atol=2e-5)
    np.testing.assert_allclose(intercept, b - X.mean(axis=0) @ (w / SD), atol=2e-5)


def test_glmnets_elastic_net_of_a_target_of_unit_variance():
    y = Y / Y.std()
    w, b = documented(elastic_net(A, R), y=y)
    coef, intercept = own(y=y, p=1, alpha=A * R, l2_reg=A * (1 - R))
    np.testing.assert_allclose(coef, w, atol=2e-5)
    np.testing.assert_allclose(intercept, b, atol=2e-5)


@pytest.mark.parametrize("p", [1 / 2, 2 / 3])
def test_skglms_concave_penalties_carry_alpha_alone(p):
    # 1/(2n) ||y - X w - b||^2 + a sum |w|^p: no change of one coefficient lowers it.
    w, b = own(p=p, alpha=A)

    def objective(w):
        residual = Y - X @ w
        residual -= residual.mean()
        return 0.5 * (residual**2).mean() + A * (np.abs(w) ** p).sum()

    assert np.count_nonzero(w) > 0
    assert b == pytest.approx((Y - X @ w).mean())
    for j in range(D):
        others = np.where(np.arange(D) == j, 0.0, w)
        values = [objective(others + t * (np.arange(D) == j)) for t in np.linspace(-3, 3, 2001)]
        assert objective(w) <= min(values) + 1e-12


def test_logistic_regressions_c_is_one_over_n_alpha():
    # The optimality conditions of 1/n sum log(1 + exp(-t f)) + alpha |w|_1 at its solution.
    t = np.sign(Y - np.median(Y))
    alpha = 0.05
    # scikit-learn 1.8 drops ``penalty`` for ``l1_ratio``.
    l1 = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1}
    other = LogisticRegression(C=1 / (N * alpha), solver="saga", tol=1e-12, max_iter=10**6, **l1)
    other.fit(X, t)
    w = other.coef_[0]
    g = X.T @ (-t / (1.0 + np.exp(t * (X @ w + other.intercept_[0])))) / N
    assert np.count_nonzero(w) > 0
    np.testing.assert_allclose(g[w != 0], -alpha * np.sign(w[w != 0]), atol=1e-6)
    assert (np.abs(g[w == 0]) <= alpha).all()
