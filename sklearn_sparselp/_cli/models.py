"""Estimators from arguments, and models in files."""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..classification import CLASSIFICATION_LOSSES, SparseLpClassifier
from ..model_selection import SparseLpClassifierCV, SparseLpRegressorCV
from ..regression import REGRESSION_LOSSES, SparseLpRegressor
from .errors import USAGE, CommandError, one_line

CLASSIFICATION, REGRESSION = "classification", "regression"
# What a model may hold beside what skops trusts by itself: data without code.
TRUSTED = re.compile(
    r"sklearn_sparselp\.\w+\.SparseLp\w+|scipy\.sparse\._cs[rc]\.cs[rc]_(array|matrix)"
)
# Arguments that are parameters of the estimators, by name.
SHARED = ("l2_reg", "fit_intercept", "solver", "max_iter", "tol")
TUNED = ("alphas", "eps", "cv", "scoring", "criterion", "selection_rule", "refit", "n_jobs")


def task_of(y: np.ndarray, options: argparse.Namespace, where: str) -> str:
    """Return the task of targets: that of the options, else what the targets look like.

    Texts, booleans and two different numbers are labels; other numbers are not.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
    options : namespace
        Its ``task`` and ``loss``.
    where : str
        File and name of the targets, for messages.
    """
    task = options.task
    if options.loss is not None:
        task = CLASSIFICATION if options.loss in CLASSIFICATION_LOSSES else REGRESSION
        if options.task not in ("auto", task):
            raise CommandError(f"--loss {options.loss} is no loss of {options.task}.", USAGE)
    numbers = y.dtype.kind in "fiu"
    if task == "auto":
        labels = not numbers or np.unique(y).size == 2
        task = CLASSIFICATION if labels else REGRESSION
    if task == REGRESSION and y.dtype.kind == "U":
        raise CommandError(f"{where} holds texts such as {str(y[0])!r}, regression needs numbers.")
    n_distinct = np.unique(y).size
    if n_distinct == 1:
        raise CommandError(f"{where} is {y[0]} in every sample: there is nothing to learn.")
    if task == CLASSIFICATION and n_distinct == y.size > 2:
        raise CommandError(f"{where} holds a different label in each of {y.size} samples.")
    return task


def as_labels(y: np.ndarray) -> np.ndarray:
    """Return labels, whole numbers as integers."""
    if y.dtype.kind == "f" and (y == np.floor(y)).all() and (np.abs(y) < 2**53).all():
        return y.astype(np.int64)
    return y


def make_estimator(options: argparse.Namespace, task: str) -> Any:
    """Return the estimator that the options ask for, not fitted."""
    parameters = {name: getattr(options, name) for name in SHARED}
    if options.loss is not None:
        parameters["loss"] = options.loss
    if task == CLASSIFICATION:
        for name in ("positive", "epsilon"):
            if getattr(options, name):
                raise CommandError(f"--{name} is for regression.", USAGE)
        parameters["class_weight"] = options.class_weight
    else:
        if options.class_weight:
            raise CommandError("--class-weight is for classification.", USAGE)
        parameters["positive"] = options.positive
        if options.epsilon:
            parameters["epsilon"] = options.epsilon
    if options.alpha is not None:
        single = SparseLpClassifier if task == CLASSIFICATION else SparseLpRegressor
        return single(
            p=options.p[0],
            alpha=options.alpha,
            sparsity_threshold=options.sparsity_threshold[0],
            **parameters,
        )
    tuned = SparseLpClassifierCV if task == CLASSIFICATION else SparseLpRegressorCV
    parameters |= {name: getattr(options, name) for name in TUNED}
    return tuned(
        p=options.p,
        sparsity_threshold=options.sparsity_threshold,
        store_cv_paths=False,
        **parameters,
    )


def path_options(options: argparse.Namespace, task: str) -> dict[str, Any]:
    """Return the arguments of `sparse_lp_path`."""
    default = "log_loss" if task == CLASSIFICATION else "squared_error"
    chosen: dict[str, Any] = {name: getattr(options, name) for name in SHARED}
    chosen |= {"p": options.p[0], "sparsity_threshold": options.sparsity_threshold[0]}
    chosen |= {"alphas": options.alphas, "eps": options.eps, "loss": options.loss or default}
    chosen |= {"positive": options.positive, "class_weight": options.class_weight}
    if options.epsilon:
        chosen["epsilon"] = options.epsilon
    return chosen


def losses() -> list[str]:
    """Return the names of all losses."""
    return [*REGRESSION_LOSSES, *CLASSIFICATION_LOSSES]


def check_model_path(path: Path) -> None:
    """Raise where a model cannot be saved or loaded under a name, before any work."""
    if path.suffix == ".skops":
        try:
            import skops.io  # noqa: F401
        except ImportError as error:
            raise CommandError(
                "models in .skops files need skops: pip install skops. Models in .joblib files do "
                "without, but to load such a file runs whatever code is in it."
            ) from error
    elif path.suffix != ".joblib":
        raise CommandError(
            f"{path}: a model is a .skops file, or a .joblib file, which runs code.",
            USAGE,
        )


def save_model(model: Any, path: Path, suffix: str) -> None:
    """Write a model.

    Parameters
    ----------
    model : estimator
    path : Path
    suffix : str
        ".skops" or ".joblib".
    """
    if suffix == ".skops":
        import skops.io

        skops.io.dump(model, path)
    else:
        import joblib

        joblib.dump(model, path)


def load_model(path: Path) -> Any:
    """Read a model that `save_model` has written.

    A .skops file is looked through first: it may hold estimators of this package, arrays and
    plain values, and nothing that runs.
    """
    check_model_path(path)
    if not path.is_file():
        raise CommandError(f"{path}: no such file.")
    try:
        if path.suffix == ".joblib":
            import joblib

            model = joblib.load(path)
        else:
            import skops.io

            types = skops.io.get_untrusted_types(file=path)
            foreign = [name for name in types if not TRUSTED.fullmatch(name)]
            if foreign:
                raise CommandError(
                    f"{path}: holds {foreign[0]}, which no model here does: refused."
                )
            model = skops.io.load(path, trusted=types)
    except CommandError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise CommandError(f"{path}: is no model that can be read: {error}.") from error
    except Exception as error:
        # A damaged pickle or schema fails in any way.
        what = one_line(error) or type(error).__name__
        raise CommandError(f"{path}: is no model that can be read: {what}") from error
    if not (type(model).__module__.startswith("sklearn_sparselp.") and hasattr(model, "coef_")):
        raise CommandError(f"{path}: holds a {type(model).__name__}, not a fitted model.")
    return model


def is_classifier(model: Any) -> bool:
    """Whether a fitted model predicts labels."""
    return hasattr(model, "classes_")


def is_tuned(model: Any) -> bool:
    """Whether a model has chosen its own alpha."""
    return hasattr(model, "path_")
