"""Samples from files: svmlight, csv, parquet and npz."""

from __future__ import annotations

import bz2
import gzip
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.datasets import load_svmlight_file

from .errors import CommandError, listed
from .tables import UNREADABLE, CsvTable, ParquetTable, Table, column_of

KINDS = {
    "svmlight": r"\.(svm|svmlight|libsvm|txt)(\.gz|\.bz2)?",
    "csv": r"\.(csv|tsv)(\.gz)?",
    "parquet": r"\.(parquet|pq)",
    "npz": r"\.npz",
}
SPARSE_PARTS = ("data", "indices", "indptr", "shape")


@dataclass(frozen=True)
class Source:
    """A file of samples and what of it is meant.

    Attributes
    ----------
    path : Path
    target : str or None
        Name or position of the column of targets, or name of the array; None is the last
        column, or the array y.
    weight : str or None
        The same for sample weights; None is none.
    drop : tuple of str
        Columns that are no features.
    zero_based : bool
        Whether the first feature of an svmlight file is 0, not 1.
    """

    path: Path
    target: str | None = None
    weight: str | None = None
    drop: tuple[str, ...] = ()
    zero_based: bool = False


@dataclass(frozen=True)
class Samples:
    """Samples that were read.

    Attributes
    ----------
    path : Path
    kind : str
    X : ndarray or sparse of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), or None
        Numbers, booleans or texts.
    weight : ndarray of shape (n_samples,), or None
    names : list of str, or None
        Names of the features.
    target : str
        What y is called.
    """

    path: Path
    kind: str
    X: Any
    y: np.ndarray | None
    weight: np.ndarray | None = None
    names: list[str] | None = None
    target: str = "y"

    @property
    def n_stored(self) -> int:
        """Number of stored values of X."""
        return int(self.X.nnz if sparse.issparse(self.X) else self.X.size)


def kind_of(path: Path) -> str | None:
    """Return what kind of file a name stands for; None for no known kind."""
    for kind, pattern in KINDS.items():
        if re.search(rf"{pattern}$", path.name.lower()):
            return kind
    return None


def read_samples(source: Source) -> Samples:
    """Read features and targets.

    Raises
    ------
    CommandError
        With a line that says what cannot be used, and where.
    """
    return _guarded(source, lambda kind: _READERS[kind](source))


def read_features(
    source: Source, n_features: int, names: Sequence[str] | None, *, with_target: bool
) -> Samples:
    """Read features for a model, and targets if asked.

    Parameters
    ----------
    source : Source
    n_features : int
        Of the model.
    names : sequence of str, or None
        Of the model's features: columns are found by them, in any order and among others.
    with_target : bool
        Whether the targets are needed.
    """

    def read(kind: str) -> Samples:
        if kind in ("csv", "parquet"):
            return _features_of_table(source, kind, n_features, names, with_target)
        if kind == "svmlight":
            return _read_svmlight(source, n_features)
        samples = _read_npz(source, with_target)
        if samples.X.shape[1] != n_features:
            raise CommandError(
                f"{source.path}: has {samples.X.shape[1]} features, but the model {n_features}."
            )
        return samples

    return _guarded(source, read)


def _guarded(source: Source, read: Any) -> Samples:
    path = source.path
    kind = kind_of(path)
    if kind is None:
        raise CommandError(
            f"{path}: unknown kind of file; known are .svm, .svmlight, .libsvm, .txt (svmlight), "
            ".csv, .tsv, .parquet, .pq and .npz."
        )
    if kind not in ("csv", "parquet") and source.drop:
        raise CommandError(f"{path}: --drop is for columns of csv and parquet.")
    if kind == "svmlight" and (source.target or source.weight):
        raise CommandError(
            f"{path}: in svmlight the target is the first entry of a line, and there are no "
            "weights; --target and --weights are for other files."
        )
    if not path.exists():
        raise CommandError(f"{path}: no such file.")
    try:
        samples = read(kind)
    except UNREADABLE as error:
        raise CommandError(f"{path}: cannot be read: {error}.") from error
    _check_samples(samples)
    return samples


def _check_samples(samples: Samples) -> None:
    path, X, y = samples.path, samples.X, samples.y
    if X.shape[0] == 0:
        raise CommandError(f"{path}: holds no samples.")
    if X.shape[1] == 0:
        raise CommandError(f"{path}: holds no features.")
    values = X.data if sparse.issparse(X) else X
    if not np.isfinite(values).all():
        if sparse.issparse(X):
            entries = X.tocoo()
            k = int(np.flatnonzero(~np.isfinite(entries.data))[0])
            row, column = entries.row[k], entries.col[k]
        else:
            row, column = np.argwhere(~np.isfinite(X))[0]
        raise CommandError(f"{path}: feature {column} of sample {row} is not finite.")
    for what, vector in ((samples.target, y), ("the weight", samples.weight)):
        if vector is None:
            continue
        if vector.shape != (X.shape[0],):
            raise CommandError(
                f"{path}: {what} has shape {vector.shape}, but there are {X.shape[0]} samples."
            )
        if vector.dtype.kind == "f" and not np.isfinite(vector).all():
            row = int(np.flatnonzero(~np.isfinite(vector))[0])
            raise CommandError(f"{path}: {what} of sample {row} is not finite.")


def _open_table(source: Source, kind: str) -> Table:
    return CsvTable(source.path) if kind == "csv" else ParquetTable(source.path)


def _read_table(source: Source, kind: str) -> Samples:
    table = _open_table(source, kind)
    target = column_of(table, "-1" if source.target is None else source.target, "--target")
    others = [column_of(table, name, "--drop") for name in source.drop]
    weight = None if source.weight is None else column_of(table, source.weight, "--weights")
    if target == weight or target in others:
        raise CommandError(f"{source.path}: the target is also in --weights or --drop.")
    taken = {target, weight, *others}
    columns = [j for j in range(table.n_columns) if j not in taken]
    wanted = [target] if weight is None else [target, weight]
    X, values = table.read(columns, wanted)
    names = None if table.names is None else [table.names[j] for j in columns]
    return Samples(
        source.path, kind, X, values[0], _as_weight(source, values[1:]), names,
        str(target) if table.names is None else table.names[target],
    )  # fmt: skip


def _as_weight(source: Source, values: list[np.ndarray]) -> np.ndarray | None:
    if not values:
        return None
    if values[0].dtype.kind not in "fiub":
        raise CommandError(f"{source.path}: the weights {source.weight!r} are no numbers.")
    return np.asarray(values[0], dtype=np.float64)


def _features_of_table(
    source: Source, kind: str, n_features: int, names: Sequence[str] | None, with_target: bool
) -> Samples:
    table = _open_table(source, kind)
    target = None
    if source.target is not None or with_target:
        target = column_of(table, "-1" if source.target is None else source.target, "--target")
    if names is not None and table.names is not None:
        missing = [name for name in names if name not in table.names]
        if missing:
            raise CommandError(f"{source.path}: lacks the model's columns {listed(missing)}.")
        columns = [table.names.index(name) for name in names]
    else:
        dropped = {column_of(table, name, "--drop") for name in source.drop}
        if source.weight is not None:
            dropped.add(column_of(table, source.weight, "--weights"))
        columns = [j for j in range(table.n_columns) if j != target and j not in dropped]
        if len(columns) != n_features:
            hint = (
                "; --target and --drop say what is no feature" if len(columns) > n_features else ""
            )
            raise CommandError(
                f"{source.path}: has {len(columns)} columns of features, but the model has "
                f"{n_features}{hint}."
            )
    X, values = table.read(columns, [target] if with_target and target is not None else [])
    name = "y" if target is None else str(target if table.names is None else table.names[target])
    return Samples(source.path, kind, X, values[0] if values else None, target=name)


def _read_svmlight(source: Source, n_features: int | None = None) -> Samples:
    path = source.path
    try:
        X, y = load_svmlight_file(
            str(path), n_features=n_features, zero_based=source.zero_based, dtype=np.float64
        )
    except (ValueError, OverflowError) as error:
        _diagnose_svmlight(source, n_features)
        raise CommandError(f"{path}: {error}") from error
    return Samples(path, "svmlight", X, y)


def _diagnose_svmlight(source: Source, n_features: int | None) -> None:
    """Raise what is wrong with the first line that is."""
    first = 0 if source.zero_based else 1
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(source.path.suffix, open)
    with opener(source.path, "rt", encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.split("#", 1)[0].split()
            where = f"{source.path}, line {number}"
            if fields and not _is_finite_number(fields[0]):
                raise CommandError(f"{where}: the target {fields[0][:40]!r} is not a number.")
            last = first - 1
            for field in fields[1:]:
                if field.startswith("qid:"):
                    continue
                index, colon, value = field.partition(":")
                if not (colon and re.fullmatch(r"[+-]?\d+", index) and _is_finite_number(value)):
                    raise CommandError(f"{where}: {field[:40]!r} is not of the form index:number.")
                if int(index) < first:
                    raise CommandError(
                        f"{where}: feature {index}, but features count from {first}"
                        + ("; pass --zero-based if they count from 0." if first else ".")
                    )
                if int(index) <= last:
                    raise CommandError(f"{where}: feature {index} comes after feature {last}.")
                last = int(index)
                if n_features is not None and last >= n_features + first:
                    raise CommandError(
                        f"{where}: feature {index}, but the model has {n_features} features."
                    )


def _is_finite_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_npz(source: Source, with_target: bool = True) -> Samples:
    path = source.path
    try:
        # Opened here: np.load leaves the file of a broken archive open.
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                # NumPy would take it for a pickle and suggest to run what is in it.
                raise CommandError(
                    f"{path}: is no npz that can be read: no zip archive, or cut off."
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                held = {name: arrays[name] for name in arrays.files}
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CommandError(f"{path}: is no npz that can be read: {error}.") from error

    def vector(name: str, option: str) -> np.ndarray:
        if name not in held:
            raise CommandError(
                f"{path}: has no array {name!r} ({option}), only {listed(sorted(held))}."
            )
        array = held[name]
        array = array.ravel() if array.ndim == 2 and 1 in array.shape else array
        if array.dtype.kind in "SU":
            return array.astype(str)
        if array.dtype.kind not in "fiub":
            raise CommandError(f"{path}: {name!r} holds neither numbers nor texts.")
        return array if array.dtype.kind == "b" else array.astype(np.float64)

    X = _matrix_of(path, held)
    y = vector(source.target or "y", "--target") if with_target else None
    weight = None if source.weight is None else vector(source.weight, "--weights")
    names = held.get("feature_names")
    if names is not None and names.shape != (X.shape[1],):
        raise CommandError(
            f"{path}: feature_names has shape {names.shape}, but X has {X.shape[1]} features."
        )
    return Samples(
        path, "npz", X, y, _as_weight(source, [] if weight is None else [weight]),
        None if names is None else [str(name) for name in names], source.target or "y",
    )  # fmt: skip


def _matrix_of(path: Path, held: dict[str, np.ndarray]) -> Any:
    if "X" in held:
        X = held["X"]
        if X.ndim != 2 or X.dtype.kind not in "fiub":
            raise CommandError(
                f"{path}: X must be a matrix of numbers, but is of shape {X.shape} and {X.dtype}."
            )
        return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    missing = [name for name in SPARSE_PARTS if name not in held]
    if missing:
        raise CommandError(
            f"{path}: has neither X nor a sparse matrix ({listed(missing)} missing), only "
            f"{listed(sorted(held))}."
        )
    layout = str(held["format"].astype(str)) if "format" in held else "csr"
    if layout not in ("csr", "csc"):
        raise CommandError(f"{path}: holds a sparse matrix of format {layout!r}, not csr or csc.")
    make = sparse.csc_array if layout == "csc" else sparse.csr_array
    data = held["data"]
    try:
        matrix = make(
            (data if data.dtype in (np.float32, np.float64) else data.astype(np.float64),
             held["indices"], held["indptr"]),
            shape=tuple(int(size) for size in held["shape"]),
        )  # fmt: skip
        matrix.check_format()
    except (ValueError, TypeError, IndexError) as error:
        raise CommandError(f"{path}: holds a broken sparse matrix: {error}.") from error
    return matrix


_READERS = {
    "svmlight": _read_svmlight,
    "csv": lambda source: _read_table(source, "csv"),
    "parquet": lambda source: _read_table(source, "parquet"),
    "npz": _read_npz,
}
