"""Pictures of paths: what is drawn is the path, names do not overlap, and errors are clear."""

import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from scipy import sparse
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.isotonic import isotonic_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from sklearn_sparselp import (
    RegularizationPathDisplay,
    SparseLpClassifier,
    SparseLpRegressor,
    SparseLpRegressorCV,
    sparse_lp_path,
)
from sklearn_sparselp._drawing import shortened, spread

SIZES = [(6.4, 4.8), (3.5, 2.6), (2.0, 1.6)]
DIABETES, Y = load_diabetes(return_X_y=True, as_frame=True)
WINE, CULTIVARS = load_wine(return_X_y=True)
WINE = scale(WINE)


def path_of_many(n_active=200):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, n_active))
    y = X @ rng.normal(size=n_active) + rng.normal(size=300)
    return sparse_lp_path(X, y, alphas=30)


def boxes(labels):
    """Return where the texts are, without their leaders, in pixels."""
    return [Text.get_window_extent(label) for label in labels]


def check_labels(display):
    display.figure_.canvas.draw()
    found = boxes(display.labels_)
    for a, b in itertools.combinations(found, 2):
        assert not a.overlaps(b)
    frame = display.ax_.get_window_extent()
    for box in found:
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1 + 1.0
        assert frame.y0 - 2.0 <= box.y0
        assert box.y1 <= frame.y1 + 2.0
        # No line runs through a name.
        for line in display.lines_:
            last = line.get_transform().transform(line.get_xydata())[-1, 0]
            assert last < box.x0


@pytest.mark.parametrize("seed", range(20))
def test_spread_moves_labels_as_little_as_their_distance_allows(seed):
    rng = np.random.default_rng(seed)
    wanted = np.sort(rng.uniform(0.0, 100.0, rng.integers(1, 9)))
    placed = spread(wanted, 10.0, -1000.0, 1000.0)
    assert (np.diff(placed) >= 10.0 - 1e-9).all()
    steps = 10.0 * np.arange(wanted.size)
    np.testing.assert_allclose(placed, isotonic_regression(wanted - steps) + steps)
    bounded = spread(wanted, 10.0, 5.0, 95.0)
    assert bounded[0] >= 5.0
    assert bounded[-1] <= 95.0 + 1e-9
    assert (np.diff(bounded) >= 10.0 - 1e-9).all()


def test_long_names_lose_their_middle():
    assert shortened("petal length", 20) == "petal length"
    for length in range(4, 12):
        name = shortened("petal length (cm)", length)
        assert len(name) == length
        assert name[0] == "p"
        assert name[-1] == ")"
        assert "…" in name


def test_lines_are_the_coefficients_of_the_leading_features():
    path = sparse_lp_path(DIABETES, Y, p=0.5, alphas=30)
    display = RegularizationPathDisplay.from_path(path, n_labels=4)
    leading = sorted(np.argsort(-np.abs(path.coefs[-1]))[:4], key=lambda j: path.coefs[-1, j])
    assert [label.get_text() for label in display.labels_] == [f"x{j}" for j in leading]
    for line, label, j in zip(display.lines_, display.labels_, leading, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), path.alphas)
        np.testing.assert_array_equal(line.get_ydata(), path.coefs[:, j])
        assert line.get_color() == label.get_color()
    drawn = {tuple(segment[:, 1]) for segment in display.others_.get_segments()}
    others = [j for j in range(10) if path.coefs[:, j].any() and j not in leading]
    assert drawn == {tuple(path.coefs[:, j]) for j in others}
    left, right = display.ax_.get_xlim()
    assert left > right
    assert display.ax_.get_xscale() == "log"


def test_axis_above_shows_the_support_size():
    path = sparse_lp_path(DIABETES, Y, p=1.0, alphas=40)
    display = RegularizationPathDisplay.from_path(path)
    ticks = display.support_ax_.get_xticks()
    texts = [int(label.get_text()) for label in display.support_ax_.get_xticklabels()]
    assert len(ticks) >= 3
    assert ticks[0] == path.alphas[0]
    assert ticks[-1] == path.alphas[-1]
    df = dict(zip(path.alphas, path.df, strict=True))
    assert texts == [df[tick] for tick in ticks]
    display.figure_.canvas.draw()
    shown = boxes(display.support_ax_.get_xticklabels())
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(shown))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", ["diabetes", "many", "wine", "long names", "three"])
def test_names_do_not_overlap_at_any_size(case, size):
    _, ax = plt.subplots(figsize=size, layout="constrained")
    names = None
    if case == "diabetes":
        path, names = sparse_lp_path(DIABETES, Y, p=0.5), DIABETES.columns
    elif case == "many":
        path = path_of_many()
    elif case == "wine":
        path = sparse_lp_path(WINE, CULTIVARS, loss="log_loss", alphas=30)
        names = load_wine().feature_names
    elif case == "long names":
        path = sparse_lp_path(DIABETES, Y, alphas=30)
        names = [f"a very long name of the feature {j}, with unit" for j in range(10)]
    else:
        path = path_of_many(3)
    display = RegularizationPathDisplay.from_path(path, feature_names=names, ax=ax, n_labels=30)
    if size != SIZES[-1]:
        assert len(display.labels_) >= 3
    check_labels(display)
    assert display.figure_ is ax.figure


def test_no_tick_lies_below_the_smallest_alpha():
    path = sparse_lp_path(DIABETES, Y, alphas=30)
    display = RegularizationPathDisplay.from_path(path)
    for minor in (False, True):
        ticks = display.ax_.get_xticks(minor=minor)
        assert ticks.size
        assert ticks.min() >= path.alphas[-1] * (1 - 1e-6)
    assert display.ax_.get_xlim()[1] < 0.7 * path.alphas[-1]


def test_chosen_alpha_is_marked():
    model = SparseLpRegressor(p=0.5, alpha=3.0)
    display = RegularizationPathDisplay.from_estimator(model, DIABETES, Y, alphas=20)
    assert list(display.alpha_lines_["chosen"].get_xdata()) == [3.0, 3.0]
    assert any("3" in text.get_text() and "alpha" in text.get_text() for text in display.ax_.texts)
    assert {label.get_text() for label in display.labels_} <= set(DIABETES.columns)
    plain = RegularizationPathDisplay.from_path(display.path)
    assert plain.alpha_lines_ == {}


def test_parameters_of_the_estimator_count():
    model = SparseLpRegressor(p=1.0, loss="huber", epsilon=50.0, positive=True, l2_reg=1e-4)
    weights = np.arange(Y.size, dtype=float)
    display = RegularizationPathDisplay.from_estimator(
        model, DIABETES, Y, alphas=10, eps=0.01, sample_weight=weights
    )
    expected = sparse_lp_path(
        DIABETES, Y, alphas=10, eps=0.01, loss="huber", epsilon=50.0, positive=True, l2_reg=1e-4,
        sample_weight=weights,
    )  # fmt: skip
    np.testing.assert_array_equal(display.path.coefs, expected.coefs)
    assert not hasattr(model, "coef_")


def test_classes_are_drawn_one_by_one_or_as_their_norm():
    labels = np.array(["barolo", "grignolino", "barbera"])[CULTIVARS]
    path = sparse_lp_path(WINE, labels, loss="log_loss", alphas=20)
    display = RegularizationPathDisplay.from_path(path, target="barbera", n_labels=2)
    coefs = path.coefs[list(path.classes).index("barbera")]
    coefs = coefs.toarray() if sparse.issparse(coefs) else coefs
    for line, label in zip(display.lines_, display.labels_, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), coefs[:, int(label.get_text()[1:])])
    assert "barbera" in display.ax_.get_ylabel()
    display = RegularizationPathDisplay.from_path(path, n_labels=2)
    stacked = [c.toarray() if sparse.issparse(c) else c for c in path.coefs]
    norms = np.linalg.norm(stacked, axis=0)
    for line, label in zip(display.lines_, display.labels_, strict=True):
        np.testing.assert_allclose(line.get_ydata(), norms[:, int(label.get_text()[1:])])
    with pytest.raises(ValueError, match="target='merlot' is none of the classes"):
        RegularizationPathDisplay.from_path(path, target="merlot")


def test_two_classes_have_one_set_of_coefficients():
    path = sparse_lp_path(WINE, CULTIVARS == 1, loss="log_loss", alphas=10)
    assert RegularizationPathDisplay.from_path(path, target=True).lines_
    with pytest.raises(ValueError, match="must be None or True"):
        RegularizationPathDisplay.from_path(path, target=False)


def test_target_chooses_one_of_several_outputs():
    targets = np.column_stack([Y, -2.0 * Y])
    model = SparseLpRegressor()
    display = RegularizationPathDisplay.from_estimator(model, DIABETES, targets, target=1, alphas=9)
    expected = sparse_lp_path(DIABETES, -2.0 * Y, alphas=9)
    np.testing.assert_array_equal(display.path.coefs, expected.coefs)
    for target in (None, 2, -1):
        with pytest.raises(ValueError, match="y has 2 columns"):
            RegularizationPathDisplay.from_estimator(model, DIABETES, targets, target=target)


def scores_of(path, rng, n_folds=5):
    hill = -np.square(np.linspace(-1.0, 2.0, path.alphas.size))
    return hill[:, np.newaxis] + 0.3 * rng.normal(size=(1, n_folds)) + 0.02 * rng.normal(
        size=(path.alphas.size, n_folds)
    )  # fmt: skip


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cross_validation_shows_mean_band_and_both_choices(sign):
    path = sparse_lp_path(DIABETES, Y, alphas=40)
    scores = scores_of(path, np.random.default_rng(0))
    display = RegularizationPathDisplay(
        path, scores=sign * scores, score_name="gain", greater_is_better=sign > 0
    ).plot_cv()
    mean = scores.mean(axis=1)
    error = scores.std(axis=1, ddof=1) / np.sqrt(5)
    (line,) = display.lines_
    np.testing.assert_allclose(line.get_ydata(), sign * mean)
    edges = display.band_.get_paths()[0].vertices
    for alpha, low, high in zip(path.alphas, mean - error, mean + error, strict=True):
        here = edges[np.isclose(edges[:, 0], alpha, rtol=1e-12), 1]
        assert np.isclose(here.min(), sign * (low if sign > 0 else high))
        assert np.isclose(here.max(), sign * (high if sign > 0 else low))
    best = mean.argmax()
    # By hand: the sparsest, then the first, of all that come close enough.
    close = [k for k in range(40) if mean[k] >= mean[best] - error[best]]
    sparsest = min(close, key=lambda k: (path.df[k], k))
    assert display.alpha_lines_["best"].get_xdata()[0] == path.alphas[best]
    assert display.alpha_lines_["one SE"].get_xdata()[0] == path.alphas[sparsest]
    assert path.alphas[sparsest] > path.alphas[best]
    assert "chosen" not in display.alpha_lines_
    assert display.ax_.get_ylabel() == "gain"
    assert display.support_ax_.get_xticks().size >= 3


def test_one_se_counts_the_support_of_the_folds_where_it_is_given():
    path = sparse_lp_path(DIABETES, Y, alphas=40)
    scores = scores_of(path, np.random.default_rng(0))
    mean, error = scores.mean(axis=1), scores.std(axis=1, ddof=1) / np.sqrt(5)
    close = np.flatnonzero(mean >= mean.max() - error[mean.argmax()])
    counts = np.full(40, 9.0)
    counts[close[-1]] = 1.0
    display = RegularizationPathDisplay(path, scores=scores, counts=counts).plot_cv()
    assert display.alpha_lines_["one SE"].get_xdata()[0] == path.alphas[close[-1]]


def test_a_choice_by_another_rule_and_failed_fits_are_shown_too():
    path = sparse_lp_path(DIABETES, Y, alphas=40)
    scores = scores_of(path, np.random.default_rng(0))
    scores[13, 2] = -np.inf
    display = RegularizationPathDisplay(path, alpha=path.alphas[2], scores=scores).plot_cv()
    assert display.alpha_lines_["chosen"].get_xdata()[0] == path.alphas[2]
    assert display.alpha_lines_["best"].get_xdata()[0] != path.alphas[13]
    assert np.isnan(display.lines_[0].get_ydata()).sum() == 1
    single = RegularizationPathDisplay(path, scores=scores[:, 0]).plot_cv()
    assert single.band_ is None
    assert set(single.alpha_lines_) == {"best"}


def test_a_million_features_take_the_memory_of_those_in_use():
    rng = np.random.default_rng(0)
    X = sparse.random_array((200, 1_000_000), density=1e-4, format="csr", rng=rng)
    y = np.asarray(X[:, :5000].sum(axis=1)).ravel() + rng.normal(size=200)
    path = sparse_lp_path(X, y, alphas=20, eps=0.1)
    assert sparse.issparse(path.coefs)
    RegularizationPathDisplay.from_path(path)
    tracemalloc.start()
    display = RegularizationPathDisplay.from_path(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Dense, the coefficients alone would take 160 MB.
    assert peak < 40e6
    assert len(display.labels_) == 8


def test_paths_with_nothing_to_see_are_drawn():
    empty = sparse_lp_path(DIABETES, Y, alphas=[1e4, 1e3])
    display = RegularizationPathDisplay.from_path(empty)
    assert display.lines_ == []
    single = RegularizationPathDisplay.from_path(sparse_lp_path(DIABETES, Y, alphas=[0.1]))
    assert {line.get_marker() for line in single.lines_} == {"o"}
    without_zero = RegularizationPathDisplay.from_path(sparse_lp_path(DIABETES, Y, alphas=[1.0, 0]))
    assert list(without_zero.lines_[0].get_xdata()) == [1.0]
    for drawn in (display, single, without_zero):
        check_labels(drawn)
    with pytest.raises(ValueError, match="no alpha > 0"):
        RegularizationPathDisplay.from_path(sparse_lp_path(DIABETES, Y, alphas=[0.0]))


def test_axes_of_the_user_are_drawn_on():
    path = sparse_lp_path(DIABETES, Y, alphas=10)
    figure = plt.figure(layout="constrained")
    left, right = figure.subfigures(1, 2)
    before = plt.get_fignums()
    ax = right.subplots()
    display = RegularizationPathDisplay(path)
    assert display.plot(ax, line_kw={"color": "black", "linewidth": 3.0}) is display
    assert display.ax_ is ax
    assert plt.get_fignums() == before
    assert {(line.get_color(), line.get_linewidth()) for line in display.lines_} == {("black", 3.0)}
    check_labels(display)
    assert not left.axes


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda path: RegularizationPathDisplay(path).plot_cv(), ValueError, "no scores"),
        (
            lambda path: RegularizationPathDisplay(path, scores=[1.0, 2.0]).plot_cv(),
            ValueError,
            r"scores has shape \(2,\), but the path has 10 alphas",
        ),
        (
            lambda path: RegularizationPathDisplay.from_path(path, feature_names=["a"]),
            ValueError,
            "feature_names has 1 names, but the path has 10 features",
        ),
        (
            lambda path: RegularizationPathDisplay.from_path(path, n_labels=-1),
            ValueError,
            "n_labels must be an integer >= 0, got -1",
        ),
        (
            lambda path: RegularizationPathDisplay.from_path(path, target=0),
            ValueError,
            "target must be None",
        ),
        (
            lambda path: RegularizationPathDisplay.from_estimator(SparseLpRegressor(), kind="all"),
            ValueError,
            "kind must be 'path' or 'cv', got 'all'",
        ),
        (
            lambda path: RegularizationPathDisplay.from_estimator(SparseLpRegressor()),
            NotFittedError,
            "pass X and y",
        ),
        (
            lambda path: RegularizationPathDisplay.from_estimator(
                SparseLpClassifier(), WINE, CULTIVARS, kind="cv"
            ),
            NotFittedError,
            "needs a fitted SparseLpRegressorCV",
        ),
        (
            lambda path: RegularizationPathDisplay.from_estimator(
                make_pipeline(StandardScaler(), SparseLpRegressor()), DIABETES, Y
            ),
            TypeError,
            "Of a pipeline pass its last step",
        ),
    ],
)
def test_wrong_arguments_are_named_and_leave_no_figure(call, error, message):
    path = sparse_lp_path(DIABETES, Y, alphas=10)
    before = plt.get_fignums()
    with pytest.raises(error, match=message):
        call(path)
    assert plt.get_fignums() == before


def test_without_matplotlib_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from sklearn_sparselp import *\n"
        "try: RegularizationPathDisplay.from_path(None)\n"
        "except ImportError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert "requires matplotlib" in out.stdout


@pytest.mark.parametrize("criterion", ["cv", "bic"])
def test_a_tuned_estimator_shows_its_own_path_and_scores(criterion):
    model = SparseLpRegressorCV(
        [0.5, 1.0], alphas=20, criterion=criterion, selection_rule="one_se"
    ).fit(DIABETES, Y)
    chosen = model.best_index_[:2]
    display = RegularizationPathDisplay.from_estimator(model, kind="cv")
    if criterion == "cv":
        expected, label = model.cv_scores_[chosen].mean(axis=-1), "mean minus squared error"
    else:
        expected, label = model.criterion_[chosen], "BIC"
        assert display.alpha_lines_["best"].get_xdata()[0] == model.alpha_
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected)
    assert display.ax_.get_ylabel() == label
    assert model.alpha_ in {line.get_xdata()[0] for line in display.alpha_lines_.values()}
    assert (display.band_ is None) == (criterion == "bic")
    display = RegularizationPathDisplay.from_estimator(model)
    assert display.alpha_lines_["chosen"].get_xdata()[0] == model.alpha_
    assert display.path is model.path_
    assert {label.get_text() for label in display.labels_} <= set(DIABETES.columns)
