"""What the estimators have in common that choose p, alpha and the mask along shared paths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from scipy.special import gammaln
from sklearn import config_context, get_config
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import column_or_1d
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from ._base import SparseLpModel, Task
from ._callbacks import CallbackSupportMixin, Progress
from ._core._matvec import effective_n_threads, limit_n_threads
from ._path import (
    Follow,
    NullPoint,
    SparseLpPath,
    collect,
    grid_start,
    join,
    mask_free_from,
    null_points,
    report_fit,
    warn_of_limit,
)
from ._scores import Score, models, path_scores, score_of
from ._solvers import SOLVERS, Cancelled, Problem, SolveResult, solve
from ._threads import one_blas_thread
from ._validation import (
    Interval,
    StrOptions,
    check_sample_weight,
    check_solver,
    routing_enabled,
)
from .path import alpha_grid, check_alphas

CRITERIA = ("aic", "bic", "ebic")
# Losses that are a negative log-likelihood; for squared_error its variance is estimated.
LIKELIHOODS = ("squared_error", "poisson", "log_loss")
# By default.
N_FOLDS = 5
# Attributes that not every fit sets.
OPTIONAL = ("cv_scores_", "cv_df_", "coefs_paths_", "criterion_", "feature_names_in_")

# Told of each fit: the positions of mask and strength, and the results.
Watch = Callable[[int, int, list[SolveResult]], object]


@dataclass(frozen=True)
class Grid:
    """What is compared: orders, masks, and strengths for each pair of them.

    Attributes
    ----------
    p, tau : list of float
    alphas : ndarray of shape (n_p, n_tau, n_alphas)
        Descending along the last axis.
    """

    p: list[float]
    tau: list[float]
    alphas: np.ndarray

    @property
    def n_paths(self) -> int:
        """How many pairs of order and mask there are."""
        return len(self.p) * len(self.tau)


@dataclass(frozen=True)
class Data:
    """What all folds share.

    Attributes
    ----------
    task : Task
    target : ndarray of shape (n_samples,)
        Targets or labels.
    grid : Grid
    folds : list of (train, test)
        Positions of samples.
    weights : ndarray of shape (n_samples,), or None
        Sample weights without class weights, for scores.
    score : callable, or None
        See `score_of`.
    scorer : callable, or None
        A scorer of scikit-learn where there is no score.
    score_params : dict
        What goes to the scorer.
    """

    task: Task
    target: np.ndarray
    grid: Grid
    folds: list[tuple[np.ndarray, np.ndarray]]
    weights: np.ndarray | None
    score: Score | None
    scorer: Any
    score_params: Mapping[str, Any]


class TunedModel(CallbackSupportMixin, SparseLpModel):
    """A model whose p, alpha and mask are chosen; a subclass names that of one candidate."""

    _single: type[SparseLpModel]

    _tuned_constraints: dict[str, list[Any]] = {
        "p": [Interval(Real, 0, None, closed="left"), "array-like"],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="right")],
        "sparsity_threshold": [Interval(Real, 0, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "criterion": [StrOptions({"cv", *CRITERIA})],
        "selection_rule": [StrOptions({"best", "one_se"})],
        "refit": [StrOptions({"penalised", "relaxed"})],
        "store_cv_paths": ["boolean"],
        "n_jobs": [Integral, None],
    }

    p: Any
    sparsity_threshold: Any
    alphas: Any
    eps: float
    cv: Any
    scoring: Any
    criterion: str
    selection_rule: str
    refit: str
    store_cv_paths: bool
    n_jobs: int | None
    loss: str
    verbose: int

    def _candidate(self, p: float, alpha: float, tau: float) -> SparseLpModel:
        """Return the estimator of one candidate."""
        # Constructors only store their parameters; `get_params` reads signatures, 0.2 ms each time.
        own = vars(self)
        shared = {name: own[name] for name in vars(self._single()) if name in own}
        return self._single(**(shared | {"p": p, "alpha": alpha, "sparsity_threshold": tau}))

    def _tune(self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> None:
        orders = _values(self.p, "p")
        masks = _values(self.sparsity_threshold, "sparsity_threshold")
        for p in orders:
            for tau in masks:
                self._candidate(p, 1.0, tau)._validate_params()
            check_solver(self.solver, p, SOLVERS)
        given = None if isinstance(self.alphas, Integral) else check_alphas(self.alphas)
        if self.criterion != "cv" and self.loss not in LIKELIHOODS:
            raise ValueError(
                f"criterion={self.criterion!r} needs a likelihood, loss in {list(LIKELIHOODS)}, "
                f"got loss={self.loss!r}."
            )
        first = self._candidate(orders[0], 1.0, masks[0])
        if y is not None and np.asarray(y).ndim > 1:
            y = column_or_1d(y, warn=True)
        task = first._prepare(X, y, sample_weight)
        for name in OPTIONAL:
            self.__dict__.pop(name, None)
        self.n_features_in_ = first.n_features_in_
        if hasattr(first, "feature_names_in_"):
            self.feature_names_in_ = first.feature_names_in_
        nulls = null_points(task.problems)
        grid = self._grid(orders, masks, given, task, nulls)
        if self.criterion != "cv":
            progress = Progress.of_fit(self, len(orders), X=X, y=y)
            chosen, results, path = self._by_criterion(grid, task, nulls, progress)
        else:
            data = self._data(grid, task, sample_weight, params)
            progress = Progress.of_fit(self, len(data.folds) + 1, X=X, y=y)
            self._cross_validate(data, progress)
            chosen = self._select()
            results, path = self._refit(data, nulls, chosen, progress)
        self.best_index_ = chosen
        self.p_, self.sparsity_threshold_ = grid.p[chosen[0]], grid.tau[chosen[1]]
        self.alpha_ = float(grid.alphas[chosen])
        self.alphas_, self.path_ = grid.alphas, path
        warn_of_limit([path], self.max_iter, self.tol, "path of all samples")
        if self.refit == "relaxed":
            results = self._relaxed(task, results)
        self._store(results, task)
        self._fitted_loss = self.loss
        if task.classes is not None:
            self.classes_ = task.classes
        progress.end(X=X, y=y)

    def _grid(
        self,
        orders: list[float],
        masks: list[float],
        given: np.ndarray | None,
        task: Task,
        nulls: Sequence[NullPoint],
    ) -> Grid:
        def strengths(p: float, tau: float) -> np.ndarray:
            if given is not None:
                return given
            start = grid_start(task.problems, nulls, p, tau)
            return alpha_grid(start, int(self.alphas), float(self.eps))

        return Grid(orders, masks, np.array([[strengths(p, tau) for tau in masks] for p in orders]))

    def _data(self, grid: Grid, task: Task, sample_weight: Any, params: dict[str, Any]) -> Data:
        # As given: those of the problem may have been moved.
        target = task.classes[task.codes] if task.targets is None else task.targets[0]
        splitter = self._splitter(target, task.codes)
        split_params, score_params = self._routed(sample_weight, params)
        folds = [
            (_positions(train), _positions(test))
            for train, test in splitter.split(task.X, target, **split_params)
        ]
        score = score_of(self.scoring, self.loss, float(getattr(self, "epsilon", 1.0)))
        return Data(
            task=task,
            target=target,
            grid=grid,
            folds=folds,
            weights=check_sample_weight(sample_weight, task.X),
            score=score,
            scorer=None if score is not None else get_scorer(self.scoring),
            score_params=score_params,
        )

    def _splitter(self, target: np.ndarray, codes: np.ndarray | None) -> Any:
        """Return the folds; by default five, and of labels no more than the rarest has samples."""
        cv = self.cv
        if cv is None and codes is not None:
            cv = min(N_FOLDS, max(int(np.bincount(codes).min()), 2))
        return check_cv(cv, target, classifier=codes is not None)

    def _cross_validate(self, data: Data, progress: Progress) -> None:
        data.task.problems[0].design.prefer_columns()
        lock, cancelled = threading.Lock(), threading.Event()

        # What this thread has set others do not see.
        config = get_config()

        def run(fold: int) -> tuple[np.ndarray, np.ndarray]:
            with progress.subtask("fold", fold, data.grid.n_paths) as part:
                return self._run_fold(data, fold, part, lock, cancelled)

        def run_elsewhere(fold: int) -> tuple[np.ndarray, np.ndarray]:
            if cancelled.is_set():
                raise Cancelled
            try:
                with config_context(**config), one_blas_thread(n_stored):
                    return run(fold)
            except BaseException:
                # Here, so that no thread takes another fold before all know.
                cancelled.set()
                raise

        n_folds, n_stored = len(data.folds), data.task.problems[0].design.n_stored
        n_threads = min(effective_n_jobs(self.n_jobs), n_folds)
        if n_threads == 1:
            outcomes = [run(fold) for fold in range(n_folds)]
        else:
            # Folds share out the processors; each keeps its part for its passes.
            share = max(effective_n_threads() // n_threads, 1)
            with ThreadPoolExecutor(n_threads, "fold", limit_n_threads, (share,)) as pool:
                try:
                    futures = [pool.submit(run_elsewhere, fold) for fold in range(n_folds)]
                    wait(futures, return_when=FIRST_EXCEPTION)
                except BaseException:
                    # The user has interrupted: the threads end too.
                    cancelled.set()
                    raise
            for error in (future.exception() for future in futures):
                if error is not None and not isinstance(error, Cancelled):
                    raise error
            outcomes = [future.result() for future in futures]
        self.cv_scores_ = np.stack([scores for scores, _ in outcomes], axis=-1)
        paths = np.stack([paths for _, paths in outcomes], axis=-1)
        df = np.array([path.df for path in paths.ravel()])
        self.cv_df_ = df.reshape(*paths.shape, -1).mean(axis=2)
        if self.store_cv_paths:
            self.coefs_paths_ = np.empty(paths.shape, dtype=object)
            for place, path in np.ndenumerate(paths):
                self.coefs_paths_[place] = path.coefs
        warn_of_limit(list(paths.ravel()), self.max_iter, self.tol, "cross-validation")

    def _run_fold(
        self,
        data: Data,
        fold: int,
        progress: Progress,
        lock: threading.Lock,
        cancelled: threading.Event,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of a fold, shaped like the grid, and its paths."""
        task, grid = data.task, data.grid
        train, test = data.folds[fold]
        weights = np.bincount(train, minlength=data.target.size).astype(np.float64)
        if task.weights is not None:
            weights *= task.weights
        _check_fold(fold, weights, task)
        # A design keeps what it has computed for the last weights.
        with lock:
            problems = [problem.reweighted(weights) for problem in task.problems]
            nulls = null_points(problems)
        score = self._fold_score(data, fold, test)
        scores = np.empty(grid.alphas.shape)
        paths = np.empty((len(grid.p), len(grid.tau)), dtype=object)
        for i in range(len(grid.p)):
            found = self._paths(
                grid, i, task, problems, nulls, progress, cancelled=cancelled, polish=False
            )
            for j, path in enumerate(found):
                scores[i, j], paths[i, j] = score(path), path
                if self.verbose:
                    print(
                        f"fold {fold + 1} of {len(data.folds)}, p={grid.p[i]:g}, "
                        f"sparsity_threshold={grid.tau[j]:g}: {path.alphas.size} fits, "
                        f"score {np.nanmax(scores[i, j]):.4g} at best"
                    )
        return scores, paths

    def _fold_score(
        self, data: Data, fold: int, test: np.ndarray
    ) -> Callable[[SparseLpPath], np.ndarray]:
        """Return what scores the models of a path on the samples of a fold."""
        task = data.task
        X = task.X[test]
        if data.score is not None:
            weights = np.ones(test.size) if data.weights is None else data.weights[test]
            if not weights.any():
                raise ValueError(f"the test samples of fold {fold} have no weight.")
            weights = weights / weights.max()
            weights /= weights.sum()
            y = data.target[test] if task.codes is None else task.codes[test]
            known = data.score
            return lambda path: path_scores(known, path, X, y, weights)
        options = {name: np.asarray(value)[test] for name, value in data.score_params.items()}
        model = self._candidate(1.0, 1.0, 0.0)
        model.n_features_in_, model._fitted_loss = X.shape[1], self.loss
        if task.classes is not None:
            model.classes_ = task.classes

        def ask(path: SparseLpPath) -> np.ndarray:
            scores = np.empty(path.alphas.size)
            for k, (coef, intercept) in enumerate(models(path)):
                model.coef_ = coef[0] if task.single else coef
                model.intercept_ = float(intercept[0]) if task.single else intercept
                scores[k] = data.scorer(model, X, data.target[test], **options)
            return scores

        return ask

    def _paths(
        self,
        grid: Grid,
        i: int,
        task: Task,
        problems: Sequence[Problem],
        nulls: Sequence[NullPoint],
        progress: Progress,
        *,
        only: int | None = None,
        kept: dict[int, list[SolveResult]] | None = None,
        watch: Watch | None = None,
        **options: Any,
    ) -> list[SparseLpPath]:
        """Return the paths of an order for each mask, or for one of them.

        As long as a mask changes nothing its path is that of the smallest mask: it is taken
        from there and followed from where the mask begins to act.
        """
        p, alphas = grid.p[i], grid.alphas[i]
        masks = np.argsort(grid.tau, kind="stable") if only is None else np.array([only])
        base = int(masks[0])
        shared = {int(j): self._n_shared(problems, grid, i, int(j), base) for j in masks[1:]}
        # Of the smallest mask: the last results that each of the others shares.
        ends = {} if kept is None else kept
        ends.update({n - 1: [] for n in shared.values() if n})

        def watched(
            j: int, first: int, fits: Iterable[list[SolveResult]], watch: Watch
        ) -> Iterator[list[SolveResult]]:
            for k, results in enumerate(fits, start=first):
                watch(j, k, results)
                yield results

        paths: dict[int, SparseLpPath] = {}
        for j in map(int, masks):
            first = shared.get(j, 0)
            if first == alphas.shape[1]:
                paths[j] = paths[base]
                continue
            here = [problem.at(1.0, p, grid.tau[j]) for problem in problems]
            steps = alphas[j, first:]
            fits: Iterable[list[SolveResult]] = Follow(
                here, steps, nulls, start=ends.get(first - 1), solver=self.solver,
                max_iter=self.max_iter, tol=self.tol, **options,
            )  # fmt: skip
            if watch is not None:
                fits = watched(j, first, fits, watch)
            with progress.subtask("path", i * len(grid.tau) + j, steps.size) as part:
                rest = collect(
                    task, p, steps, fits, _reporter(part, self.verbose), ends if j == base else None
                )
            paths[j] = join(paths[base], first, rest) if first else rest
        return [paths[j] for j in sorted(paths)]

    @staticmethod
    def _n_shared(problems: Sequence[Problem], grid: Grid, i: int, j: int, base: int) -> int:
        """Return how many fits of a mask are those of the smallest mask."""
        alphas = grid.alphas[i, j]
        same = alphas == grid.alphas[i, base]
        same &= alphas >= mask_free_from(problems, grid.p[i], grid.tau[j])
        if grid.tau[j] == grid.tau[base]:
            same[:] = True
        return int(np.logical_and.accumulate(same).sum())

    def _select(self) -> tuple[int, int, int]:
        """Return the position of the candidate that the rule chooses."""
        scores = self.cv_scores_
        usable = np.isfinite(scores).all(axis=-1)
        if not usable.any():
            raise ValueError("no candidate has a finite score in every fold.")
        mean = np.where(usable, np.where(usable[..., np.newaxis], scores, 0.0).mean(-1), -np.inf)
        best = np.unravel_index(mean.argmax(), mean.shape)
        limit = mean[best]
        n_folds = scores.shape[-1]
        if self.selection_rule == "one_se" and n_folds > 1:
            limit -= scores[best].std(ddof=1) / np.sqrt(n_folds)
        # Of the candidates left: the sparsest, the most strongly penalised, the best.
        allowed = np.argwhere(mean >= limit)
        keys = [(self.cv_df_[tuple(a)], a[2], -mean[tuple(a)]) for a in allowed]
        i, j, k = allowed[min(range(len(keys)), key=keys.__getitem__)]
        return int(i), int(j), int(k)

    def _refit(
        self, data: Data, nulls: Sequence[NullPoint], chosen: tuple[int, int, int],
        progress: Progress,
    ) -> tuple[list[SolveResult], SparseLpPath]:  # fmt: skip
        """Return the chosen fit on all samples and the path that it is part of."""
        i, j, k = chosen
        kept: dict[int, list[SolveResult]] = {k: []}
        with progress.subtask("refit", len(data.folds), data.grid.n_paths) as part:
            (path,) = self._paths(
                data.grid, i, data.task, data.task.problems, nulls, part, only=j, kept=kept
            )
        return kept[k], path

    def _by_criterion(
        self, grid: Grid, task: Task, nulls: Sequence[NullPoint], progress: Progress
    ) -> tuple[tuple[int, int, int], list[SolveResult], SparseLpPath]:
        """Return the position of the least criterion, the fit there and its path."""
        values = np.full(grid.alphas.shape, np.inf)
        best: tuple[float, tuple[int, int, int], list[SolveResult]] = (np.inf, (0, 0, 0), [])
        found = []
        for i in range(len(grid.p)):

            def watch(j: int, k: int, results: list[SolveResult], i: int = i) -> None:
                nonlocal best
                values[i, j, k] = value = self._criterion(task, results)
                if value < best[0]:
                    best = value, (i, j, k), results

            with progress.subtask("order", i, len(grid.tau) * len(grid.p)) as part:
                found.append(self._paths(grid, i, task, task.problems, nulls, part, watch=watch))
            base = int(np.argmin(grid.tau))
            for j in range(len(grid.tau)):
                if j != base:
                    n_shared = self._n_shared(task.problems, grid, i, j, base)
                    values[i, j, :n_shared] = values[i, base, :n_shared]
        self.criterion_ = values
        least, (i, j, _), results = best
        if not np.isfinite(least):
            raise ValueError(
                f"criterion={self.criterion!r} is undefined on the whole grid: every model has "
                "more coefficients than half the samples. Choose larger alphas."
            )
        return best[1], results, found[i][j]

    def _criterion(self, task: Task, results: list[SolveResult]) -> float:
        n_samples = float(task.X.shape[0] if task.weights is None else task.weights.sum())
        n_coefs = sum(problem.n_usable for problem in task.problems)
        df = sum(np.count_nonzero(result.coef) for result in results)
        if 2 * df > n_samples:
            return np.inf
        mean_loss = 0.0
        for problem, result in zip(task.problems, results, strict=True):
            prediction, _ = problem.predict(result.coef, result.intercept)
            mean_loss += problem.loss.value(problem.y, prediction, problem.weights)
        if self.loss == "squared_error":
            misfit = n_samples * np.log(max(2.0 * mean_loss, np.finfo(np.float64).tiny))
        else:
            misfit = 2.0 * n_samples * mean_loss
        if self.criterion == "aic":
            return misfit + 2.0 * df
        value = misfit + np.log(n_samples) * df
        if self.criterion == "ebic":
            value += 2.0 * (
                gammaln(n_coefs + 1.0) - gammaln(df + 1.0) - gammaln(n_coefs - df + 1.0)
            )
        return float(value)

    def _relaxed(self, task: Task, results: list[SolveResult]) -> list[SolveResult]:
        """Return the fits of the chosen coefficients without the Lp penalty."""
        problems = [
            problem.relaxed(result.coef != 0.0)
            for problem, result in zip(task.problems, results, strict=True)
        ]
        return solve(
            problems,
            max_iter=self.max_iter,
            tol=self.tol,
            coef_init=[result.coef for result in results],
            intercept_init=[result.intercept for result in results],
        )

    def _routed(
        self, sample_weight: Any, params: dict[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return what the splitter and what the scorer get."""
        if not routing_enabled():
            return {}, {} if sample_weight is None else {"sample_weight": sample_weight}
        if sample_weight is not None:
            params = params | {"sample_weight": sample_weight}
        routed = process_routing(self, "fit", **params)
        scorer = routed.get("scorer")
        return routed.splitter.split, {} if scorer is None else scorer.score

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how `fit` hands on its metadata: to the splitter, and to the scorer if one is set.

        Returns
        -------
        MetadataRouter
            See scikit-learn's guide on metadata routing.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        callees: dict[str, tuple[str, Any]] = {"splitter": ("split", check_cv(self.cv))}
        if self.scoring is not None:
            callees["scorer"] = ("score", get_scorer(self.scoring))
        for name, (method, target) in callees.items():
            mapping = MethodMapping().add(caller="fit", callee=method)
            router.add(method_mapping=mapping, **{name: target})
        return router


def _values(parameter: Any, name: str) -> list[float]:
    """Return a number or the numbers of a vector as a list."""
    values = np.atleast_1d(np.asarray(parameter))
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be a number or a non-empty vector, got {parameter!r}.")
    return [float(value) for value in values]


def _positions(samples: Any) -> np.ndarray:
    """Return which samples a splitter means as positions."""
    samples = np.asarray(samples)
    return np.flatnonzero(samples) if samples.dtype == bool else samples


def _check_fold(fold: int, weights: np.ndarray, task: Task) -> None:
    if not weights.any():
        raise ValueError(f"the training samples of fold {fold} have no weight.")
    if task.classes is None:
        return
    sums = np.bincount(task.codes, weights, minlength=task.classes.size)
    if not sums.all():
        missing = task.classes[sums == 0.0].tolist()[0]
        raise ValueError(
            f"fold {fold} trains on no sample of class {missing!r}: use fewer folds, or a cv "
            "that spreads the classes over the folds."
        )


def _reporter(progress: Progress, verbose: int) -> Callable[[float, int, int], object] | None:
    """Return what tells callbacks of each fit of a path, and prints it if wanted."""
    printing = verbose > 1
    if not progress.followed and not printing:
        return None
    count = iter(range(10**9))

    def report(alpha: float, n_coefs: int, n_epochs: int) -> None:
        with progress.subtask("alpha", next(count)):
            if printing:
                report_fit(alpha, n_coefs, n_epochs)

    return report
