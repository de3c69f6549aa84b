"""Files and calls for the tests of the command line."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_diabetes, load_wine
from sklearn.preprocessing import scale

from sklearn_sparselp._cli import main

skops_io = pytest.importorskip("skops.io")

ROOT = Path(__file__).resolve().parent.parent
DIABETES, Y = load_diabetes(return_X_y=True, as_frame=True)
NAMES = list(DIABETES.columns)
X = DIABETES.to_numpy()
WINE, CULTIVARS = load_wine(return_X_y=True)
WINE = scale(WINE)
LABELS = np.array(["barolo", "grignolino", "barbera"])[CULTIVARS]


def run(*arguments, **options):
    """Run the program as a shell would."""
    return subprocess.run(
        [sys.executable, "-m", "sklearn_sparselp", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, **options,
    )  # fmt: skip


def call(*arguments):
    """Run the program in this process, which is faster."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def write_csv(path, X=X, y=Y, names=(*NAMES, "progression"), delimiter=","):
    lines = [delimiter.join(names)] if names else []
    for row, target in zip(np.asarray(X).tolist(), np.asarray(y).tolist(), strict=True):
        lines.append(delimiter.join(map(str, [*row, target])))
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write(path, X=X, y=Y):
    name = path.name
    if ".csv" in name or ".tsv" in name:
        return write_csv(path, X, y, delimiter="\t" if ".tsv" in name else ",")
    if ".svm" in name:
        dump_svmlight_file(X, y, str(path), zero_based=False)
    elif name.endswith(".parquet"):
        columns = dict(zip(NAMES, np.asarray(X).T, strict=True))
        polars.DataFrame(columns | {"progression": np.asarray(y)}).write_parquet(path)
    elif "sparse" in name:
        rows = sparse.csc_array(X)
        parts = {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr}
        np.savez(path, y=y, shape=rows.shape, format="csc", **parts)
    else:
        np.savez(path, X=X, y=y, feature_names=NAMES)
    return path


def fit_model(folder):
    """Return the path of a saved Lasso of the diabetes data."""
    path = folder / "model.skops"
    arguments = [write_csv(folder / "train.csv"), "--alpha", 0.1, "--save", path, "--quiet"]
    assert call("fit", *arguments, "--report", os.devnull, "--top", 0) == 0
    return path


def loaded(path):
    return skops_io.load(path, trusted=skops_io.get_untrusted_types(file=path))
