"""What the online estimators have in common: parameters, the state of learning, fit and streams."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import Tags, check_random_state

from ._callbacks import CallbackSupportMixin, Progress
from ._core._lazy import LazyModel
from ._linear import linear_predictor
from ._parameters import ParametersValidatedOnce
from ._solvers.stochastic import Rows, Samples, Schedule, Visits, fit_epochs, learn
from ._stream import blocks_of
from ._validation import (
    Interval,
    StrOptions,
    check_penalty_factor,
    check_predict_data,
)

# What `check_rows` returns.
Rowwise: TypeAlias = sparse.csr_array | np.ndarray
# First calls of `partial_fit` make the state one after the other.
FIRST_CALL = threading.Lock()
LARGEST_SEED = np.iinfo(np.int32).max


def _is_list(source: Any) -> bool:
    """Whether a stream tells how many chunks it has."""
    return isinstance(source, Sized) and not isinstance(source, str)


@dataclass
class OnlineState:
    """All that learning goes on from, and what it has published.

    Attributes
    ----------
    models : list of LazyModel
        One, or one a class.
    dtype : dtype
        Of ``coef_``.
    generator : RandomState
        Shuffles the samples of `partial_fit`.
    lock : lock
        Held while the models change or are read.
    training : lock
        Held by the one thread that trains.
    published : tuple or None
        ``coef_`` and ``intercept_`` of the models as they are.
    """

    models: list[LazyModel]
    dtype: np.dtype
    generator: np.random.RandomState
    lock: Any = field(default_factory=threading.Lock, compare=False)
    training: Any = field(default_factory=threading.Lock, compare=False)
    published: tuple[np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            kept = {k: value for k, value in vars(self).items() if k not in ("lock", "training")}
            return kept | {"models": [copy.copy(model) for model in self.models]}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        vars(self).update(kept, lock=threading.Lock(), training=threading.Lock())

    def coefficients(self, sparsity_threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients, a row for each model, and intercepts; read-only."""
        published = self.published
        if published is not None:
            return published
        with self.lock:
            pairs = [model.coefficients(sparsity_threshold) for model in self.models]
            first = pairs[0][0][np.newaxis]
            coef = first if len(pairs) == 1 else np.array([row for row, _ in pairs])
            coef = coef.astype(self.dtype, copy=False)
            intercept = np.array([b for _, b in pairs]).astype(self.dtype)
            coef.flags.writeable = intercept.flags.writeable = False
            self.published = coef, intercept
            return self.published


class OnlineModel(CallbackSupportMixin, ParametersValidatedOnce, BaseEstimator):
    """A linear model that learns sample by sample; a subclass adds its losses and targets."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "p": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "sparsity_threshold": [Interval(Real, 0, None, closed="left")],
        "mask_interval": [Interval(Integral, 1, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "l2_reg": [Interval(Real, 0, None, closed="left")],
        "penalty_factor": ["array-like", None],
        "fit_intercept": ["boolean"],
        "learning_rate": [StrOptions({"constant", "optimal", "invscaling", "adaptive", "adagrad"})],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "average": [Interval(Integral, 0, None, closed="neither"), "boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Set by the constructors of the subclasses and by validation.
    loss: str
    p: float
    alpha: float
    sparsity_threshold: float
    mask_interval: int | None
    dropout: float
    l2_reg: float
    penalty_factor: Any
    fit_intercept: bool
    learning_rate: str
    eta0: float
    power_t: float
    max_iter: int
    tol: float | None
    shuffle: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    average: bool | int
    random_state: Any
    verbose: int
    n_features_in_: int

    def _settings(self, seed: int) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "p": float(self.p),
            "alpha": float(self.alpha),
            "l2_reg": float(self.l2_reg),
            "epsilon": float(getattr(self, "epsilon", 0.0)),
            "eta0": float(self.eta0),
            "power_t": float(self.power_t),
            "dropout": float(self.dropout),
            "seed": seed,
            "mask_interval": int(self.mask_interval or 0),
            "sparsity_threshold": float(self.sparsity_threshold),
            "average": int(self.average),
            "fit_intercept": bool(self.fit_intercept),
        }

    def _check_together(self, *, stream: bool) -> None:
        """Raise where parameters that are valid one by one are not so together."""
        if self.learning_rate == "optimal" and self.alpha == 0.0:
            raise ValueError(
                "learning_rate='optimal' divides by alpha, which is 0. Set alpha > 0 or another "
                "learning_rate."
            )
        if stream and self.early_stopping:
            raise ValueError(
                "early_stopping=True holds samples back and so needs fit; a stream cannot."
            )

    def _start(
        self,
        n_models: int,
        X: Rowwise,
        coef: np.ndarray | None = None,
        intercept: np.ndarray | None = None,
    ) -> OnlineState:
        """Return a new state that starts at these coefficients, 0 by default."""
        generator = check_random_state(self.random_state)
        seeds = generator.randint(LARGEST_SEED, size=n_models + 1)
        factors = check_penalty_factor(self.penalty_factor, X.shape[1])
        coef = np.zeros((n_models, X.shape[1])) if coef is None else coef
        intercept = np.zeros(n_models) if intercept is None else intercept
        models = [
            LazyModel(coef[k], intercept[k], factors, self._settings(int(seeds[k])))
            for k in range(n_models)
        ]
        return OnlineState(models, X.dtype, np.random.RandomState(seeds[-1]))

    def _fit_rows(
        self,
        X: Rowwise,
        y: Any,
        targets: list[np.ndarray],
        visits: Visits,
        codes: np.ndarray | None,
        starts: tuple[Any, Any],
    ) -> None:
        """Learn each target from the same samples until nothing improves; callbacks see y."""
        state = self._start(len(targets), X, *self._checked_starts(starts, len(targets), X))
        train, held_out = self._split(X.shape[0], visits.totals(), codes)
        schedule = Schedule(
            max_iter=self.max_iter,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            adaptive=self.learning_rate == "adaptive",
            sparsity_threshold=float(self.sparsity_threshold),
            mask_epochs=self.sparsity_threshold > 0.0 and self.mask_interval is None,
            verbose=bool(self.verbose),
        )
        samples = Samples.of(X if held_out is None else X[train])
        X_test = None if held_out is None else X[held_out]
        seen = visits if held_out is None else visits.part(train)
        own = None if held_out is None else visits.part(held_out).totals()
        told = targets[0] if codes is None else codes.astype(np.float64)
        told = told if held_out is None else told[train]
        order = seen.order(samples, told, canonical=self.shuffle)
        seed = state.generator.randint(LARGEST_SEED)
        epochs, single = [], len(targets) == 1
        fit = Progress.of_fit(self, self.max_iter if single else len(targets), X=X, y=y)
        for number, (model, target) in enumerate(zip(state.models, targets, strict=True)):
            generator = np.random.RandomState(seed)

            def shuffled(generator: Any = generator) -> np.ndarray:
                return generator.permutation(order) if self.shuffle else order

            def score(model: LazyModel, target: np.ndarray = target) -> float:
                coef, b = model.coefficients(schedule.sparsity_threshold)
                return self._held_out_score(
                    linear_predictor(X_test, coef, b), target[held_out], own
                )

            rows = Rows(samples, target if held_out is None else target[train], seen.weights)
            judge = None if held_out is None else score
            whole = nullcontext(fit) if single else fit.subtask("class", number, self.max_iter)
            with whole as progress:
                epochs.append(fit_epochs(model, rows, schedule, shuffled, judge, progress))
        self._state = state
        self.n_iter_ = max(epochs)
        fit.end(X=X, y=y)

    def _split(
        self, n_samples: int, weights: np.ndarray | None, strata: np.ndarray | None
    ) -> tuple[Any, Any]:
        if not self.early_stopping:
            return None, None
        kind = ShuffleSplit if strata is None else StratifiedShuffleSplit
        split = kind(1, test_size=self.validation_fraction, random_state=self.random_state)
        train, held_out = next(split.split(np.zeros((n_samples, 1)), strata))
        for name, part in (("training", train), ("validation", held_out)):
            if weights is not None and not weights[part].any():
                raise ValueError(
                    f"All {part.size} samples of the {name} part have weight 0. Use another "
                    "random_state or validation_fraction."
                )
        return train, held_out

    def _held_out_score(
        self, decision: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> float:
        raise NotImplementedError

    def _checked_starts(
        self, starts: tuple[Any, Any], n_models: int, X: Rowwise
    ) -> tuple[Any, Any]:
        """Return the coefficients and intercepts that a fit starts from; None stands for 0."""
        coef, intercept = starts
        if self.warm_start and "_state" in vars(self):
            former = self._coefficients()
            coef = former[0] if coef is None else coef
            intercept = former[1] if intercept is None else intercept
        shapes = {"coef_init": (n_models, X.shape[1]), "intercept_init": (n_models,)}
        found: list[Any] = []
        for (name, shape), given in zip(shapes.items(), (coef, intercept), strict=True):
            if given is None:
                found.append(None)
                continue
            given = given.toarray() if sparse.issparse(given) else given
            values = np.array(given, dtype=np.float64)
            if values.size != np.prod(shape) or (n_models > 1 and values.shape != shape):
                raise ValueError(
                    f"{name} (or, with warm_start=True, the former fit) has shape {values.shape}, "
                    f"but X and y need {shape}."
                )
            if not np.isfinite(values).all():
                raise ValueError(f"{name} holds values that are not finite.")
            found.append(values.reshape(shape))
        return found[0], found[1]

    def _learn_chunk(
        self,
        X: Rowwise,
        targets: list[np.ndarray],
        visits: Visits,
        codes: np.ndarray | None,
        new: bool,
    ) -> None:
        """Learn once from the samples of a chunk, whose features have been checked."""
        with FIRST_CALL:
            if new or "_state" not in vars(self):
                self._state = self._start(len(targets), X)
        state: OnlineState = self._state
        if not state.training.acquire(blocking=False):
            raise RuntimeError(
                f"another thread is training this {type(self).__name__}: a model learns from one "
                "thread at a time."
            )
        try:
            factors = check_penalty_factor(self.penalty_factor, X.shape[1])
            with state.lock:
                state.published = None
                told = targets[0] if codes is None else codes.astype(np.float64)
                samples = Samples.of(X)
                order = visits.order(samples, told, canonical=self.shuffle)
                if self.shuffle:
                    order = state.generator.permutation(order)
                for model, y in zip(state.models, targets, strict=True):
                    model.configure(factors, self._settings(model.settings["seed"]))
                    learn(model, Rows(samples, y, visits.weights), order)
        finally:
            state.training.release()
        self.n_iter_ = 1

    def _learn_stream(self, source: Any, reader: dict[str, Any], classes: Any) -> Self:
        """Learn from the chunks of an iterable or the blocks of a file, one after the other."""
        self._check_together(stream=True)
        new, started, stored = not self.warm_start, time.perf_counter(), 0
        number, n_samples = 0, 0
        fit = Progress.of_fit(self, len(source) if _is_list(source) else None)
        for number, chunk in enumerate(self._chunks(source, reader), start=1):
            with fit.subtask("chunk", number - 1):
                self._learn_one(*chunk, classes=classes, new=new)
            new = False
            if self.verbose:
                n_samples += chunk[0].shape[0]
                stored = self.n_touched_
                loss = np.mean([model.mean_loss() for model in self._state.models])
                rate = stored / (time.perf_counter() - started) / 1e6
                print(
                    f"chunk {number}: {n_samples} samples, {rate:.3g} M stored values/s, "
                    f"mean loss {loss:.6g} before learning"
                )
        if number == 0:
            raise ValueError("the stream has no chunk: fit_stream needs at least one sample.")
        fit.end()
        return self

    def _chunks(self, source: Any, reader: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
        if isinstance(source, str | Path):
            if reader["n_features"] is None and self.warm_start and "_state" in vars(self):
                reader = reader | {"n_features": self.n_features_in_}
            yield from blocks_of(Path(source), **reader)
            return
        if not isinstance(source, Iterable):
            raise TypeError(
                "chunks must be an iterable of (X, y) or (X, y, sample_weight), or the path of a "
                f"file; got {type(source).__name__}."
            )
        for number, chunk in enumerate(source, start=1):
            if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
                raise ValueError(
                    f"chunk {number} must be (X, y) or (X, y, sample_weight); got a "
                    f"{type(chunk).__name__}."
                )
            yield (*chunk, None) if len(chunk) == 2 else tuple(chunk)

    def _learn_one(self, X: Any, y: Any, sample_weight: Any, classes: Any, new: bool) -> None:
        raise NotImplementedError

    def _coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        state = vars(self).get("_state")
        if state is None:
            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet: call fit or partial_fit first."
            )
        return state.coefficients(float(self.sparsity_threshold))

    def _linear_predictor(self, X: Any) -> np.ndarray:
        coef, intercept = self._coefficients()
        X = check_predict_data(self, X)
        if coef.shape[0] == 1:
            return linear_predictor(X, coef[0], float(intercept[0]))
        return linear_predictor(X, coef, intercept)

    @property
    def coef_(self) -> np.ndarray:
        """Coefficients after all steps: penalty up to date, averaged, masked; read-only."""
        coef = self._coefficients()[0]
        return coef if is_classifier(self) else coef[0]

    @property
    def intercept_(self) -> np.ndarray:
        """Intercepts of shape (1,) or (n_classes,), read-only."""
        return self._coefficients()[1]

    @property
    def sparse_coef_(self) -> sparse.csr_array:
        """Coefficients as a sparse array, a row for each row of ``coef_``."""
        return sparse.csr_array(self._coefficients()[0])

    @property
    def mask_(self) -> np.ndarray:
        """Which coefficients are not zero, of the shape of ``coef_``."""
        return self.coef_ != 0.0

    @property
    def n_touched_(self) -> int:
        """Stored values that all steps so far have read."""
        self._coefficients_exist()
        return sum(model.n_touched for model in self._state.models)

    @property
    def t_(self) -> int:
        """Number of the next step, counted from 1."""
        self._coefficients_exist()
        return max(model.n_steps for model in self._state.models) + 1

    def _coefficients_exist(self) -> None:
        if "_state" not in vars(self):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet.")

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in vars(self)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
