"""One problem, four searches: p, alpha and the mask of a classifier in a pipeline.

The breast cancer data of scikit-learn with the squares and products of its columns, 569 x 495. The
same folds judge the candidates of

* GridSearchCV over a grid,
* RandomizedSearchCV over distributions,
* Optuna's sampler (tree-structured Parzen estimators), where it is installed,
* SparseLpClassifierCV, which follows a path for each pair of p and mask; the steps before it are
  fitted once, not in each fold.

    python examples/tuning.py [--trials N] [--seed S]

Prints for each search the number of fits, the time, the best mean log-likelihood of the folds, and
the accuracy and the number of features on samples that no search has seen.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from scipy.stats import loguniform, uniform
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from sklearn_sparselp import SparseLpClassifier, SparseLpClassifierCV

N_FOLDS = 5
SCORING = "neg_log_loss"
ORDERS = (0.5, 1.0)
MASKS = (0.0, 0.1)
# alpha_max of this problem for p = 1 is about 0.4.
ALPHAS = (1e-3, 0.3)
N_ALPHAS = 10


def pipeline(model) -> Pipeline:
    """Return the steps that every search tunes."""
    return make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(), model
    )


def grid_search(X, y, folds, trials: int, seed: int):
    """Return the best pipeline, its score and the number of fits."""
    grid = {
        "sparselpclassifier__p": ORDERS,
        "sparselpclassifier__sparsity_threshold": MASKS,
        "sparselpclassifier__alpha": np.geomspace(*ALPHAS, N_ALPHAS),
    }
    search = GridSearchCV(pipeline(SparseLpClassifier()), grid, cv=folds, scoring=SCORING)
    search.fit(X, y)
    return search.best_estimator_, search.best_score_, len(search.cv_results_["params"]) * N_FOLDS


def random_search(X, y, folds, trials: int, seed: int):
    """Return the best pipeline, its score and the number of fits."""
    space = {
        "sparselpclassifier__p": uniform(0.3, 0.9),
        "sparselpclassifier__sparsity_threshold": uniform(0.0, 0.2),
        "sparselpclassifier__alpha": loguniform(*ALPHAS),
    }
    search = RandomizedSearchCV(
        pipeline(SparseLpClassifier()), space, n_iter=trials, cv=folds, scoring=SCORING,
        random_state=seed,
    ).fit(X, y)  # fmt: skip
    return search.best_estimator_, search.best_score_, trials * N_FOLDS


def optuna_search(X, y, folds, trials: int, seed: int):
    """Return the best pipeline, its score and the number of fits."""
    import optuna

    def candidate(trial) -> Pipeline:
        model = SparseLpClassifier(
            p=trial.suggest_float("p", 0.3, 1.2),
            alpha=trial.suggest_float("alpha", *ALPHAS, log=True),
            sparsity_threshold=trial.suggest_float("sparsity_threshold", 0.0, 0.2),
        )
        return pipeline(model)

    def objective(trial) -> float:
        return cross_val_score(candidate(trial), X, y, cv=folds, scoring=SCORING).mean()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=trials)
    best = candidate(optuna.trial.FixedTrial(study.best_params)).fit(X, y)
    return best, study.best_value, trials * N_FOLDS


def path_search(X, y, folds, trials: int, seed: int):
    """Return the pipeline of the model that the paths choose, its score and the number of fits."""
    model = SparseLpClassifierCV(
        p=ORDERS, sparsity_threshold=MASKS, alphas=np.geomspace(*ALPHAS, N_ALPHAS), cv=folds
    )
    best = pipeline(model).fit(X, y)
    scores = best[-1].cv_scores_
    return best, scores[best[-1].best_index_].mean(), scores.size


SEARCHES = {
    "grid": grid_search,
    "random": random_search,
    "Optuna": optuna_search,
    "paths": path_search,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=len(ORDERS) * len(MASKS) * N_ALPHAS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(*data, random_state=arguments.seed, stratify=data[1])
    folds = list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(X, y))
    print(f"{'search':>8} {'fits':>5} {'s':>6} {'log-lik.':>9} {'accuracy':>9} {'features':>9}  p")
    for name, search in SEARCHES.items():
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                # Candidates far from a good one may need more than max_iter epochs.
                warnings.simplefilter("ignore", ConvergenceWarning)
                best, score, n_fits = search(X, y, folds, arguments.trials, arguments.seed)
        except ModuleNotFoundError as missing:
            print(f"{name:>8}  not installed: {missing.name}")
            continue
        seconds = time.perf_counter() - started
        model = best[-1]
        print(
            f"{name:>8} {n_fits:>5} {seconds:>6.1f} {score:>9.4f} "
            f"{best.score(X_test, y_test):>9.3f} {int(model.mask_.sum()):>9}  "
            f"{getattr(model, 'p_', model.p):.2g}"
        )


if __name__ == "__main__":
    main()
