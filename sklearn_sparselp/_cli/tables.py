"""Files of columns: csv, text of any delimiter, and parquet.

A value is float64 or, in parquet, whatever the column is; what is no finite number is found by line
and column.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .errors import CommandError, listed

# Rows that become numbers at a time.
BLOCK = 2048
DELIMITERS = (",", ";", "\t")


class Table(Protocol):
    """A file of columns.

    Attributes
    ----------
    path : Path
    names : list of str, or None
        Names of the columns, None where the file has none.
    n_columns : int
    """

    path: Path
    names: list[str] | None
    n_columns: int

    def read(self, numbers: Sequence[int], values: Sequence[int]) -> tuple[np.ndarray, list[Any]]:
        """Return columns of numbers as a matrix, and columns of numbers or labels one by one."""
        ...


class CsvTable:
    """Delimited text, a row for each sample, with or without names in its first line.

    Parameters
    ----------
    path : Path
        Plain, or compressed where it ends in ".gz".
    """

    def __init__(self, path: Path):
        self.path = path
        with self._open() as lines:
            first = lines.readline()
        if not first.strip():
            raise CommandError(f"{path}: is empty.")
        self._delimiter = max(DELIMITERS, key=first.count)
        fields = next(csv.reader([first], delimiter=self._delimiter))
        self.n_columns = len(fields)
        self.names = None if all(_is_number(field) for field in fields) else fields
        if self.names is not None:
            self.names = [name.strip() for name in fields]
            repeated = sorted({name for name in self.names if self.names.count(name) > 1})
            if repeated:
                raise CommandError(f"{path}: several columns are named {repeated[0]!r}.")

    def read(self, numbers: Sequence[int], values: Sequence[int]) -> tuple[np.ndarray, list[Any]]:
        """Return columns of numbers as a matrix, and columns of numbers or labels one by one.

        Parameters
        ----------
        numbers, values : sequence of int
            Positions of columns.

        Returns
        -------
        matrix : ndarray of shape (n_rows, n_numbers), dtype float64
        columns : list of ndarray of shape (n_rows,)
            float64, or str where no value is a number.
        """
        blocks, places = [], []
        texts: list[list[str]] = [[] for _ in values]
        for rows, lines in self._blocks():
            blocks.append(self._numbers(rows, lines, numbers))
            for text, column in zip(texts, values, strict=True):
                text += [row[column] for row in rows]
            places += lines
        if not blocks:
            raise CommandError(f"{self.path}: has no rows, only names.")
        columns = [
            self._values(text, column, places) for text, column in zip(texts, values, strict=True)
        ]
        return np.concatenate(blocks), columns

    def _open(self) -> Any:
        options: dict[str, Any] = {"encoding": "utf-8-sig", "newline": ""}
        if self.path.suffix == ".gz":
            return gzip.open(self.path, "rt", **options)
        return self.path.open(**options)

    def _blocks(self) -> Iterator[tuple[list[list[str]], list[int]]]:
        """Yield rows of fields, and the lines where they end."""
        with self._open() as lines:
            reader = csv.reader(lines, delimiter=self._delimiter)
            if self.names is not None:
                next(reader)
            rows: list[list[str]] = []
            places: list[int] = []
            try:
                for row in reader:
                    if not row:
                        continue
                    if len(row) != self.n_columns:
                        raise CommandError(
                            f"{self.path}, line {reader.line_num}: {len(row)} fields, but the "
                            f"first line has {self.n_columns}. Is the file cut off?"
                        )
                    rows.append(row)
                    places.append(reader.line_num)
                    if len(rows) == BLOCK:
                        yield rows, places
                        rows, places = [], []
            except csv.Error as error:
                raise CommandError(f"{self.path}, line {reader.line_num}: {error}.") from error
            if rows:
                yield rows, places

    def _numbers(
        self, rows: list[list[str]], lines: list[int], columns: Sequence[int]
    ) -> np.ndarray:
        if not columns:
            return np.empty((len(rows), 0))
        if list(columns) == list(range(self.n_columns)):
            wanted = rows
        else:
            pick = itemgetter(*columns)
            wanted = [[pick(row)] for row in rows] if len(columns) == 1 else list(map(pick, rows))
        try:
            flat = np.fromiter(
                map(float, chain.from_iterable(wanted)), np.float64, len(rows) * len(columns)
            )
            finite = bool(np.isfinite(flat).all())
        except ValueError:
            finite = False
        if finite:
            return flat.reshape(len(rows), len(columns))
        for row, line in zip(rows, lines, strict=True):
            for column in columns:
                self._check(row[column], column, line)
        raise AssertionError("some number was found to be wrong")

    def _check(self, text: str, column: int, line: int, remedy: str = "") -> None:
        if _is_number(text) and math.isfinite(float(text)):
            return
        if not text.strip():
            what = "is empty; values must not be missing"
        elif _is_number(text):
            what = f"is {text.strip()}, which is not finite"
        else:
            what = f"{text.strip()[:40]!r} is not a number{remedy}"
        raise CommandError(f"{self.path}, line {line}, column {self._name(column)}: {what}.")

    def _values(self, texts: list[str], column: int, lines: list[int]) -> np.ndarray:
        for text, line in zip(texts, lines, strict=True):
            if not text.strip():
                self._check(text, column, line)
        n_numbers = sum(map(_is_number, texts))
        if n_numbers == 0:
            return np.array([text.strip() for text in texts])
        for text, line in zip(texts, lines, strict=True):
            self._check(text, column, line, ", but others of this column are")
        return np.array(texts, dtype=np.float64)

    def _name(self, column: int) -> str:
        return str(column) if self.names is None else repr(self.names[column])


class ParquetTable:
    """A parquet file, read by polars or by pandas, whichever is there.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self._frame = _parquet_frame(path)
        self.names: list[str] | None = [str(name) for name in self._frame.columns]
        self.n_columns = len(self.names)
        if len(self._frame) == 0:
            raise CommandError(f"{path}: has no rows.")

    def read(self, numbers: Sequence[int], values: Sequence[int]) -> tuple[np.ndarray, list[Any]]:
        """Return columns of numbers as a matrix, and columns of numbers or labels one by one.

        Parameters
        ----------
        numbers, values : sequence of int
            Positions of columns.

        Returns
        -------
        matrix : ndarray of shape (n_rows, n_numbers)
            float32 where all columns are, else float64.
        columns : list of ndarray of shape (n_rows,)
            float64 or str.
        """
        found = [self._numbers(column) for column in numbers]
        single = bool(found) and all(values.dtype == np.float32 for values in found)
        matrix = np.empty((len(self._frame), len(found)), np.float32 if single else np.float64, "F")
        for place, column in enumerate(found):
            matrix[:, place] = column
        return matrix, [self._values(column) for column in values]

    def _column(self, column: int) -> np.ndarray:
        assert self.names is not None
        return np.asarray(self._frame[self._frame.columns[column]].to_numpy())

    def _numbers(self, column: int) -> np.ndarray:
        values = self._column(column)
        name = repr(self.names[column]) if self.names else ""
        if values.dtype.kind not in "fiub":
            missing = [row for row, value in enumerate(values) if value is None]
            if missing and all(isinstance(v, (int, float, bool)) for v in values if v is not None):
                raise CommandError(
                    f"{self.path}, row {missing[0]}, column {name}: is missing; values must not be."
                )
            raise CommandError(f"{self.path}, column {name}: holds no numbers.")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise CommandError(
                f"{self.path}, row {row}, column {name}: is missing or not finite ({values[row]})."
            )
        return values

    def _values(self, column: int) -> np.ndarray:
        values = self._column(column)
        if values.dtype.kind in "fiub":
            values = self._numbers(column)
            return values if values.dtype.kind == "b" else values.astype(np.float64)
        missing = [row for row, value in enumerate(values) if value is None or value != value]
        if missing:
            name = repr(self.names[column]) if self.names else ""
            raise CommandError(
                f"{self.path}, row {missing[0]}, column {name}: is missing; values must not be."
            )
        return np.array([str(value) for value in values])


def _parquet_frame(path: Path) -> Any:
    for reader in ("polars", "pandas"):
        try:
            module = __import__(reader)
        except ImportError:
            continue
        try:
            return module.read_parquet(path)
        except ImportError:
            # pandas leaves parquet to another package.
            continue
        except Exception as error:
            # Each reader has errors of its own for a file that it cannot read.
            raise CommandError(f"{path}: is no parquet file that can be read: {error}") from error
    raise CommandError(f"{path}: parquet needs polars, or pandas with pyarrow: pip install polars.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def column_of(table: Table, wanted: str, option: str) -> int:
    """Return the position of a column that is given by its name or its position.

    Parameters
    ----------
    table : Table
    wanted : str
        A name, else an integer; negative ones count from the end.
    option : str
        Where it was given, for the message.
    """
    if table.names is not None and wanted in table.names:
        return table.names.index(wanted)
    try:
        position = int(wanted)
    except ValueError:
        if table.names is None:
            raise CommandError(
                f"{table.path}: has no names of columns, so {option} must be a position, "
                f"got {wanted!r}."
            ) from None
        raise CommandError(
            f"{table.path}: has no column {wanted!r}, only {listed(table.names)}."
        ) from None
    if not -table.n_columns <= position < table.n_columns:
        raise CommandError(
            f"{table.path}: has no column {position}, but {table.n_columns} columns from 0 to "
            f"{table.n_columns - 1}."
        )
    return position % table.n_columns


# What reading a broken or missing file may raise.
UNREADABLE = (OSError, EOFError, UnicodeError, zlib.error)
