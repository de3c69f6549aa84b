"""Scores of all models of a path at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

from ._linear import linear_predictor
from ._path import SparseLpPath
from ._validation import Matrix

# Predictions that are held at once.
VALUES_AT_ONCE = 2_000_000

# Of targets of shape (n_samples,), predictions of shape (n_samples, n_models) or, for more than two
# classes, (n_samples, n_models, n_classes), and weights of sum 1: a number for each model.
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def squared(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean squared errors, negative."""
    return -(weights @ np.square(prediction - y[:, np.newaxis]))


def huber(epsilon: float) -> Score:
    """Return the score that is the mean of Huber's loss, negative."""

    def score(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return -(weights @ special.huber(epsilon, prediction - y[:, np.newaxis]))

    return score


def poisson(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean Poisson deviances, negative."""
    y = y[:, np.newaxis]
    with np.errstate(over="ignore"):
        mean = np.exp(prediction)
    return -2.0 * (weights @ (special.xlogy(y, y) - y * prediction - y + mean))


def gamma(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean gamma deviances, negative."""
    log_ratio = np.log(y)[:, np.newaxis] - prediction
    with np.errstate(over="ignore"):
        return -2.0 * (weights @ (np.expm1(log_ratio) - log_ratio))


def log_likelihood(codes: np.ndarray, decision: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean logarithms of the probabilities of the right classes."""
    if decision.ndim == 2:
        signs = np.where(codes == 1, 1.0, -1.0)
        return weights @ special.log_expit(signs[:, np.newaxis] * decision)
    right = np.take_along_axis(decision, codes[:, np.newaxis, np.newaxis], axis=2)[..., 0]
    return weights @ (right - special.logsumexp(decision, axis=2))


def accuracy(codes: np.ndarray, decision: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the shares of samples whose class is predicted."""
    found = (decision > 0.0).astype(np.intp) if decision.ndim == 2 else decision.argmax(axis=2)
    return weights @ (found == codes[:, np.newaxis])


# What `scoring` may say; the rest are scorers of scikit-learn, asked one model at a time.
NAMED_SCORES: dict[str, tuple[tuple[str, ...], Score]] = {
    "neg_mean_squared_error": (("squared_error", "huber"), squared),
    "neg_mean_poisson_deviance": (("poisson",), poisson),
    "neg_mean_gamma_deviance": (("gamma",), gamma),
    "neg_log_loss": (("log_loss",), log_likelihood),
    "accuracy": (("log_loss", "squared_hinge"), accuracy),
}


def score_of(scoring: Any, loss: str, epsilon: float) -> Score | None:
    """Return the score that `scoring` stands for, None where a scorer has to be asked.

    Parameters
    ----------
    scoring : str, callable or None
        None is what the loss itself measures, for "squared_hinge" the accuracy.
    loss : str
    epsilon : float
        Of Huber's loss.
    """
    if scoring is None:
        own: dict[str, Score] = {
            "squared_error": squared,
            "huber": huber(epsilon),
            "poisson": poisson,
            "gamma": gamma,
            "log_loss": log_likelihood,
            "squared_hinge": accuracy,
        }
        return own[loss]
    if isinstance(scoring, str) and scoring in NAMED_SCORES:
        losses, score = NAMED_SCORES[scoring]
        return score if loss in losses else None
    return None


def models(path: SparseLpPath) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield coefficients of shape (n_rows, n_features) and the intercepts of each model."""
    several = isinstance(path.coefs, list)
    for k in range(path.alphas.size):
        rows = (
            [path.coefs[c][[k]] for c in range(len(path.coefs))] if several else [path.coefs[[k]]]
        )
        dense = [row if isinstance(row, np.ndarray) else row.toarray() for row in rows]
        yield np.concatenate(dense), np.atleast_1d(path.intercepts[k])


def path_scores(
    score: Score, path: SparseLpPath, X: Matrix, y: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the score of each model of a path.

    Parameters
    ----------
    score : callable
    path : SparseLpPath
    X : ndarray, CSR or CSC of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Targets, or the positions of classes.
    weights : ndarray of shape (n_samples,)
        Of sum 1.
    """
    several = isinstance(path.coefs, list)
    n_models, n_rows = path.alphas.size, len(path.coefs) if several else 1
    scores = np.empty(n_models)
    at_once = max(VALUES_AT_ONCE // (X.shape[0] * n_rows), 1)
    for first in range(0, n_models, at_once):
        some = slice(first, first + at_once)
        intercepts = path.intercepts[some]
        if several:
            shifts = np.ascontiguousarray(intercepts.T)
            parts = [linear_predictor(X, path.coefs[c][some], shifts[c]) for c in range(n_rows)]
            prediction = np.stack(parts, axis=2)
        else:
            prediction = linear_predictor(X, path.coefs[some], intercepts)
        scores[some] = score(y, prediction.astype(np.float64, copy=False), weights)
    return scores
