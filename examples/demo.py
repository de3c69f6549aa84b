"""Fit real data and print what each penalty keeps: ``make demo`` or ``make demo DATA=file``.

Without a file: two sets that ship with scikit-learn, expanded to more features than
samples. With one (svmlight, npz or csv): the same table for it. A target of two values gets a
second table, by logistic regression.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from demo_data import DataError, Dataset, bundled, load
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LassoCV, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor

OUTPUT = Path("demo-output")
N_ALPHAS, ALPHA_RATIO = 25, 1e-3
# LassoCV's grid ends earlier: below it needs minutes on these correlated columns.
LASSO_CV_RATIO = 1e-2
# Beyond so many stored values five-fold LassoCV takes minutes to hours: the Lasso then gets the
# alpha of our p = 1.
LARGEST_FOR_LASSO_CV = 5_000_000
# Alphas in a row without a better validation score before a path ends.
PATIENCE = 6
PENALTIES = {"p = 2, masked": 2.0, "p = 1": 1.0, "p = 2/3": 2 / 3, "p = 1/2": 0.5, "p = 0": 0.0}


@dataclass
class Row:
    """One line of the table."""

    name: str
    score: float
    kept: int
    fit_seconds: float
    search_seconds: float
    certificate: str
    settings: str
    path: list[tuple[int, float]] = field(default_factory=list)
    log_loss: float = np.nan


def score(dataset: Dataset, y: np.ndarray, prediction: np.ndarray) -> float:
    """Accuracy where y has two values, the coefficient of determination elsewhere."""
    if dataset.two_valued:
        return float(np.mean((prediction > 0) == (y > 0)))
    return 1.0 - float(np.sum((y - prediction) ** 2) / np.sum((y - y.mean()) ** 2))


def largest_alpha(X, y: np.ndarray, p: float, bend: float = 1.0) -> float:
    """Smallest alpha at which no coordinate leaves zero, from gradient and curvature at zero.

    ``bend`` is the bound of the second derivative of the loss: 1/4 for log loss, y then 0 or 1.
    """
    n = y.shape[0]
    mean = np.asarray(X.mean(axis=0)).ravel()
    gradient = np.abs(X.T @ (y - y.mean())) / n
    square = X.multiply(X) if sparse.issparse(X) else X * X
    curvature = bend * np.maximum(np.asarray(square.mean(axis=0)).ravel() - mean**2, 1e-12)
    if p >= 1:
        return float(gradient.max())
    if p == 0:
        return float((gradient**2 / (2 * curvature)).max())
    jump = gradient / curvature * 2 * (1 - p) / (2 - p)
    return float((curvature * jump ** (2 - p) / (2 * (1 - p))).max())


def candidates(X, y: np.ndarray, p: float):
    """Yield the settings to try, from sparse to dense: alphas, for p = 2 masks at three alphas."""
    start = largest_alpha(X, y, p)
    if p < 2:
        for alpha in np.geomspace(start, start * ALPHA_RATIO, N_ALPHAS):
            yield {"p": p, "alpha": float(alpha)}
        return
    spread = float(np.var(y))
    for alpha in (0.01 * spread, 0.1 * spread, spread):
        for threshold in np.geomspace(start / (1 + 2 * alpha), start * 0.01 / (1 + 2 * alpha), 12):
            yield {"p": p, "alpha": alpha, "sparsity_threshold": float(threshold)}


def certificate(model: SparseLpRegressor | SparseLpClassifier) -> str:
    """Return the number that the stopping rule looks at."""
    gap, residual = np.max(model.dual_gap_), np.max(model.fixed_point_residual_)
    return f"residual {residual:.0e}" if np.isnan(gap) else f"gap {gap:.0e}"


def fit_penalty(dataset: Dataset, name: str, p: float, parts) -> Row:
    """Choose alpha and mask on the validation part, refit on all training data, score the rest."""
    X_fit, y_fit, X_validate, y_validate = parts["inner"]
    X_train, y_train, X_test, y_test = parts["outer"]
    started = time.perf_counter()
    best, best_score, waited, path = None, -np.inf, 0, []
    model = SparseLpRegressor(warm_start=True)
    for setting in candidates(X_fit, y_fit, p):
        model.set_params(**setting).fit(X_fit, y_fit)
        if model.mask_.sum() > 0.5 * y_fit.shape[0]:
            if p < 2:
                break
            continue
        value = score(dataset, y_validate, model.predict(X_validate))
        path.append((int(model.mask_.sum()), value))
        waited += 1
        if value > best_score:
            best, best_score, waited = setting, value, 0
        if p < 2 and waited >= PATIENCE and model.mask_.any():
            break
    searched = time.perf_counter() - started
    started = time.perf_counter()
    final = SparseLpRegressor(**best).fit(X_train, y_train)
    seconds = time.perf_counter() - started
    settings = ", ".join(f"{key} {value:.3g}" for key, value in best.items() if key != "p")
    return Row(
        name,
        score(dataset, y_test, final.predict(X_test)),
        int(final.mask_.sum()),
        seconds,
        searched,
        certificate(final),
        settings.replace("sparsity_threshold", "tau"),
        sorted(path),
    )


def fit_lasso(dataset: Dataset, parts, alpha: float) -> Row:
    """Fit scikit-learn's Lasso at its cross-validated alpha, on big data at ``alpha``."""
    X_train, y_train, X_test, y_test = parts["outer"]
    stored = X_train.nnz if sparse.issparse(X_train) else X_train.size
    searched, name = 0.0, "Lasso, our alpha"
    if stored <= LARGEST_FOR_LASSO_CV:
        started = time.perf_counter()
        alphas = np.geomspace(1.0, LASSO_CV_RATIO, N_ALPHAS) * largest_alpha(X_train, y_train, 1.0)
        search = LassoCV(alphas=alphas, cv=5).fit(X_train, y_train)
        searched, alpha, name = time.perf_counter() - started, search.alpha_, "Lasso (LassoCV)"
    started = time.perf_counter()
    model = Lasso(alpha=alpha, max_iter=10_000).fit(X_train, y_train)
    seconds = time.perf_counter() - started
    value = score(dataset, y_test, model.predict(X_test))
    kept = int(np.count_nonzero(model.coef_))
    return Row(
        name, value, kept, seconds, searched, f"gap {model.dual_gap_:.0e}", f"alpha {alpha:.3g}"
    )


def fit_classifier(name: str, p: float, parts) -> tuple[Row, float]:
    """Choose alpha (and a mask) by validation log-loss, refit, score the rest; the alpha too."""
    X_fit, y_fit, X_validate, y_validate = parts["inner"]
    X_train, y_train, X_test, y_test = parts["outer"]
    started = time.perf_counter()
    best, best_loss, waited = None, np.inf, 0
    start = largest_alpha(X_fit, y_fit > 0, p, bend=0.25)
    masks = (0.0,) if p < 2 else (0.02, 0.05, 0.1)
    model = SparseLpClassifier(p=p, warm_start=p <= 1)
    for alpha in np.geomspace(start, start * ALPHA_RATIO, N_ALPHAS):
        for mask in masks:
            model.set_params(alpha=float(alpha), sparsity_threshold=mask).fit(X_fit, y_fit)
            if model.mask_.sum() > 0.5 * y_fit.shape[0]:
                continue
            waited += 1
            loss = log_loss(y_validate, model.predict_proba(X_validate)[:, 1])
            if loss < best_loss:
                best, best_loss, waited = model.get_params(), loss, 0
        if waited >= PATIENCE * len(masks) and model.mask_.any():
            break
    searched = time.perf_counter() - started
    started = time.perf_counter()
    final = SparseLpClassifier(**(best | {"warm_start": False})).fit(X_train, y_train)
    seconds = time.perf_counter() - started
    settings = f"alpha {final.alpha:.3g}" + (
        f", tau {final.sparsity_threshold:.3g}" if p == 2 else ""
    )
    row = Row(
        name,
        final.score(X_test, y_test),
        int(final.mask_.sum()),
        seconds,
        searched,
        certificate(final),
        settings,
        log_loss=log_loss(y_test, final.predict_proba(X_test)[:, 1]),
    )
    return row, final.alpha


def fit_logistic(parts, alpha: float) -> Row:
    """Fit scikit-learn's L1 logistic regression at ``alpha``, with liblinear."""
    X_train, y_train, X_test, y_test = parts["outer"]
    # Before scikit-learn 1.8 the ratio counted for an elastic net only.
    new = LogisticRegression().penalty == "deprecated"
    l1 = {"l1_ratio": 1.0} if new else {"penalty": "l1"}
    started = time.perf_counter()
    model = LogisticRegression(
        C=1.0 / (y_train.shape[0] * alpha), solver="liblinear", max_iter=1000, **l1
    ).fit(X_train, y_train)
    seconds = time.perf_counter() - started
    return Row(
        "Logistic, our alpha",
        model.score(X_test, y_test),
        int(np.count_nonzero(model.coef_)),
        seconds,
        0.0,
        "",
        f"alpha {alpha:.3g}",
        log_loss=log_loss(y_test, model.predict_proba(X_test)[:, 1]),
    )


def run_classification(dataset: Dataset) -> None:
    """Print the table of logistic regression for a target of two values."""
    print(
        f"\n{dataset.name}, logistic regression: alpha (and the mask tau) by validation log-loss."
    )
    head = f"{'penalty':<20}{'accuracy':>9}{'log-loss':>9}{'kept':>7}{'fit s':>9}{'search s':>10}"
    head += f"  {'certificate':<16}chosen"
    print(head + "\n" + "-" * len(head))
    parts = split(dataset)
    ours = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, p in PENALTIES.items():
            row, alpha = fit_classifier(name, p, parts)
            ours = alpha if p == 1.0 else ours
            show_classification(row)
        show_classification(fit_logistic(parts, ours))


def show_classification(row: Row) -> None:
    """Print one line of the table of logistic regression."""
    print(
        f"{row.name:<20}{row.score:>9.3f}{row.log_loss:>9.3f}{row.kept:>7}"
        f"{row.fit_seconds:>9.3f}{row.search_seconds:>10.2f}  {row.certificate:<16}{row.settings}",
        flush=True,
    )


def split(dataset: Dataset) -> dict:
    """Return the same three parts for every method: fit, validate (inner) and test (outer)."""
    stratify = dataset.y if dataset.two_valued else None
    X_train, X_test, y_train, y_test = train_test_split(
        dataset.X, dataset.y, test_size=0.25, random_state=0, stratify=stratify
    )
    stratify = y_train if dataset.two_valued else None
    X_fit, X_validate, y_fit, y_validate = train_test_split(
        X_train, y_train, test_size=0.25, random_state=0, stratify=stratify
    )
    return {
        "inner": (X_fit, y_fit, X_validate, y_validate),
        "outer": (X_train, y_train, X_test, y_test),
    }


def run(dataset: Dataset) -> list[Row]:
    """Print the table of one data set and return its rows."""
    n_samples, n_features = dataset.X.shape
    measure = "accuracy" if dataset.two_valued else "R2"
    print(f"\n{dataset.name}: {n_samples} samples x {n_features} features, {dataset.note}")
    print(
        "alpha (and the mask tau) chosen on a quarter of the training part, the same for every p; "
        "score on a quarter of the data that no choice has seen."
    )
    if dataset.two_valued:
        print("Two values of y: fitted as -1 and +1 by least squares.")
    parts = split(dataset)
    head = f"{'penalty':<18}{measure:>9}{'kept':>7}{'fit s':>9}{'search s':>10}"
    head += f"  {'certificate':<16}chosen"
    print(head + "\n" + "-" * len(head))
    rows, alpha = [], 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, p in PENALTIES.items():
            rows.append(fit_penalty(dataset, name, p, parts))
            show(rows[-1])
            if p == 1.0:
                alpha = float(rows[-1].settings.split()[1])
        rows.append(fit_lasso(dataset, parts, alpha))
        show(rows[-1])
    return rows


def show(row: Row) -> None:
    """Print one line of the table."""
    print(
        f"{row.name:<18}{row.score:>9.3f}{row.kept:>7}{row.fit_seconds:>9.3f}"
        f"{row.search_seconds:>10.2f}  "
        f"{row.certificate:<16}{row.settings}",
        flush=True,
    )


def draw(dataset: Dataset, rows: list[Row], path: Path) -> None:
    """Save validation score against the number of features kept, one line a penalty."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for row in rows:
        if row.path:
            best: dict[int, float] = {}
            for kept, value in row.path:
                best[kept] = max(value, best.get(kept, -np.inf))
            kept = sorted(k for k in best if k > 0)
            axes.plot(
                kept,
                [best[k] for k in kept],
                marker="o",
                markersize=3,
                linewidth=1.2,
                label=row.name,
            )
    axes.set_xscale("log")
    axes.set_xlabel("features kept")
    axes.set_ylabel("validation " + ("accuracy" if dataset.two_valued else "R2"))
    axes.set_title(f"{dataset.name}: score against sparsity")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 on success, 2 where the file cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="svmlight, npz or csv file instead of the bundled sets")
    parser.add_argument(
        "--target", help="name of the target column of a csv file (default: the last one)"
    )
    options = parser.parse_args(arguments)
    try:
        datasets = [load(Path(options.data), options.target)] if options.data else bundled()
    except DataError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    OUTPUT.mkdir(exist_ok=True)
    for dataset in datasets:
        rows = run(dataset)
        path = OUTPUT / f"{dataset.slug}.png"
        draw(dataset, rows, path)
        print(f"figure: {path}")
        if dataset.two_valued:
            run_classification(dataset)
    return 0


if __name__ == "__main__":
    sys.exit(main())
