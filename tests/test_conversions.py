"""The table of doc/coming_from.md: each row an identity.

scikit-learn's rows are compared with scikit-learn. The others are compared with the minimum of the
objective that celer, skglm, glmnet and ncvreg document, found by L-BFGS-B on split variables.
"""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor

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


def test_ncvregs_standardised_columns_are_those_of_a_standard_scaler():
    scaled = (X - X.mean(axis=0)) / SD
    w, b = documented(elastic_net(A, R), scaled)
    coef, intercept = own(StandardScaler().fit_transform(X), p=1, alpha=A * R, l2_reg=A * (1 - R))
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


LABELS = np.sign(Y - np.median(Y))
CLASSES = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
C = 1.5


def logistic(ratio):
    """scikit-learn's elastic net, in the words of versions before and after 1.8."""
    options = {"C": C, "solver": "saga", "tol": 1e-12, "max_iter": 10**6, "l1_ratio": ratio}
    if LogisticRegression().penalty == "l2":
        options["penalty"] = "elasticnet"
    return LogisticRegression(**options)


def machine(penalty):
    return LinearSVC(
        penalty=penalty, C=C, dual=False, fit_intercept=False, tol=1e-9, max_iter=10**6
    )


NO_INTERCEPT = {"loss": "squared_hinge", "fit_intercept": False}
CLASSIFIERS = {
    "LogisticRegression": (logistic(0.0), {"p": 2, "alpha": 1 / (2 * N * C)}),
    "L1": (logistic(1.0), {"p": 1, "alpha": 1 / (N * C)}),
    "elastic net": (
        logistic(R),
        {"p": 1, "alpha": R / (N * C), "l2_reg": (1 - R) / (N * C)},
    ),
    "LinearSVC": (machine("l2"), {"p": 2, "alpha": 1 / (2 * N * C), **NO_INTERCEPT}),
    "LinearSVC, L1": (machine("l1"), {"p": 1, "alpha": 1 / (N * C), **NO_INTERCEPT}),
}


@pytest.mark.parametrize("y", [LABELS, CLASSES], ids=["two classes", "three classes"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifiers_row_gives_scikit_learns_coefficients(name, y):
    other, parameters = CLASSIFIERS[name]
    scaled = X / SD
    model = SparseLpClassifier(tol=1e-12, max_iter=10_000, **parameters).fit(scaled, y)
    other.fit(scaled, y)
    assert model.coef_.shape == other.coef_.shape
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-5)
    # Those of a multinomial model are unique up to a constant; here they sum to 0.
    expected = other.intercept_ - np.mean(other.intercept_) * (model.intercept_.size > 1)
    np.testing.assert_allclose(model.intercept_, expected, atol=1e-5)
