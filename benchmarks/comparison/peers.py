"""The solvers of the comparison behind one signature.

To add one, write a subclass of Solver and append it to SOLVERS.  Imports of peers stay inside
``__init__``, which runs in the solver's own worker process, so that a missing peer costs nothing
but its column.  A fit converts, validates and solves: all of it is timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from comparison.certificates import Task

EPOCHS = 10_000_000  # no peer is stopped by its iteration limit; the time box stops it


@dataclass
class Outcome:
    """What a solver returns; ``gap`` and ``residual`` are its own claims, relative, or NaN."""

    coef: np.ndarray
    intercept: float
    n_iter: int
    gap: float = math.nan
    residual: float = math.nan


class Solver:
    """One solver on one storage; ``storage`` is "columns" (CSC, Fortran) or "rows" (CSR, C)."""

    name: str
    package: str
    storage = "columns"
    ours = False

    @classmethod
    def handles(cls, task: Task, shape: tuple[int, int], is_sparse: bool) -> bool:
        """Whether the solver applies to this problem on a design of this shape."""
        raise NotImplementedError

    @classmethod
    def start(cls, task: Task, target: float) -> float:
        """The tolerance from which the search for the loosest sufficient one starts."""
        raise NotImplementedError

    def fit(self, X, y, task: Task, tol: float) -> Outcome:
        """Fit from a zero start."""
        raise NotImplementedError


def _l1_ratio(task: Task) -> tuple[float, float]:
    """(alpha, l1_ratio) of the elastic net that equals the task."""
    total = task.alpha + task.l2_reg
    return total, task.alpha / total


class SparseLp(Solver):
    """The library under test, given columns."""

    name = "sparselp"
    package = "sklearn_sparselp"
    ours = True

    def __init__(self):
        from sklearn_sparselp import SparseLpRegressor

        self._regressor = SparseLpRegressor

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.loss == "squared_error"

    @classmethod
    def start(cls, task, target):
        return target

    def fit(self, X, y, task, tol):
        model = self._regressor(
            p=task.p,
            alpha=task.alpha,
            l2_reg=task.l2_reg,
            loss=task.loss,
            fit_intercept=task.fit_intercept,
            tol=tol,
            max_iter=EPOCHS,
        ).fit(X, y)
        centred = y - y.mean() if task.fit_intercept else y
        null_value = centred @ centred / (2 * y.size)
        return Outcome(
            model.coef_,
            model.intercept_,
            int(np.max(model.n_iter_)),
            gap=float(model.dual_gap_) / null_value,
            residual=float(model.fixed_point_residual_),
        )


class SparseLpRows(SparseLp):
    """The library under test, given CSR (or C-ordered) rows: the conversion is in the clock."""

    name = "sparselp-rows"
    storage = "rows"


class ScikitLearn(Solver):
    """scikit-learn's Lasso and ElasticNet."""

    name = "scikit-learn"
    package = "sklearn"
    precompute = False

    def __init__(self):
        from sklearn.linear_model import ElasticNet, Lasso

        self._lasso, self._elastic_net = Lasso, ElasticNet

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.loss == "squared_error" and task.p == 1

    @classmethod
    def start(cls, task, target):
        return target / 2  # its gap is relative to ||y||^2 / n = 2 F(0)

    def fit(self, X, y, task, tol):
        shared = {
            "fit_intercept": task.fit_intercept,
            "precompute": self.precompute,
            "copy_X": task.fit_intercept,
            "tol": tol,
            "max_iter": EPOCHS,
        }
        if task.l2_reg > 0:
            alpha, l1_ratio = _l1_ratio(task)
            model = self._elastic_net(alpha=alpha, l1_ratio=l1_ratio, **shared)
        else:
            model = self._lasso(alpha=task.alpha, **shared)
        model.fit(X, y)
        return Outcome(model.coef_, float(model.intercept_), int(model.n_iter_))


class ScikitLearnGram(ScikitLearn):
    """The same with a precomputed Gram matrix, where that is the better choice: n >> d, dense."""

    name = "scikit-learn-gram"
    precompute = True

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return not is_sparse and shape[0] > 2 * shape[1] and super().handles(task, shape, False)


class Celer(Solver):
    """celer's Lasso and ElasticNet."""

    name = "celer"
    package = "celer"

    def __init__(self):
        from celer import ElasticNet, Lasso

        self._lasso, self._elastic_net = Lasso, ElasticNet

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.loss == "squared_error" and task.p == 1

    @classmethod
    def start(cls, task, target):
        return target / 2  # as scikit-learn's

    def fit(self, X, y, task, tol):
        shared = {"fit_intercept": task.fit_intercept, "tol": tol, "max_iter": 10_000}
        if task.l2_reg > 0:
            alpha, l1_ratio = _l1_ratio(task)
            model = self._elastic_net(alpha=alpha, l1_ratio=l1_ratio, **shared)
        else:
            model = self._lasso(alpha=task.alpha, **shared)
        model.fit(X, y)
        return Outcome(model.coef_, float(model.intercept_), int(model.n_iter_))


class Skglm(Solver):
    """skglm's AndersonCD; for p < 1 with the fixed-point strategy (its default stops at 0)."""

    name = "skglm"
    package = "skglm"

    def __init__(self):
        from skglm import GeneralizedLinearEstimator, datafits, penalties, solvers

        self._estimator = GeneralizedLinearEstimator
        self._datafits, self._penalties, self._solvers = datafits, penalties, solvers

    @classmethod
    def handles(cls, task, shape, is_sparse):
        known = task.p == 1 or (task.p in (1 / 2, 2 / 3) and task.l2_reg == 0)
        return task.loss == "squared_error" and known

    @classmethod
    def start(cls, task, target):
        # its criterion is in gradient units (p = 1) or in those of w (p < 1), both absolute
        return task.alpha * math.sqrt(target) if task.p == 1 else target

    def _penalty(self, task):
        if task.p == 1 / 2:
            return self._penalties.L0_5(task.alpha)
        if task.p == 2 / 3:
            return self._penalties.L2_3(task.alpha)
        if task.l2_reg > 0:
            return self._penalties.L1_plus_L2(*_l1_ratio(task))
        return self._penalties.L1(task.alpha)

    def _solver(self, task, tol):
        return self._solvers.AndersonCD(
            max_iter=10_000,
            tol=tol,
            fit_intercept=task.fit_intercept,
            ws_strategy="subdiff" if task.p == 1 else "fixpoint",
        )

    def fit(self, X, y, task, tol):
        model = self._estimator(
            self._datafits.Quadratic(), self._penalty(task), self._solver(task, tol)
        ).fit(X, y)
        return Outcome(model.coef_, float(model.intercept_), int(model.n_iter_))


class SkglmGram(Skglm):
    """skglm's GramCD, for few columns."""

    name = "skglm-gram"

    @classmethod
    def handles(cls, task, shape, is_sparse):
        small = shape[0] > 2 * shape[1] and shape[1] <= 1000
        return small and task.p == 1 and not task.fit_intercept and task.loss == "squared_error"

    def fit(self, X, y, task, tol):
        from sklearn.utils import check_X_y

        # no estimator of skglm leads to this solver: the checks that one makes are made here
        X, y = check_X_y(X, y, accept_sparse="csc", order="F", dtype=np.float64)
        solver = self._solvers.GramCD(
            max_iter=EPOCHS, tol=tol, fit_intercept=False, greedy_cd=False, use_acc=True
        )
        w, values, _ = solver.solve(X, y, None, self._penalty(task))
        return Outcome(w, 0.0, len(values))


# order matters: the fast ones first, so that their times bound the patience with the others
SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver
    for solver in (
        SparseLp,
        SparseLpRows,
        Celer,
        Skglm,
        SkglmGram,
        ScikitLearnGram,
        ScikitLearn,
    )
}
