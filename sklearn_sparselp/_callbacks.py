"""scikit-learn's callbacks, which came with its version 1.9, where they exist; else nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method itself."""
        return method


__all__ = ["CallbackSupportMixin", "Progress", "with_callbacks"]


class Progress:
    """A task of a fit as callbacks see it; without callbacks nothing happens.

    Parameters
    ----------
    estimator : estimator
    context : CallbackContext, or None
    """

    def __init__(self, estimator: Any, context: Any = None):
        self._estimator = estimator
        self._context = context
        self._lock = threading.Lock()

    @classmethod
    def of_fit(cls, estimator: Any, n_subtasks: int | None, **data: Any) -> Progress:
        """Begin the fit of an estimator; its method ``fit`` has the decorator `with_callbacks`.

        Parameters
        ----------
        estimator : estimator
        n_subtasks : int, or None where nobody knows
        **data : dict
            X, y and metadata for the callbacks.
        """
        if not hasattr(estimator, "_skl_callbacks"):
            return cls(estimator)
        context = estimator._init_callback_context(
            max_subtasks=n_subtasks, sequential_subtasks=False
        )
        context.call_on_fit_task_begin(estimator=estimator, **data)
        return cls(estimator, context)

    @property
    def followed(self) -> bool:
        """Whether a callback follows the task."""
        return self._context is not None

    def end(self, **data: Any) -> None:
        """End the task."""
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._estimator, **data)

    @contextmanager
    def subtask(self, name: str, task_id: int, n_subtasks: int = 0) -> Iterator[Progress]:
        """Begin and end a part of the task; parts may run in several threads.

        Parameters
        ----------
        name : str
        task_id : int
            Its position among the parts.
        n_subtasks : int, default=0
            How many parts it has itself.
        """
        if self._context is None:
            yield self
            return
        with self._lock:
            context = self._context.subcontext(
                task_name=name,
                task_id=task_id,
                max_subtasks=n_subtasks,
                sequential_subtasks=False,
            )
            context.call_on_fit_task_begin(estimator=self._estimator)
        part = Progress(self._estimator, context)
        yield part
        with self._lock:
            part.end()
