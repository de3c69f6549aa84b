"""Folds of a cross-validation in threads: a failure and an interrupt end all of them."""

import signal
import threading
import time

import numpy as np
import pytest

from sklearn_sparselp import SparseLpRegressorCV

N = 90
X = np.random.default_rng(0).standard_normal((N, 30))
Y = X[:, 0] - X[:, 1]


def cross_validated(scorer, **parameters):
    return SparseLpRegressorCV(eps=3e-2, scoring=scorer, n_jobs=2, **parameters).fit(X, Y)


def test_a_failure_in_a_thread_stops_the_others():
    asked = []

    def scorer(model, X, y):
        asked.append(threading.get_ident())
        raise RuntimeError("no score")

    with pytest.raises(RuntimeError, match="no score"):
        cross_validated(scorer, cv=8)
    # Each thread that had a fold in hand, and none of the six folds after these.
    assert len(asked) <= 2


def test_a_failure_of_a_later_fold_does_not_wait_for_an_earlier_one():
    failed, late = threading.Event(), []

    def scorer(model, X, y):
        if X.shape[0] == 20:
            late.append(not failed.wait(60))
            return 0.0
        failed.set()
        raise RuntimeError("no score")

    folds = [(np.arange(20, N), np.arange(20)), (np.arange(10), np.arange(10, N))]
    with pytest.raises(RuntimeError, match="no score"):
        cross_validated(scorer, cv=folds)
    assert not any(late)


def test_an_interrupt_stops_the_threads():
    asked, noticed = [], threading.Event()

    def scorer(model, X, y):
        asked.append(threading.get_ident())
        if len(asked) == 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert noticed.wait(60)
        time.sleep(0.01)
        return 0.0

    def interrupted(*_):
        noticed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            cross_validated(scorer, alphas=5, cv=8)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(asked) <= 2 * 5 < 8 * 5
