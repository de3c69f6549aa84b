"""Multinomial logistic regression as one problem: a coefficient for each class and feature.

Vectors over coefficients, predictions and weights come class by class, one after the
other, so that solvers see one long problem whose design is block-diagonal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Self

import numpy as np

from .._core._loss import LogLoss, Multinomial
from .._core._penalty import Penalty
from .design import NO_INDEX, ColumnBlock, Design
from .problem import Problem
from .support_newton import SupportModel

# A matrix of second derivatives on the support up to this size, and up to so many values that it walks.
LARGEST_FACTOR = 200
LARGEST_WORK = 2_000_000
# Of the K-dimensional search for the intercepts.
MOST_STEPS = 100
EPS = np.finfo(np.float64).eps


class StackedBlock:
    """Columns of several classes, with the verbs of a `ColumnBlock`.

    Parameters
    ----------
    blocks : list of ColumnBlock
        The columns of each class.
    softmax : Softmax or None
        The curvature between classes, for `bend`.
    """

    rows = NO_INDEX

    def __init__(self, blocks: list[ColumnBlock], softmax: Softmax | None = None):
        self._blocks = blocks
        self._softmax = softmax
        self._ends = np.cumsum([len(block) for block in blocks])[:-1]

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks)

    @property
    def factored(self) -> bool:
        """Whether the matrix of second derivatives is small enough to be made, a column at a time."""
        return len(self) <= LARGEST_FACTOR and len(self) * self.n_samples <= LARGEST_WORK

    def gram(self, curvature: object = None) -> np.ndarray:
        """Return ``block.T @ H @ block``, H the second derivative in the predictions."""
        matrix = np.empty((len(self), len(self)))
        unit = np.zeros(len(self))
        for k in range(len(self)):
            unit[k] = 1.0
            matrix[k] = self.products(self.bend(self.combine(unit)))
            unit[k] = 0.0
        return 0.5 * (matrix + matrix.T)

    @property
    def n_samples(self) -> int:
        """Predictions, of all classes."""
        return sum(block.n_samples for block in self._blocks)

    @property
    def n_stored(self) -> int:
        """Stored values of the blocks."""
        return sum(block.n_stored for block in self._blocks)

    def coupled(self, softmax: Softmax) -> StackedBlock:
        """Return the same columns with a curvature between classes."""
        return StackedBlock(self._blocks, softmax)

    def products(self, vector: np.ndarray) -> np.ndarray:
        """Return ``block.T @ vector``."""
        parts = vector.reshape(len(self._blocks), -1)
        return np.concatenate([block.products(part) for block, part in zip(self._blocks, parts, strict=True)])

    def combine(self, scales: np.ndarray) -> np.ndarray:
        """Return ``block @ scales``."""
        parts = np.split(scales, self._ends)
        return np.concatenate([block.combine(part) for block, part in zip(self._blocks, parts, strict=True)])

    def bend(self, moved: np.ndarray, curvature: object = None) -> np.ndarray:
        """Return how a change of the predictions changes the raw gradient, the intercepts at their optimum."""
        return self._softmax.bend(moved)

    def moments(self, weights: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments of the columns of each class, see `ColumnBlock.moments`."""
        parts = weights.reshape(len(self._blocks), -1)
        pairs = [block.moments(part, centred) for block, part in zip(self._blocks, parts, strict=True)]
        return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


class Softmax:
    """The second derivative of the loss in the predictions of each sample, the intercepts profiled out.

    Parameters
    ----------
    prediction : ndarray of shape (n_classes, n_samples)
    weights : ndarray of shape (n_samples,)
    centred : bool
        Whether there are intercepts.
    """

    def __init__(self, prediction: np.ndarray, weights: np.ndarray, centred: bool):
        likely = np.exp(prediction - prediction.max(axis=0))
        likely /= likely.sum(axis=0)
        self._likely, self._weights = likely, weights
        self._inverse = None
        if centred:
            # Intercepts that move alike change nothing: with the mean of all taken out the matrix is regular.
            bends = self.of_intercepts()
            rank_one = np.full_like(bends, bends.trace() / bends.shape[0] ** 2)
            self._inverse = np.linalg.pinv(bends + rank_one, rcond=1e-14, hermitian=True)

    def of_intercepts(self) -> np.ndarray:
        """Return the matrix of shape (n_classes, n_classes) of second derivatives in the intercepts."""
        weighted = self._likely * self._weights
        return np.diag(weighted.sum(axis=1)) - weighted @ self._likely.T

    def bend(self, moved: np.ndarray) -> np.ndarray:
        """Return the change of the raw gradient with a change of the predictions, both class by class."""
        bent = self._raw(moved.reshape(self._likely.shape))
        if self._inverse is not None:
            shift = self._inverse @ bent.sum(axis=1)
            bent -= self._raw(np.broadcast_to(shift[:, np.newaxis], bent.shape))
        return bent.reshape(-1)

    def _raw(self, moved: np.ndarray) -> np.ndarray:
        bent = self._likely * moved
        bent -= self._likely * bent.sum(axis=0)
        bent *= self._weights
        return bent


class StackedDesign:
    """The block-diagonal design of several classes over one matrix, which each product reads once.

    Parameters
    ----------
    base : Design
    n_classes : int
    """

    def __init__(self, base: Design, n_classes: int):
        self.base = base
        self.features = base.features
        self.n_classes = n_classes
        self.n_samples = n_classes * base.n_samples
        self.n_features = n_classes * base.n_features
        self.shape = self.n_samples, self.n_features
        self.n_stored = base.n_stored

    def prefer_columns(self) -> None:
        """See `Design.prefer_columns`."""
        self.base.prefer_columns()

    def rmatvec(self, vectors: np.ndarray) -> np.ndarray:
        """Return ``vectors @ X`` for vectors of shape (n_vectors, n_samples)."""
        return self.base.rmatvec(vectors.reshape(-1, self.base.n_samples)).reshape(-1, self.n_features)

    def matvec(self, coefs: np.ndarray) -> np.ndarray:
        """Return ``coefs @ X.T`` for coefs of shape (n_vectors, n_features)."""
        return self.base.matvec(coefs.reshape(-1, self.base.n_features)).reshape(-1, self.n_samples)

    def moments(self, weights: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments of the columns of each class, whose weights are the same."""
        sums, squares = self.base.moments(weights[: self.base.n_samples], centred)
        return np.tile(sums, self.n_classes), np.tile(squares, self.n_classes)

    def normalised_weights(self, sample_weight: np.ndarray | None) -> np.ndarray:
        """Return weights that sum to one in each class."""
        return np.tile(self.base.normalised_weights(sample_weight), self.n_classes)

    def split(self, features: np.ndarray) -> list[np.ndarray]:
        """Return the features of each class, by their position in it; features ascend."""
        n_features = self.base.n_features
        ends = np.searchsorted(features, n_features * np.arange(1, self.n_classes))
        return [part - k * n_features for k, part in enumerate(np.split(features, ends))]

    def columns(self, features: np.ndarray) -> StackedBlock:
        """Return some columns, see `Design.columns`."""
        return StackedBlock([self.base.columns(part) for part in self.split(features)])

    def few_columns(self, features: np.ndarray) -> StackedBlock:
        """Return some columns, see `Design.few_columns`."""
        return StackedBlock([self.base.few_columns(part) for part in self.split(features)])


class MultinomialProblem(Problem):
    """F_tau of multinomial logistic regression with a coefficient for each class and feature.

    Parameters
    ----------
    design : Design
    labels : ndarray of shape (n_samples,), dtype int
        Class of each sample, from 0.
    n_classes : int
    penalty : Penalty
        Not bound yet, over the features; every class has its own such penalty.
    sample_weight : ndarray of shape (n_samples,), dtype float64, or None
    fit_intercept : bool

    Attributes
    ----------
    n_classes : int
    """

    def __init__(
        self,
        design: Design,
        labels: np.ndarray,
        n_classes: int,
        penalty: Penalty,
        sample_weight: np.ndarray | None = None,
        fit_intercept: bool = True,
    ):
        self.n_classes = n_classes
        self._of_class = penalty
        members = (np.arange(n_classes)[:, np.newaxis] == labels).astype(np.float64)
        super().__init__(
            StackedDesign(design, n_classes),
            members.reshape(-1),
            Multinomial(n_classes),
            penalty.repeated(n_classes),
            sample_weight,
            fit_intercept,
        )

    def at(self, alpha: float, p: float | None = None, sparsity_threshold: float | None = None) -> Self:
        """Return this problem with another strength of the penalty, and order or mask if given; the rest is shared."""
        other = super().at(alpha, p, sparsity_threshold)
        other._of_class = self._of_class.at(alpha, p, sparsity_threshold)
        return other

    def reweighted(self, sample_weight: np.ndarray) -> MultinomialProblem:
        """Return the problem of the same data with other weights."""
        return self._rebuilt(self._of_class, sample_weight)

    def free_only(self) -> MultinomialProblem:
        """Return the problem of the unpenalised features alone."""
        return self._rebuilt(self._of_class.free_only(), self.by_class(self.weights)[0])

    def relaxed(self, support: np.ndarray) -> MultinomialProblem:
        """Return the problem of the features that any class has in the support with no penalty but the ridge."""
        penalty = self._of_class.relaxed(self.by_class(support).any(axis=0))
        return self._rebuilt(penalty, self.by_class(self.weights)[0])

    def _rebuilt(self, penalty: Penalty, sample_weight: np.ndarray) -> MultinomialProblem:
        labels = self.by_class(self.y).argmax(axis=0)
        return MultinomialProblem(
            self.design.base, labels, self.n_classes, penalty, sample_weight, self.fit_intercept
        )

    @property
    def no_intercept(self) -> np.ndarray:
        """The intercept of each class where there is none."""
        return np.zeros(self.n_classes)

    def by_class(self, vector: np.ndarray) -> np.ndarray:
        """Return a vector as a matrix with a row for each class."""
        return vector.reshape(self.n_classes, -1)

    def shift(self, prediction: np.ndarray, intercept: np.ndarray | float) -> None:
        """Add to the predictions of each class its intercept, in place."""
        self.by_class(prediction)[:] += np.broadcast_to(intercept, self.n_classes)[:, np.newaxis]

    def support_model(
        self, block: StackedBlock, support: np.ndarray, w: np.ndarray, prediction: np.ndarray,
        raw_gradient: np.ndarray, curvature: np.ndarray,
    ) -> SupportModel:  # fmt: skip
        """Return the quadratic model on the support at these predictions, classes coupled, intercepts profiled out."""
        _, column_curvature = block.moments(curvature, self.fit_intercept)
        softmax = Softmax(self.by_class(prediction), self.by_class(self.weights)[0], self.fit_intercept)
        coupled = block.coupled(softmax)
        return SupportModel(coupled, support, w, raw_gradient, None, column_curvature, None, 1.0)

    def parts(self, features: np.ndarray) -> Iterator[tuple[np.ndarray, ColumnBlock, slice]]:
        """Yield the features of each class, see `Problem.parts`: classes bend each other."""
        design = self.design.base
        for k, part in enumerate(self.design.split(features)):
            if part.size:
                samples = slice(k * design.n_samples, (k + 1) * design.n_samples)
                yield part + k * design.n_features, design.few_columns(part), samples

    def best_intercept(self, offset: np.ndarray, start: np.ndarray | float) -> np.ndarray:
        """Return the intercepts, of sum 0, that minimise the loss at ``offset`` plus them."""
        best = self.no_intercept + start
        best -= best.mean()
        if not self.fit_intercept:
            return self.no_intercept
        prediction = offset.copy()
        self.shift(prediction, best)
        value, damping = self.loss.value(self.y, prediction, self.weights), 0.0
        gradient = self.by_class(self.derivatives(prediction)[0])
        for _ in range(MOST_STEPS):
            slopes = gradient.sum(axis=1)
            if (np.abs(slopes) <= 4.0 * EPS * np.abs(gradient).sum(axis=1)).all():
                break
            bends = Softmax(self.by_class(prediction), self.by_class(self.weights)[0], False).of_intercepts()
            # Where predictions are far apart the curvature vanishes; a bound of it is 1/2.
            bends.flat[:: self.n_classes + 1] += damping + 1e-12 * bends.trace()
            step = -np.linalg.lstsq(bends, slopes, rcond=None)[0]
            step -= step.mean()
            new = offset.copy()
            self.shift(new, best + step)
            new_value = self.loss.value(self.y, new, self.weights)
            if new_value > value * (1.0 + 8.0 * EPS):
                if damping >= 1.0:
                    break
                damping = max(10.0 * damping, 1e-6)
                continue
            damping = 0.1 * damping if damping > 1e-6 else 0.0
            new_gradient = self.by_class(self.derivatives(new)[0])
            # Values say nothing more at their rounding: then a step must halve the slopes.
            steepest = np.abs(new_gradient.sum(axis=1)).max()
            if new_value >= value * (1.0 - 8.0 * EPS) and steepest > 0.5 * np.abs(slopes).max():
                break
            best, prediction, value, gradient = best + step, new, new_value, new_gradient
        return best

    def class_problems(self) -> list[Problem]:
        """Return the problem of each class while the others stand still.

        ``log(sum_l exp(f_l)) - y f_k`` is, as a function of f_k, the binary loss at ``f_k + offset``
        with ``offset = -log(sum_(l != k) exp(f_l))``, and a constant.
        """
        design, weights = self.design.base, self.by_class(self.weights)[0]
        members = self.by_class(self.y)
        template = Problem(design, members[0], LogLoss(), self._of_class, weights, self.fit_intercept)
        problems = []
        for labels in members:
            problem = copy.copy(template)
            problem.y = labels
            problems.append(problem)
        return problems
