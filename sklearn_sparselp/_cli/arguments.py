"""What the command line understands."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from .. import __version__
from .._solvers import SOLVERS
from .models import CLASSIFICATION, REGRESSION, losses
from .terminal import PROGRAM

DESCRIPTION = """\
Sparse linear models with the penalty alpha * sum |w|^p, fitted, inspected and applied from a shell.

  fit      fit a model to a file, by cross-validation or at a given alpha
  predict  apply a saved model to a file
  path     follow the coefficients over a grid of alphas
  info     describe a saved model, or a file of samples
"""

EXAMPLES = """\
examples:
  choose alpha by cross-validation, the sparsest model within one standard error of the best:
    {program} fit train.csv --target price --p 0.5 --cv 5 --selection one_se --save model.skops
  compare orders of the penalty, with a picture and a report for a script:
    {program} fit train.svm --p 1 0.5 0 --cv 5 --plot path.png --report report.json
  apply the model, and score it:
    {program} predict model.skops test.csv --output predictions.csv --score
  what is in a file:
    {program} info model.skops

exit codes:
  0  done
  1  a file, the data or the fit cannot be used; the last line on standard error says why
  2  the arguments make no sense
  3  with --strict: a fit ended before it was a solution, nothing was written
  130  interrupted

Output files appear complete or not at all: whatever goes wrong, files that exist stay as they were.
`{program} COMMAND --help` has the options of a command."""

FILES = """\
files of samples:
  .svm .svmlight .libsvm .txt   svmlight, also .gz, .bz2; features from 1, or --zero-based
  .csv .tsv                     also .gz; delimiter , ; or tab; names in the first line, or none
  .parquet .pq                  with polars or pandas
  .npz                          arrays X and y; or what scipy.sparse.save_npz writes, and y;
                                optionally feature_names
"""

FIT = """\
Fit a model to a file of samples, print the features that it keeps, and save it.

Targets that are texts, booleans or two different numbers are labels: logistic regression. Other
numbers are a regression. --task and --loss choose otherwise. Features should have comparable
scales: the penalty looks at coefficients. Without --alpha, cross-validation chooses it.
"""

FIT_EXAMPLES = """\
examples:
  {program} fit train.csv --target price --p 0.5 --cv 5 --save model.skops --plot path.png
  {program} fit claims.parquet --target n_claims --loss poisson --p 1 --alpha 0.001 --report -
  {program} fit news.svm.gz --task classification --p 1 0.5 --cv 5 --jobs 2 --selection one_se

"""


def _number(
    kind: Callable, allowed: Callable, what: str, *, finite: bool = True
) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not allowed(value) or (finite and not math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
        return value

    return parse


_at_least_zero = _number(float, lambda value: value >= 0, "a number >= 0")
_above_zero = _number(float, lambda value: value > 0, "a number > 0")
_share = _number(float, lambda value: 0 < value <= 1, "a number in (0, 1]")
_count = _number(int, lambda value: value >= 1, "an integer >= 1")
_folds = _number(int, lambda value: value >= 2, "an integer >= 2")
_top = _number(int, lambda value: value >= 0, "an integer >= 0")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EXAMPLES.format(program=PROGRAM),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, description: str, epilog: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog.format(program=PROGRAM),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    fit = command("fit", "fit a model to a file", FIT, FIT_EXAMPLES + FILES)
    fit.add_argument("data", type=Path, metavar="DATA", help="file of samples")
    _add_data(fit)
    _add_model(fit, several=True)
    _add_choice(fit)
    outputs = _add_outputs(fit)
    outputs.add_argument(
        "--save", type=Path, metavar="FILE",
        help="the model: .skops, or .joblib, which runs code when it is loaded",
    )  # fmt: skip
    outputs.add_argument(
        "--plot", type=Path, metavar="FILE", help="picture of the path, and of the scores"
    )
    _add_top(outputs)
    _add_strict(outputs)

    predict = command(
        "predict",
        "apply a saved model to a file",
        "Predict the samples of a file. Columns are found by the names of the model's features,\n"
        "in any order and among others; without names by position, less --target and --drop.",
        "examples:\n"
        "  {program} predict model.skops new.csv --output predictions.csv\n"
        "  {program} predict model.skops test.csv --target price --score > predictions.csv\n\n"
        + FILES,
    )
    predict.add_argument("model", type=Path, metavar="MODEL", help="file that fit has saved")
    predict.add_argument("data", type=Path, metavar="DATA", help="file of samples")
    _add_data(predict)
    outputs = _add_outputs(predict)
    outputs.add_argument(
        "--output", type=Path, metavar="FILE", default=Path("-"),
        help="csv of predictions; - is standard output (default)",
    )  # fmt: skip
    outputs.add_argument(
        "--probabilities",
        action="store_true",
        help="columns for the probabilities too",
    )
    outputs.add_argument(
        "--score", action="store_true", help="compare with the targets of the file"
    )

    path = command(
        "path",
        "follow the coefficients over a grid of alphas",
        "Fit a descending sequence of alphas, each from the one before, and print what each keeps.",
        "examples:\n"
        "  {program} path train.csv --target price --p 0.5 --plot path.png\n"
        "  {program} path train.svm --p 1 --alphas 50 --output coefficients.csv\n\n" + FILES,
    )
    path.add_argument("data", type=Path, metavar="DATA", help="file of samples")
    _add_data(path)
    _add_model(path, several=False)
    _add_grid(path.add_argument_group("grid"))
    outputs = _add_outputs(path)
    outputs.add_argument(
        "--output", type=Path, metavar="FILE",
        help="csv of all coefficients that are not zero: alpha, class, feature, coefficient",
    )  # fmt: skip
    outputs.add_argument("--plot", type=Path, metavar="FILE", help="picture of the path")
    _add_strict(outputs)

    info = command(
        "info",
        "describe a saved model, or a file of samples",
        "Describe a saved model (.skops, .joblib) or a file of samples: its size, its targets,\n"
        "and the alpha at which the first feature enters.",
        "examples:\n"
        "  {program} info model.skops --top 50\n"
        "  {program} info train.csv --target price\n\n" + FILES,
    )
    info.add_argument("file", type=Path, metavar="FILE", help="model or samples")
    _add_data(info)
    outputs = _add_outputs(info)
    _add_top(outputs)
    return main


def _add_data(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("what the file means")
    group.add_argument(
        "--target", metavar="COLUMN",
        help="name or position (from 0) of the targets, or name of the array in an npz; by default "
        "the last column, or the array y",
    )  # fmt: skip
    group.add_argument(
        "--weights", metavar="COLUMN", help="the same of sample weights; by default none"
    )
    group.add_argument(
        "--drop", metavar="COLUMN", action="append", default=[],
        help="a column that is no feature; may be repeated",
    )  # fmt: skip
    group.add_argument("--zero-based", action="store_true", help="svmlight features count from 0")


def _add_model(command: argparse.ArgumentParser, *, several: bool) -> None:
    group = command.add_argument_group("model")
    more = {"nargs": "+"} if several else {"nargs": 1}
    group.add_argument(
        "--p", type=_at_least_zero, default=[1.0], metavar="P", **more,
        help="order of the penalty, >= 0: 1 is the Lasso, below 1 keeps less and shrinks less "
        "(default 1)" + ("; several are compared" if several else ""),
    )  # fmt: skip
    group.add_argument(
        "--sparsity-threshold", type=_at_least_zero, default=[0.0], metavar="TAU", **more,
        help="coefficients up to TAU become 0 (default 0)"
        + ("; several are compared" if several else ""),
    )  # fmt: skip
    group.add_argument(
        "--task", choices=["auto", REGRESSION, CLASSIFICATION], default="auto",
        help="what the targets are; auto looks at them",
    )  # fmt: skip
    group.add_argument(
        "--loss", choices=losses(), metavar="LOSS",
        help=f"one of {', '.join(losses())} (default squared_error or log_loss)",
    )  # fmt: skip
    group.add_argument(
        "--epsilon", type=_above_zero, metavar="E", help="where huber's loss turns linear (1.35)"
    )
    group.add_argument(
        "--l2-reg", type=_at_least_zero, default=0.0, metavar="B", help="an additional ridge (0)"
    )
    group.add_argument("--positive", action="store_true", help="coefficients >= 0; regression")
    group.add_argument(
        "--no-intercept", dest="fit_intercept", action="store_false", help="no intercept"
    )
    group.add_argument(
        "--class-weight", choices=["balanced"], help="give all classes the same sum of weights"
    )
    group.add_argument(
        "--solver", choices=["auto", *SOLVERS], default="auto", help="(default auto)"
    )
    group.add_argument(
        "--max-iter", type=_count, default=1000, metavar="N", help="epochs of a fit, at most (1000)"
    )
    group.add_argument(
        "--tol", type=_at_least_zero, default=1e-4, metavar="T", help="of the stopping rule (1e-4)"
    )


def _add_choice(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("choice of alpha")
    how = group.add_mutually_exclusive_group()
    how.add_argument(
        "--alpha",
        type=_at_least_zero,
        metavar="A",
        help="strength of the penalty, instead of a choice",
    )
    how.add_argument(
        "--cv",
        type=_folds,
        metavar="K",
        default=5,
        help="folds of the cross-validation (default 5)",
    )
    how.add_argument(
        "--criterion", choices=["aic", "bic", "ebic"], default="cv",
        help="information criterion, instead of folds",
    )  # fmt: skip
    group.add_argument(
        "--selection", dest="selection_rule", choices=["best", "one_se"], default="best",
        help="the best mean score (default), or the sparsest model within one standard error of it",
    )  # fmt: skip
    group.add_argument(
        "--scoring", metavar="NAME", help="a score of scikit-learn, such as r2 or roc_auc"
    )
    group.add_argument(
        "--refit", choices=["penalised", "relaxed"], default="penalised",
        help="relaxed fits the features that were chosen once more without the penalty",
    )  # fmt: skip
    _add_grid(group)
    group.add_argument(
        "--jobs", dest="n_jobs", type=_count, metavar="N", help="threads for the folds (1)"
    )


def _add_grid(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--alphas", type=_count, default=100, metavar="N", help="length of the grid (100)"
    )
    group.add_argument(
        "--eps",
        type=_share,
        default=1e-3,
        metavar="E",
        help="its last alpha over its first (1e-3)",
    )


def _add_outputs(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = command.add_argument_group("output")
    group.add_argument(
        "--report", type=Path, metavar="FILE",
        help="all results as JSON; - is standard output, instead of the table",
    )  # fmt: skip
    group.add_argument(
        "--quiet", action="store_true", help="neither progress nor warnings on standard error"
    )
    return group


def _add_top(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--top", type=_top, default=20, metavar="N", help="features in the table (20); 0 for none"
    )


def _add_strict(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--strict", action="store_true",
        help="exit with 3 and write nothing when a fit has not converged",
    )  # fmt: skip
