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


def test_a_failure_of_a_later_fold_ends_an_earlier_one():
    failed, asked = threading.Event(), []

    def scorer(model, X, y):
        if X.shape[0] == 20:
            assert failed.wait(60)
            asked.append(0)
            time.sleep(0.05)
            return 0.0
        failed.set()
        raise RuntimeError("no score")

    folds = [(np.arange(20, N), np.arange(20)), (np.arange(10), np.arange(10, N))]
    with pytest.raises(RuntimeError, match="no score"):
        cross_validated(scorer, cv=folds, p=[1.0, 0.9, 0.8, 0.7, 0.6], alphas=5)
    # One path or two of five are scored.
    assert len(asked) <= 10


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there are no such signals")
def test_an_interrupt_stops_the_threads():
    asked, noticed, sent = [], threading.Event(), threading.Lock()

    def scorer(model, X, y):
        asked.append(threading.get_ident())
        if sent.acquire(blocking=False):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert noticed.wait(60)
        time.sleep(0.05)
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
    # A fold is scored to its end; four of eight have time to begin.
    assert len(asked) <= 4 * 5
