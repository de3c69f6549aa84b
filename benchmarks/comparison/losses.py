"""The losses of the comparison in NumPy: target, value, gradient and conjugate of each.

A loss is a mean over samples of a function of the prediction f = X w + b; predictions and
gradients have a row per class for the multinomial one.  Nothing here calls a solver.  An intercept
is known to the squared error only.
"""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

CLASSES = (3, 30)  # what counts as a set of classes
LEAST_PER_CLASS = 10


class Quadratic:
    """(y - f)^2 / 2; y centred where no intercept is fitted."""

    @staticmethod
    def suits(y) -> bool:
        """Whether a data set with this target takes part."""
        return True

    @staticmethod
    def target(y, fit_intercept):
        """The target that solvers are given."""
        return y if fit_intercept else y - y.mean()

    @staticmethod
    def bound():
        """The curvature c that the coordinates' bounds L_j are made of."""
        return 1.0

    @staticmethod
    def null_prediction(y, fit_intercept):
        """The prediction at w = 0, the intercept at its optimum."""
        return np.full(y.size, y.mean() if fit_intercept else 0.0)

    @staticmethod
    def value(y, f):
        """The loss."""
        return (y - f) @ (y - f) / (2 * y.size)

    @staticmethod
    def gradient(y, f):
        """The gradient in f, times n."""
        return f - y

    @staticmethod
    def conjugate(y, v):
        """The mean over samples of sup_f (v f - loss(y, f))."""
        return (v @ v / 2 + y @ v) / y.size


class Logistic(Quadratic):
    """log(1 + exp(-y f)); two classes stay what they are, other targets are cut at the median."""

    @staticmethod
    def target(y, fit_intercept):
        classes = np.unique(y)
        return np.where(y > (classes[0] if classes.size == 2 else np.median(y)), 1.0, -1.0)

    @staticmethod
    def bound():
        return 0.25

    @staticmethod
    def value(y, f):
        return np.logaddexp(0.0, -y * f).mean()

    @staticmethod
    def gradient(y, f):
        return -y * np.exp(-np.logaddexp(0.0, y * f))

    @staticmethod
    def conjugate(y, v):
        t = np.clip(-y * v, 0.0, 1.0)
        return np.mean(xlogy(t, t) + xlogy(1 - t, 1 - t))


class Poisson(Quadratic):
    """exp(f) - y f for counts, some of them 0."""

    @staticmethod
    def suits(y) -> bool:
        return bool(np.all(y == np.rint(y)) and y.min() == 0 and y.max() > 1)

    @staticmethod
    def target(y, fit_intercept):
        return np.floor(np.abs(y))

    @staticmethod
    def bound():
        return 1.0  # of the null model: there is none for all predictions

    @staticmethod
    def value(y, f):
        return np.mean(np.exp(f) - y * f)

    @staticmethod
    def gradient(y, f):
        return np.exp(f) - y

    @staticmethod
    def conjugate(y, v):
        mean = np.maximum(v + y, 0.0)
        return np.mean(xlogy(mean, mean) - mean)


class Multinomial(Quadratic):
    """logsumexp(f) - f_y, f a row per class; other targets are cut in three."""

    @staticmethod
    def suits(y) -> bool:
        classes, counts = np.unique(y, return_counts=True)
        few = CLASSES[0] <= classes.size <= CLASSES[1] and counts.min() >= LEAST_PER_CLASS
        return bool(few and np.all(classes == np.rint(classes)))

    @classmethod
    def target(cls, y, fit_intercept):
        if cls.suits(y):
            return np.unique(y, return_inverse=True)[1].astype(float)
        return np.digitize(y, np.quantile(y, [1 / 3, 2 / 3])).astype(float)

    @staticmethod
    def bound():
        return 0.5

    @staticmethod
    def _members(y):
        return np.arange(int(y.max()) + 1)[:, np.newaxis] == y

    @classmethod
    def null_prediction(cls, y, fit_intercept):
        return np.zeros(cls._members(y).shape)

    @classmethod
    def value(cls, y, f):
        return np.mean(np.logaddexp.reduce(f, axis=0) - f[y.astype(int), np.arange(y.size)])

    @classmethod
    def gradient(cls, y, f):
        return np.exp(f - np.logaddexp.reduce(f, axis=0)) - cls._members(y)

    @classmethod
    def conjugate(cls, y, v):
        shares = np.clip(v + cls._members(y), 0.0, 1.0)
        return xlogy(shares, shares).sum() / y.size


LOSSES = {
    "squared_error": Quadratic,
    "log_loss": Logistic,
    "poisson": Poisson,
    "multinomial": Multinomial,
}
