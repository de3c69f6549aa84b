"""Single fits from zero where squared error is not convex: by way of a Lasso to a low local solution, on a Gram matrix."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from .._core._gram_path import lasso_on_gram
from .._core._local_search import local_search
from .certificate import Certifier
from .gram import GramCache, among
from .iterate import Iterate, finish
from .lasso_path import FARTHEST_MEAN
from .problem import SMALL_DESIGN, Problem, SolveResult
from .support_newton import POLISHED

# The Lasso lets features enter at this share of the gradient at which they enter here. Stronger ones come first, each so
# many times as strong as the next, at most, and solved to this gap, of the null objective.
NEAR = 0.7
STEP = 3.0
COARSE = 1e-2
# Columns join for a Lasso by the sequential strong rule, and from this share of its strength on; so many at once, at most.
# Where there are no more than that all do, and the Lasso needs no pass over X.
SHARE = 0.7
LASSO_GROWTH = 70
# Violators that join at once, at least; as many as the support has if that is more.
GROWTH = 30
# With them those that a certificate finds near to entering: one or two passes over X of nine less on rcv1_1500, news20
# and gisette_1000 at alpha_max/100. No more of them than a share of the room.
NEAR_SHARE = 8
# Up to so many columns and coefficients the matrix is cheap. With 1500 and 600 l1/2 on rcv1_1500 takes four times as
# long at alpha_max/100, and ends 0.7 % lower.
LARGEST = 1000
LARGEST_SUPPORT = 300
MOST_PASSES = 30
MOST_EPOCHS = 1000
# Values that exchanges and trials read, for each stored value of X, and at least: 0.1 ms.
SEARCH = 4.0
FEWEST_READ = 200_000.0
# A search of a small design comes to its end: where it is cut short rounding has a say, and weights in place of repeated
# rows end elsewhere.
MOST_READ_OF_SMALL = 1e7


class LocalFit:
    """A fit of one problem.

    Parameters
    ----------
    problem : Problem
        With its gradient scale.
    null_gradient : ndarray of shape (n_features,)
        Gradient at w = 0.
    """

    def __init__(self, problem: Problem, null_gradient: np.ndarray):
        self._problem, self._null_gradient = problem, null_gradient
        self._gram = GramCache(
            problem.design, problem.weights, problem.sums if problem.fit_intercept else None
        )
        self._w = np.empty(0)
        # Room that is not touched takes no memory.
        self._factor, self._order = np.empty((LARGEST, LARGEST)), np.zeros(LARGEST + 1, dtype=np.int32)
        n_stored = problem.design.n_stored
        self._search = max(SEARCH * n_stored, FEWEST_READ) if n_stored > SMALL_DESIGN else MOST_READ_OF_SMALL
        self._n_iter = 0

    @staticmethod
    def applies(problem: Problem) -> bool:
        """Whether a fit from zero may go this way."""
        known = (
            problem.loss.quadratic
            and not problem.convex
            and problem.n_usable
            and not problem.free.any()
        )
        return bool(known) and problem.farthest_mean <= FARTHEST_MEAN

    def run(
        self, tol: float, max_iter: int
    ) -> Generator[np.ndarray, np.ndarray, SolveResult | None]:
        """Return the fit, None where it is left to others; yields vectors to multiply."""
        problem, certifier = self._problem, Certifier(self._problem)
        if not (yield from self._lasso(max_iter)):
            return None
        for _ in range(MOST_PASSES):
            if not self._descend(max_iter):
                return None
            point = self._point()
            gradient = yield point.raw_gradient
            certificate = certifier.certify(point.w, point.prediction, point.raw_gradient, gradient)
            if certificate.holds(problem, tol):
                history = [problem.null_objective, certificate.objective]
                return finish("cd", point, certificate, self._n_iter, True, history)
            fresh = ~among(certificate.candidates, np.sort(self._gram.features))
            new, scores = certificate.candidates[fresh], certificate.violations[fresh]
            n_violators, most = np.count_nonzero(scores > 0.0), max(GROWTH, np.count_nonzero(self._w))
            if not n_violators:
                return None
            near = max((LARGEST - self._w.size - n_violators) // NEAR_SHARE, 0)
            self._join(new, scores, min(most, n_violators + near))
        return None

    def _lasso(self, max_iter: int) -> Generator[np.ndarray, np.ndarray, bool]:
        """Find columns and coefficients to start from; return whether there are any, and few."""
        problem, gram = self._problem, self._gram
        reach = self._reach(self._null_gradient)
        former = float(reach.max())
        if not 1.0 < former < np.inf:
            return False
        share = SHARE if problem.n_usable > LASSO_GROWTH else 0.0
        n_stages = int(np.ceil(np.log(former / NEAR) / np.log(STEP)))
        for strength in NEAR * (former / NEAR) ** (np.arange(n_stages - 1, -1, -1) / n_stages):
            if 0 < self._w.size < problem.n_usable:
                reach = self._reach((yield self._point().raw_gradient))
            reach[gram.features] = -np.inf
            new = np.flatnonzero(reach > max(2.0 * strength - former, share * strength))
            self._join(new, reach[new], LASSO_GROWTH)
            former, size, figures = strength, self._w.size, np.empty((1, 4))
            n_done = lasso_on_gram(
                gram.matrix, problem.entry[gram.features], self._null_gradient[gram.features],
                2.0 * problem.null_objective, np.array([strength]), problem.penalty.l2_reg, problem.penalty.positive,
                max_iter, COARSE * problem.null_objective, np.inf, self._w, np.empty((1, size)), figures,
                np.empty(3 * size), np.empty((size, size)), *np.zeros((2, size + 1), dtype=np.int32),
            )  # fmt: skip
            if not n_done or np.count_nonzero(self._w) > LARGEST_SUPPORT:
                return False
            self._n_iter += int(figures[0, 3])
        return True

    def _descend(self, max_iter: int) -> bool:
        """Go to a local solution of the columns so far; return whether that has come to an end, and below zero."""
        problem, features, size = self._problem, self._gram.features, self._w.size
        limit = min(max_iter - self._n_iter, MOST_EPOCHS)
        if size > LARGEST or limit <= 0:
            return False
        epochs, gain, n_read = local_search(
            self._gram.matrix, features, problem.lipschitz[features], problem.entry[features],
            self._null_gradient[features], problem.penalty, POLISHED * problem.gradient_scale, limit,
            int(max(self._search, 0.0)), self._w, np.empty(11 * size), self._factor, self._order,
            np.empty(3 * size, dtype=np.int32),
        )  # fmt: skip
        self._n_iter += epochs
        self._search -= n_read
        return epochs < limit and gain > 0.0

    def _join(self, new: np.ndarray, scores: np.ndarray, most: int) -> None:
        """Let the columns of the highest scores join."""
        if new.size > most:
            new = new[np.argpartition(scores, -most)[-most:]]
        if new.size:
            self._gram.grow(new)
            self._w = np.concatenate([self._w, np.zeros(new.size)])

    def _reach(self, gradient: np.ndarray) -> np.ndarray:
        """Return gradients as multiples of those at which features enter."""
        pull = np.maximum(-gradient, 0.0) if self._problem.penalty.positive else np.abs(gradient)
        # No penalty but a ridge: there is nothing to enter at.
        with np.errstate(divide="ignore"):
            return np.divide(pull, self._problem.entry, out=np.zeros(pull.size), where=pull > 0.0)

    def _point(self) -> Iterate:
        """Return the coefficients in their places, with their predictions."""
        w = np.zeros(self._problem.design.n_features)
        w[self._gram.features] = self._w
        return Iterate.at(self._problem, w, self._problem.null_intercept)
