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
from comparison.threads import allowed_threads

EPOCHS = 10_000_000  # no peer is stopped by its iteration limit; the time box stops it


@dataclass
class Outcome:
    """What a solver returns; ``gap`` and ``residual`` are its own claims, or NaN.

    Both as the solver says them: a clock runs.

    Of a path ``coef`` has a row and ``intercept`` an entry for each strength.
    """

    coef: np.ndarray
    intercept: float | np.ndarray
    n_iter: int
    gap: float = math.nan
    residual: float = math.nan


class Solver:
    """One solver on one storage.

    ``package`` is the name of its distribution, ``storage`` "columns" (CSC, Fortran) or "rows"
    (CSR, C).
    """

    name: str
    package: str
    storage = "columns"
    ours = False
    follows = False
    by_size = False  # told how many features to keep (task.support): no alpha, no tolerance

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

    def path(self, X, y, task: Task, tol: float) -> Outcome:
        """Fit for all strengths of the task; defined where ``follows``."""
        raise NotImplementedError


def _l1_ratio(task: Task) -> tuple[float, float]:
    """(alpha, l1_ratio) of the elastic net that equals the task."""
    total = task.alpha + task.l2_reg
    return total, task.alpha / total


def _single(coef):
    """Coefficients of one row as a vector; those of several classes stay as they are."""
    coef = np.asarray(coef)
    return coef[0] if coef.ndim == 2 and coef.shape[0] == 1 else coef


def _intercept(model) -> float:
    """The only intercept; several classes have none here."""
    return float(np.max(model.intercept_))


class SparseLp(Solver):
    """The library under test, given columns."""

    name = "sparselp"
    package = "sklearn_sparselp"
    ours = True
    follows = True

    def __init__(self):
        from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor, sparse_lp_path

        self._classifier, self._regressor = SparseLpClassifier, SparseLpRegressor
        self._path = sparse_lp_path

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return True

    @classmethod
    def start(cls, task, target):
        return target

    def fit(self, X, y, task, tol):
        classes = task.loss in ("log_loss", "multinomial")
        make = self._classifier if classes else self._regressor
        model = make(
            p=task.p,
            alpha=task.alpha,
            l2_reg=task.l2_reg,
            loss="log_loss" if classes else task.loss,
            fit_intercept=task.fit_intercept,
            tol=tol,
            max_iter=EPOCHS,
        ).fit(X, y)
        return Outcome(
            _single(model.coef_),
            _intercept(model),
            int(np.max(model.n_iter_)),
            gap=float(np.max(model.dual_gap_)),
            residual=float(np.max(model.fixed_point_residual_)),
        )

    def path(self, X, y, task, tol):
        path = self._path(
            X,
            y,
            p=task.p,
            alphas=task.alphas,
            l2_reg=task.l2_reg,
            loss=task.loss,
            fit_intercept=task.fit_intercept,
            tol=tol,
            max_iter=EPOCHS,
        )
        return Outcome(
            path.coefs,
            path.intercepts,
            int(path.n_iters.sum()),
            gap=float(path.dual_gaps.max()),
            residual=float(path.fixed_point_residuals.max()),
        )


class SparseLpRows(SparseLp):
    """The library under test, given CSR (or C-ordered) rows: the conversion is in the clock."""

    name = "sparselp-rows"
    storage = "rows"


class ScikitLearn(Solver):
    """scikit-learn's Lasso and ElasticNet."""

    name = "scikit-learn"
    package = "scikit-learn"
    follows = True
    precompute = False

    def __init__(self):
        from sklearn.linear_model import ElasticNet, Lasso, lasso_path

        self._lasso, self._elastic_net, self._path = Lasso, ElasticNet, lasso_path

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

    def path(self, X, y, task, tol):
        _, coefs, _, n_iters = self._path(
            X,
            y,
            alphas=task.alphas,
            precompute=self.precompute,
            copy_X=False,
            tol=tol,
            max_iter=EPOCHS,
            return_n_iter=True,
        )
        return Outcome(coefs.T, np.zeros(task.n_alphas), int(np.sum(n_iters)))


class ScikitLearnGram(ScikitLearn):
    """The same with a precomputed Gram matrix, where that is the better choice: n >> d, dense."""

    name = "scikit-learn-gram"
    precompute = True

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return not is_sparse and shape[0] > 2 * shape[1] and super().handles(task, shape, False)


class Celer(Solver):
    """celer's Lasso, ElasticNet and LogisticRegression."""

    name = "celer"
    package = "celer"
    follows = True

    def __init__(self):
        from celer import ElasticNet, Lasso, LogisticRegression, celer_path

        self._path = celer_path
        self._lasso, self._elastic_net, self._logistic = Lasso, ElasticNet, LogisticRegression

    @classmethod
    def handles(cls, task, shape, is_sparse):
        binary = task.loss == "log_loss" and task.l2_reg == 0
        return task.p == 1 and (task.loss == "squared_error" or binary)

    @classmethod
    def start(cls, task, target):
        return target / 2  # as scikit-learn's

    def fit(self, X, y, task, tol):
        shared = {"fit_intercept": task.fit_intercept, "tol": tol, "max_iter": 10_000}
        if task.loss == "log_loss":
            model = self._logistic(C=1 / (y.size * task.alpha), **shared)
        elif task.l2_reg > 0:
            alpha, l1_ratio = _l1_ratio(task)
            model = self._elastic_net(alpha=alpha, l1_ratio=l1_ratio, **shared)
        else:
            model = self._lasso(alpha=task.alpha, **shared)
        model.fit(X, y)
        n_iter = int(getattr(model, "n_iter_", 0))  # its LogisticRegression keeps none
        return Outcome(_single(model.coef_), _intercept(model), n_iter)

    def path(self, X, y, task, tol):
        _, coefs, _, n_iters = self._path(
            X,
            y,
            "lasso",
            alphas=task.alphas,
            tol=tol,
            max_iter=10_000,
            return_n_iter=True,
        )
        return Outcome(coefs.T, np.zeros(task.n_alphas), int(np.sum(n_iters)))


class Skglm(Solver):
    """skglm's AndersonCD, for other losses and p = 1 its ProxNewton.

    For p < 1 with the fixed-point strategy: the default stops at 0. ProxNewton does not get to a
    residual of 1e-3 there.
    """

    name = "skglm"
    package = "skglm"
    follows = True

    def __init__(self):
        from skglm import GeneralizedLinearEstimator, datafits, penalties, solvers
        from skglm.utils.jit_compilation import compiled_clone

        self._estimator, self._compiled = GeneralizedLinearEstimator, compiled_clone
        self._datafits, self._penalties, self._solvers = datafits, penalties, solvers

    @classmethod
    def handles(cls, task, shape, is_sparse):
        known = task.p == 1 or (task.p in (1 / 2, 2 / 3) and task.l2_reg == 0)
        bounded = task.loss in ("squared_error", "log_loss")
        return known and (bounded or (task.loss == "poisson" and task.p == 1))

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
        by_coordinates = task.loss == "squared_error" or task.p < 1
        solver = self._solvers.AndersonCD if by_coordinates else self._solvers.ProxNewton
        return solver(
            max_iter=10_000 if by_coordinates else 200,
            tol=tol,
            fit_intercept=task.fit_intercept,
            ws_strategy="subdiff" if task.p == 1 else "fixpoint",
        )

    def _datafit(self, task):
        names = {"squared_error": "Quadratic", "log_loss": "Logistic", "poisson": "Poisson"}
        return getattr(self._datafits, names[task.loss])()

    def fit(self, X, y, task, tol):
        model = self._estimator(
            self._datafit(task), self._penalty(task), self._solver(task, tol)
        ).fit(X, y)
        return Outcome(_single(model.coef_), _intercept(model), int(np.max(model.n_iter_)))

    def path(self, X, y, task, tol):
        datafit, penalty = (
            self._compiled(part) for part in (self._datafit(task), self._penalty(task))
        )
        _, coefs, _, n_iters = self._solver(task, tol).path(
            X, y, datafit, penalty, alphas=task.alphas, return_n_iter=True
        )
        return Outcome(coefs.T, np.zeros(task.n_alphas), int(np.sum(n_iters)))


class SkglmGram(Skglm):
    """skglm's GramCD, for few columns."""

    name = "skglm-gram"
    follows = False

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


class Liblinear(Solver):
    """scikit-learn's LogisticRegression with liblinear."""

    name = "scikit-learn-liblinear"
    package = "scikit-learn"
    algorithm = "liblinear"
    losses = ("log_loss",)

    def __init__(self):
        from sklearn.linear_model import LogisticRegression

        self._logistic = LogisticRegression
        # Before 1.8 the ratio counted for an elastic net only.
        new = LogisticRegression().penalty == "deprecated"
        self._l1 = {"l1_ratio": 1.0} if new else {"penalty": "l1"}

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.loss in cls.losses and task.p == 1 and task.l2_reg == 0

    @classmethod
    def start(cls, task, target):
        return math.sqrt(target)

    def fit(self, X, y, task, tol):
        model = self._logistic(
            C=1 / (y.size * task.alpha),
            **self._l1,
            solver=self.algorithm,
            tol=tol,
            max_iter=EPOCHS,
            fit_intercept=task.fit_intercept,
            random_state=0,
        ).fit(X, y)
        return Outcome(_single(model.coef_), _intercept(model), int(np.max(model.n_iter_)))


class Saga(Liblinear):
    """The same with saga, which has the multinomial loss too."""

    name = "scikit-learn-saga"
    algorithm = "saga"
    losses = ("log_loss", "multinomial")


class Glmnet(Solver):
    """The Fortran code of the R package glmnet."""

    name = "glmnet"
    package = "python-glmnet"
    follows = True

    def __init__(self):
        from glmnet import ElasticNet, LogitNet

        self._models = {"squared_error": ElasticNet, "log_loss": LogitNet}

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.p == 1 and task.loss in ("squared_error", "log_loss")

    @classmethod
    def start(cls, task, target):
        return target / 10  # changes of coefficients, relative to the null deviance

    def fit(self, X, y, task, tol):
        # It scales y to unit variance and back, which leaves the ridge in units of y.
        scale = np.std(y) if task.loss == "squared_error" else 1.0
        total = task.alpha + task.l2_reg * scale
        model = self._fitted(X, y, task, tol, task.alpha / total, np.array([total]))
        coef = np.asarray(model.coef_path_)[..., -1]
        intercept = float(np.ravel(model.intercept_path_)[-1])
        return Outcome(_single(coef), intercept, 0)  # it tells no number of passes

    def path(self, X, y, task, tol):
        model = self._fitted(X, y, task, tol, 1.0, task.alphas)
        return Outcome(np.asarray(model.coef_path_).T, np.ravel(model.intercept_path_), 0)

    def _fitted(self, X, y, task, tol, share, alphas):
        return self._models[task.loss](
            alpha=share,
            lambda_path=alphas,
            standardize=False,
            fit_intercept=task.fit_intercept,
            n_splits=0,
            tol=tol,
            max_iter=EPOCHS,
        ).fit(X, y)


class Adelie(Solver):
    """adelie's grpnet; a single fit is a path of one strength."""

    name = "adelie"
    package = "adelie"
    follows = True

    def __init__(self):
        import adelie

        self._adelie = adelie

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.p == 1 and task.loss in ("squared_error", "log_loss")

    @classmethod
    def start(cls, task, target):
        return target

    def fit(self, X, y, task, tol):
        state = self._solved(X, y, task, tol, *_l1_ratio(task))
        return Outcome(state.betas.toarray()[0], float(state.intercepts[0]), 0)

    def path(self, X, y, task, tol):
        state = self._solved(X, y, task, tol, task.alphas, 1.0)
        return Outcome(state.betas, np.asarray(state.intercepts), 0)

    def _solved(self, X, y, task, tol, alphas, l1_ratio):
        matrix, glm = self._adelie.matrix, self._adelie.glm
        kind = matrix.dense if isinstance(X, np.ndarray) else matrix.sparse
        squared = task.loss == "squared_error"
        return self._adelie.grpnet(
            X=kind(X, method="naive", n_threads=allowed_threads()),
            glm=glm.gaussian(y=y) if squared else glm.binomial(y=(y > 0) * 1.0),
            alpha=l1_ratio,
            lmda_path=np.atleast_1d(alphas),
            early_exit=False,
            intercept=task.fit_intercept,
            tol=tol,
            irls_tol=tol,
            max_iters=EPOCHS,
            progress_bar=False,
            n_threads=allowed_threads(),
        )


class Abess(Solver):
    """abess: best subsets by splicing, for p = 0, at the number of features that we keep.

    It solves the constrained form of the problem, so the strength that belongs to the size is
    ours; loss + alpha * size are then comparable. It has no tolerance: coefficients on the
    support are those of least squares.
    """

    name = "abess"
    package = "abess"
    by_size = True

    def __init__(self):
        from abess import LinearRegression

        self._regression = LinearRegression

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.loss == "squared_error" and task.p == 0 and task.l2_reg == 0

    @classmethod
    def start(cls, task, target):
        return target

    def fit(self, X, y, task, tol):
        dense = isinstance(X, np.ndarray)
        model = self._regression(
            support_size=task.support, fit_intercept=task.fit_intercept, thread=allowed_threads()
        ).fit(X, y, is_normal=False, sparse_matrix=not dense)
        return Outcome(model.coef_, float(model.intercept_), 0)


class Glum(Solver):
    """glum's GeneralizedLinearRegressor, for counts."""

    name = "glum"
    package = "glum"

    def __init__(self):
        from glum import GeneralizedLinearRegressor

        self._regressor = GeneralizedLinearRegressor

    @classmethod
    def handles(cls, task, shape, is_sparse):
        return task.loss == "poisson" and task.p == 1

    @classmethod
    def start(cls, task, target):
        return task.alpha * math.sqrt(target)

    def fit(self, X, y, task, tol):
        alpha, l1_ratio = _l1_ratio(task)
        model = self._regressor(
            family="poisson",
            alpha=alpha,
            l1_ratio=l1_ratio,
            solver="irls-cd",
            gradient_tol=tol,
            max_iter=10_000,
            fit_intercept=task.fit_intercept,
        ).fit(X, y)
        return Outcome(model.coef_, float(model.intercept_), int(model.n_iter_))


# order matters: the fast ones first, so that their times bound the patience with the others
SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver
    for solver in (
        SparseLp,
        SparseLpRows,
        Celer,
        Skglm,
        SkglmGram,
        Glmnet,
        Adelie,
        Abess,
        ScikitLearnGram,
        ScikitLearn,
        Glum,
        Liblinear,
        Saga,
    )
}
