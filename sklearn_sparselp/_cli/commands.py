"""The commands: fit, predict, path, info."""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score

from .. import __version__, alpha_max, sparse_lp_path
from ..display import score_name
from ..path import SparseLpPath
from . import pictures
from .errors import NOT_CONVERGED, USAGE, CommandError
from .models import (
    CLASSIFICATION,
    as_labels,
    check_model_path,
    is_classifier,
    is_tuned,
    load_model,
    make_estimator,
    path_options,
    save_model,
    task_of,
)
from .outputs import STANDARD_OUTPUT, Outputs, as_json, table, write_text
from .reading import Samples, Source, kind_of, read_features, read_samples
from .selection import Selected, selected, selected_table
from .terminal import PROGRAM, Messages

# Lines of the table of a path.
PATH_LINES = 20


def fit(options: argparse.Namespace, messages: Messages) -> None:
    """Fit a model to a file, print what it keeps, and save it."""
    _check_choice(options)
    if options.save is not None:
        check_model_path(options.save)
    if options.plot is not None:
        pictures.check_picture(options.plot)
    with Outputs(
        {"--save": options.save, "--plot": options.plot, "--report": options.report},
        [options.data],
    ) as outputs:
        samples, y, task = _training(options)
        messages.say(_described(samples, task))
        searches = options.alpha is None
        # A line for each fit where there are many.
        model = make_estimator(options, task).set_params(verbose=2 if searches else 1)
        n_steps = _n_lines(options) if searches else None
        started = time.perf_counter()
        what = "cross-validation" if searches and options.criterion == "cv" else "fit"
        with messages.warned(), messages.progress(what, n_steps):
            model.fit(samples.X, y, sample_weight=samples.weight)
        seconds = time.perf_counter() - started
        model.set_params(verbose=0)
        scores = _scores(model, samples.X, y, samples.weight)
        if samples.names is not None:
            # As a frame would have set it.
            model.feature_names_in_ = np.array(samples.names, dtype=object)
        _check_converged(options, messages)
        if is_tuned(model) and 0 < model.best_index_[2] == model.alphas_.shape[2] - 1:
            messages.say(
                f"{PROGRAM}: note: the choice is the smallest alpha of the grid; a smaller --eps "
                "goes on below it."
            )
        kept = selected(model, samples.X)
        report = {
            **_report(options, samples, task),
            "seconds": seconds,
            "converged": messages.converged,
            "warnings": messages.warnings,
            **_model_report(model, kept),
            "training_score": scores,
        }
        if options.save is not None:
            outputs.stage(options.save, lambda place: save_model(model, place, options.save.suffix))
        if options.plot is not None:
            path = None
            if not is_tuned(model):
                with messages.warned(), messages.progress("path", 100):
                    path = sparse_lp_path(
                        samples.X, y, sample_weight=samples.weight, verbose=1,
                        **(path_options(options, task) | {"alphas": 100}),
                    )  # fmt: skip
            outputs.stage(
                options.plot,
                lambda place: pictures.draw_model(model, path, samples.names, place),
            )
        if options.report is not None:
            write_text(outputs, options.report, as_json(report))
        outputs.commit()
    if options.report != STANDARD_OUTPUT:
        print(_model_text(model, report), end="")
        print(selected_table(kept, options.top, n_features=samples.X.shape[1]), end="")


def predict(options: argparse.Namespace, messages: Messages) -> None:
    """Apply a saved model to a file."""
    if STANDARD_OUTPUT == options.output == options.report:
        raise CommandError("--output and --report cannot both be standard output.", USAGE)
    with Outputs(
        {"--output": options.output, "--report": options.report}, [options.model, options.data]
    ) as outputs:
        model = load_model(options.model)
        if options.probabilities and not hasattr(model, "predict_proba"):
            raise CommandError(f"{options.model}: this model has no probabilities.")
        names = getattr(model, "feature_names_in_", None)
        samples = read_features(
            _source(options), model.n_features_in_, names, with_target=options.score
        )
        with messages.warned():
            predictions = model.predict(samples.X)
            columns: list[Any] = [predictions.tolist()]
            head = ["prediction"]
            if options.probabilities:
                columns += model.predict_proba(samples.X).T.tolist()
                head += [f"probability {label}" for label in model.classes_]
            report: dict[str, Any] = {
                "command": "predict",
                "version": __version__,
                "model": options.model,
                "data": options.data,
                "n_samples": samples.X.shape[0],
            }
            if options.score:
                report["score"] = _scores(model, samples.X, _target_for(model, samples), None)
        write_text(outputs, options.output, _as_csv(head, zip(*columns, strict=True)))
        if options.report is not None:
            write_text(outputs, options.report, as_json(report))
        outputs.commit()
    if options.score:
        messages.say(f"{options.data}: {_scores_text(report['score'])}")


def _n_lines(options: argparse.Namespace) -> int:
    """Return how many lines a search prints, at most: fits that masks share are not made again."""
    n_paths = len(options.p) * len(options.sparsity_threshold)
    if options.criterion != "cv":
        return n_paths * options.alphas
    return options.cv * n_paths * (options.alphas + 1) + options.alphas


def path(options: argparse.Namespace, messages: Messages) -> None:
    """Fit a grid of alphas and print what each keeps."""
    if options.plot is not None:
        pictures.check_picture(options.plot)
    if STANDARD_OUTPUT == options.output == options.report:
        raise CommandError("--output and --report cannot both be standard output.", USAGE)
    with Outputs(
        {"--output": options.output, "--plot": options.plot, "--report": options.report},
        [options.data],
    ) as outputs:
        samples, y, task = _training(options)
        messages.say(_described(samples, task))
        if task == CLASSIFICATION and options.positive:
            raise CommandError("--positive is for regression.", USAGE)
        started = time.perf_counter()
        with messages.warned(), messages.progress("path", options.alphas):
            found = sparse_lp_path(
                samples.X, y, sample_weight=samples.weight, verbose=1, **path_options(options, task)
            )
        seconds = time.perf_counter() - started
        _check_converged(options, messages)
        columns = ("alphas", "df", "objectives", "dual_gaps", "fixed_point_residuals", "n_iters")
        if options.output is not None:
            write_text(
                outputs,
                options.output,
                _as_csv(
                    ["alpha", "class", "feature", "coefficient"], _coefficients(found, samples)
                ),
            )
        if options.plot is not None:
            outputs.stage(
                options.plot, lambda place: pictures.draw_path(found, samples.names, place)
            )
        if options.report is not None:
            report = {
                **_report(options, samples, task),
                "seconds": seconds,
                "converged": messages.converged,
                "warnings": messages.warnings,
                "p": found.p,
                "path": {name: getattr(found, name) for name in columns},
            }
            write_text(outputs, options.report, as_json(report))
        outputs.commit()
    if STANDARD_OUTPUT not in (options.report, options.output):
        print(_path_table(found), end="")


def info(options: argparse.Namespace, messages: Messages) -> None:
    """Describe a saved model or a file of samples."""
    with Outputs({"--report": options.report}, [options.file]) as outputs:
        if options.file.suffix in (".skops", ".joblib"):
            model = load_model(options.file)
            kept = selected(model)
            report = {
                "command": "info",
                "version": __version__,
                "file": options.file,
                **_model_report(model, kept),
            }
            text = _model_text(model, report)
            text += selected_table(kept, options.top, n_features=model.n_features_in_)
        else:
            report, text = _samples_info(options, messages)
        if options.report is not None:
            write_text(outputs, options.report, as_json(report))
        outputs.commit()
    if options.report != STANDARD_OUTPUT:
        print(text, end="")


COMMANDS: dict[str, Callable[[argparse.Namespace, Messages], None]] = {
    "fit": fit,
    "predict": predict,
    "path": path,
    "info": info,
}


def _source(options: argparse.Namespace) -> Source:
    data = options.file if options.command == "info" else options.data
    return Source(
        data, options.target, options.weights, tuple(options.drop), zero_based=options.zero_based
    )


def _check_choice(options: argparse.Namespace) -> None:
    if options.alpha is None:
        if options.criterion != "cv" and options.scoring is not None:
            raise CommandError("--scoring needs folds, not --criterion.", USAGE)
        return
    if len(options.p) > 1 or len(options.sparsity_threshold) > 1:
        raise CommandError("--alpha takes one --p and one --sparsity-threshold.", USAGE)
    for name in ("scoring", "n_jobs"):
        if getattr(options, name) is not None:
            raise CommandError(
                f"--{'jobs' if name == 'n_jobs' else name} needs a choice, not --alpha.", USAGE
            )
    if options.selection_rule != "best" or options.refit != "penalised":
        raise CommandError("--selection and --refit need a choice, not --alpha.", USAGE)


def _training(options: argparse.Namespace) -> tuple[Samples, np.ndarray, str]:
    samples = read_samples(_source(options))
    assert samples.y is not None
    task = task_of(samples.y, options, f"{samples.path}: the target {samples.target}")
    return samples, as_labels(samples.y) if task == CLASSIFICATION else samples.y, task


def _check_converged(options: argparse.Namespace, messages: Messages) -> None:
    if options.strict and not messages.converged:
        raise CommandError(
            "a fit has not converged; nothing was written. Increase --max-iter or --tol.",
            NOT_CONVERGED,
        )


def _described(samples: Samples, task: str) -> str:
    n_samples, n_features = samples.X.shape
    stored = f", {samples.n_stored} stored values" if sparse.issparse(samples.X) else ""
    assert samples.y is not None
    distinct = np.unique(samples.y).size
    values = f"{distinct} classes" if task == CLASSIFICATION else f"{distinct} different values"
    return (
        f"{samples.path}: {n_samples} samples x {n_features} features{stored}; {task} of "
        f"{samples.target!r}, {values}"
    )


def _report(options: argparse.Namespace, samples: Samples, task: str) -> dict[str, Any]:
    return {
        "command": options.command,
        "version": __version__,
        "data": samples.path,
        "n_samples": samples.X.shape[0],
        "n_features": samples.X.shape[1],
        "n_stored": samples.n_stored,
        "target": samples.target,
        "task": task,
    }


def _model_report(model: Any, kept: list[Selected]) -> dict[str, Any]:
    """Return parameters, choice, certificates and coefficients of a model."""
    report: dict[str, Any] = {
        "model": type(model).__name__,
        "parameters": {
            name: value
            for name, value in model.get_params(deep=False).items()
            if name not in ("verbose", "n_jobs", "store_cv_paths")
        },
    }
    if is_tuned(model):
        report["choice"] = {
            "p": model.p_,
            "alpha": model.alpha_,
            "sparsity_threshold": model.sparsity_threshold_,
        }
        if hasattr(model, "cv_scores_"):
            scores = model.cv_scores_[model.best_index_]
            report["choice"] |= {
                "mean_score": scores.mean(),
                "standard_error": scores.std(ddof=1) / np.sqrt(scores.size),
                "scores": scores,
            }
        else:
            report["choice"][model.criterion] = model.criterion_[model.best_index_]
    for name in ("objective", "dual_gap", "fixed_point_residual", "n_iter", "intercept"):
        if hasattr(model, f"{name}_"):
            report[name] = getattr(model, f"{name}_")
    if is_classifier(model):
        report["classes"] = model.classes_
    report["n_features"] = model.n_features_in_
    report["n_selected"] = len({row.column for row in kept})
    report["selected"] = [row.as_dict() for row in kept]
    return report


def _model_text(model: Any, report: dict[str, Any]) -> str:
    parameters = report["parameters"]
    lines = [f"{report['model']}, loss {parameters['loss']}"]
    choice = report.get("choice")
    if choice is None:
        lines.append(
            f"p = {parameters['p']:g}, alpha = {parameters['alpha']:g}"
            + _mask_text(parameters["sparsity_threshold"])
        )
    else:
        lines.append(
            f"chosen: p = {choice['p']:g}, alpha = {choice['alpha']:.4g}"
            + _mask_text(choice["sparsity_threshold"])
        )
        if "mean_score" in choice:
            lines.append(
                f"{score_name(model)} of {len(choice['scores'])} folds: "
                f"{choice['mean_score']:.4g} +- {choice['standard_error']:.2g} (one standard error)"
            )
        else:
            lines.append(f"{parameters['criterion']}: {choice[parameters['criterion']]:.6g}")
    gap = np.max(report.get("dual_gap", np.nan))
    if np.isfinite(gap):
        lines.append(f"duality gap: {gap:.1e}")
    elif "fixed_point_residual" in report:
        lines.append(f"fixed-point residual: {np.max(report['fixed_point_residual']):.1e}")
    if "training_score" in report:
        lines.append(f"on the training samples: {_scores_text(report['training_score'])}")
    intercept = ", ".join(f"{value:.6g}" for value in np.atleast_1d(report["intercept"]))
    lines.append(f"intercept: {intercept}")
    return "\n".join(lines) + "\n"


def _mask_text(threshold: float) -> str:
    return f", sparsity threshold {threshold:g}" if threshold else ""


def _target_for(model: Any, samples: Samples) -> np.ndarray:
    """Return the targets as the model predicts them."""
    y = samples.y
    assert y is not None
    if not is_classifier(model):
        if y.dtype.kind not in "fiub":
            raise CommandError(f"{samples.path}: the target {samples.target} holds texts.")
        return y
    y = as_labels(y)
    labels = np.unique(y)
    known = set(model.classes_.tolist())
    unknown = [label for label in labels.tolist() if label not in known]
    if unknown:
        raise CommandError(
            f"{samples.path}: the target {samples.target} holds {unknown[0]!r}, which is no class "
            "of the model."
        )
    return y


def _scores(model: Any, X: Any, y: np.ndarray, weight: np.ndarray | None) -> dict[str, float]:
    """Return how well a model predicts."""
    predictions = model.predict(X)
    if not is_classifier(model):
        return {
            "r2": float(r2_score(y, predictions, sample_weight=weight)),
            "mean_squared_error": float(mean_squared_error(y, predictions, sample_weight=weight)),
        }
    scores = {"accuracy": float(accuracy_score(y, predictions, sample_weight=weight))}
    if hasattr(model, "predict_proba"):
        scores["log_loss"] = float(
            log_loss(y, model.predict_proba(X), sample_weight=weight, labels=model.classes_)
        )
    return scores


def _scores_text(scores: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in scores.items())


def _as_csv(head: Sequence[str], rows: Any) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return sink.getvalue()


def _coefficients(found: SparseLpPath, samples: Samples) -> Iterator[tuple[Any, ...]]:
    """Yield all coefficients of a path that are not zero, and the intercepts."""
    several = isinstance(found.coefs, list)
    sets = found.coefs if several else [found.coefs]
    intercepts = np.asarray(found.intercepts).reshape(found.alphas.size, len(sets))
    labels: list[Any] = [""] if found.classes is None else [found.classes[-1]]
    if several:
        assert found.classes is not None
        labels = list(found.classes)
    rows = [sparse.csr_array(coefs) for coefs in sets]
    for k, alpha in enumerate(found.alphas.tolist()):
        for label, intercept, coefs in zip(labels, intercepts[k].tolist(), rows, strict=True):
            yield alpha, label, "(intercept)", intercept
            begin, end = coefs.indptr[k : k + 2]
            for j, value in zip(
                coefs.indices[begin:end], coefs.data[begin:end].tolist(), strict=True
            ):
                yield alpha, label, f"x{j}" if samples.names is None else samples.names[j], value


def _path_table(found: SparseLpPath) -> str:
    shown = np.unique(
        np.linspace(0, found.alphas.size - 1, min(PATH_LINES, found.alphas.size)).round()
    ).astype(int)
    convex = bool(np.isfinite(found.dual_gaps).all())
    certificate = found.dual_gaps if convex else found.fixed_point_residuals
    rows = [
        [
            f"{found.alphas[k]:.4g}",
            str(found.df[k]),
            f"{found.objectives[k]:.6g}",
            f"{certificate[k]:.1e}",
            str(found.n_iters[k]),
        ]
        for k in shown
    ]
    head = ["alpha", "kept", "objective", "gap" if convex else "residual", "epochs"]
    text = table(head, rows, left=0)
    if shown.size < found.alphas.size:
        text += f"{shown.size} of {found.alphas.size} alphas; --output and --report have all\n"
    return text


def _samples_info(options: argparse.Namespace, messages: Messages) -> tuple[dict[str, Any], str]:
    if kind_of(options.file) is None:
        raise CommandError(
            f"{options.file}: is neither a model (.skops, .joblib) nor a known kind of samples."
        )
    options.task, options.loss = "auto", None
    samples, y, task = _training(options)
    report = _report(options, samples, task)
    n_samples, n_features = samples.X.shape
    report["density"] = samples.n_stored / (n_samples * n_features)
    loss = "log_loss" if task == CLASSIFICATION else "squared_error"
    with messages.warned():
        report["alpha_max"] = {
            f"{p:g}": alpha_max(samples.X, y, p, loss=loss, sample_weight=samples.weight)
            for p in (0.0, 0.5, 1.0)
        }
    report["feature_names"] = samples.names
    lines = [_described(samples, task), f"stored: {report['density']:.3g} of all values"]
    if task == CLASSIFICATION:
        labels, counts = np.unique(y, return_counts=True)
        report["classes"] = dict(zip(map(str, labels.tolist()), counts.tolist(), strict=True))
        largest = sorted(report["classes"].items(), key=lambda item: -item[1])[:8]
        lines.append("classes: " + ", ".join(f"{label} ({count})" for label, count in largest))
    else:
        lines.append(f"target: {y.min():g} to {y.max():g}, mean {y.mean():g}")
    entries = ", ".join(f"{top:.4g} for p = {p}" for p, top in report["alpha_max"].items())
    lines.append(f"no feature enters above alpha = {entries}")
    return report, "\n".join(lines) + "\n"
