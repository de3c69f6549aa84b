"""What fits and streams tell of their progress: lines and scikit-learn's callbacks."""

import warnings

import numpy as np
import pytest
from test_online import data

from sklearn_sparselp import SparseLpSGDClassifier, SparseLpSGDRegressor
from sklearn_sparselp._callbacks import CallbackSupportMixin

needs_callbacks = pytest.mark.skipif(
    not hasattr(CallbackSupportMixin, "set_callbacks"), reason="scikit-learn has no callbacks"
)


class Recorder:
    """A callback that writes down the tasks."""

    def __init__(self, stop=None):
        self.begun, self.ended, self.open, self.stop = [], [], 0, stop

    def setup(self, estimator, context):
        self.open += 1

    def teardown(self, estimator, context):
        self.open -= 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id, context.max_subtasks))
        if context.task_id == self.stop:
            raise KeyboardInterrupt

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.task_name, context.task_id, context.max_subtasks))


def test_verbose_prints_a_line_for_each_epoch_and_chunk(capsys):
    X, y, _ = data()
    SparseLpSGDRegressor(max_iter=3, tol=None, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    SparseLpSGDRegressor(verbose=1).fit_stream([(X, y), (X, y)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "chunk 1: 120 samples",
        "chunk 2: 240 samples",
    ]


@needs_callbacks
def test_callbacks_follow_epochs_and_classes():
    X, y, _ = data()
    recorder = Recorder()
    model = SparseLpSGDRegressor(max_iter=30, tol=1e-2, random_state=0).set_callbacks(recorder)
    model.fit(X, y)
    assert 5 < model.n_iter_ < 30
    epochs = [("epoch", k, 0) for k in range(model.n_iter_)]
    assert recorder.begun == [("fit", 0, 30), *epochs]
    assert recorder.ended == [*epochs, ("fit", 0, 30)]
    recorder = Recorder()
    labels = np.digitize(y, np.quantile(y, [0.33, 0.66]))
    many = SparseLpSGDClassifier(max_iter=2, tol=None, random_state=0).set_callbacks(recorder)
    many.fit(X, labels)
    each = [("epoch", 0, 0), ("epoch", 1, 0)]
    expected = [part for k in range(3) for part in [("class", k, 2), *each]]
    assert recorder.begun == [("fit", 0, 3), *expected]
    assert sorted(recorder.ended) == sorted(recorder.begun)
    assert recorder.open == 0
    # Nobody that watches changes what is learned.
    alone = SparseLpSGDClassifier(max_iter=2, tol=None, random_state=0).fit(X, labels)
    assert many.coef_.tobytes() == alone.coef_.tobytes()


@needs_callbacks
@pytest.mark.parametrize("as_list", [True, False])
def test_callbacks_follow_the_chunks_of_a_stream(as_list):
    X, y, _ = data()
    recorder = Recorder()
    chunks = [(X[:50], y[:50]), (X[50:], y[50:])]
    model = SparseLpSGDRegressor().set_callbacks(recorder)
    model.fit_stream(chunks if as_list else iter(chunks))
    whole = ("fit", 0, 2 if as_list else None)
    assert recorder.begun == [whole, ("chunk", 0, 0), ("chunk", 1, 0)]
    assert recorder.ended == [("chunk", 0, 0), ("chunk", 1, 0), whole]
    assert recorder.open == 0


@needs_callbacks
def test_callbacks_are_taken_down_when_a_fit_fails_and_the_former_model_stays():
    X, y, _ = data()
    model = SparseLpSGDRegressor(max_iter=3, tol=None, random_state=0).fit(X, y)
    before = model.coef_.copy()
    recorder = Recorder(stop=1)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(recorder).fit(X, 2 * y)
    assert model.coef_.tobytes() == before.tobytes()
    assert recorder.open == 0
    assert len(recorder.begun) == 3
    with pytest.raises(KeyboardInterrupt):
        model.fit_stream([(X, y), (X, y)])
    assert recorder.open == 0
    model.set_callbacks(Recorder())
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, np.full_like(y, np.nan))
    with pytest.raises(ValueError, match="no chunk"):
        model.fit_stream([])
    assert model._skl_callbacks[0].open == 0


@needs_callbacks
def test_scikit_learns_progress_bar_shows_the_fit(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    X, y, _ = data()
    bar = ProgressBar()
    model = SparseLpSGDRegressor(max_iter=3, tol=None).set_callbacks(bar)
    model.fit(X, y)
    assert "SparseLpSGDRegressor - fit" in capsys.readouterr().out
    model.fit_stream(iter([(X, y)]))
    assert "SparseLpSGDRegressor" in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
