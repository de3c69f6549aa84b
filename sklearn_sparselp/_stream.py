"""Blocks of samples from files that are larger than memory.

A block is read, learned from and forgotten: memory holds one of them, whatever the file's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Block = tuple[Any, np.ndarray, np.ndarray | None]


def blocks_of(
    path: Path,
    *,
    n_features: int | None,
    target: str | None,
    weight: str | None,
    zero_based: bool,
    block_size: int,
) -> Iterator[Block]:
    """Yield (X, y, weights) for the blocks of a file, in its order.

    Parameters
    ----------
    path : Path
        A parquet file where the name ends in ".parquet" or ".pq", else svmlight text.
    n_features : int or None
        Of an svmlight file, whose blocks do not tell.
    target, weight : str or None
        Columns of a parquet file; None is the last column, and no weights. The others are
        features.
    zero_based : bool
        Whether the first feature of an svmlight file is 0, not 1.
    block_size : int
        Bytes of an svmlight file, or of a parquet block in memory.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    if path.suffix in (".parquet", ".pq"):
        yield from _parquet_blocks(path, target, weight, block_size)
    else:
        yield from _svmlight_blocks(path, n_features, zero_based, block_size)


def _svmlight_blocks(
    path: Path, n_features: int | None, zero_based: bool, block_size: int
) -> Iterator[Block]:
    # On use: all of sklearn.datasets comes with it, half of what importing the package would cost.
    from sklearn.datasets import load_svmlight_file

    if n_features is None:
        raise ValueError(
            "an svmlight file needs n_features: no block of it tells how many there are."
        )
    size = path.stat().st_size
    # A length is a number of bytes: the lines that start within it.
    for offset in range(0, size, block_size):
        X, y = load_svmlight_file(
            path, n_features=n_features, zero_based=zero_based, offset=offset, length=block_size
        )
        if X.shape[0]:
            yield X, y, None


def _parquet_blocks(
    path: Path, target: str | None, weight: str | None, block_size: int
) -> Iterator[Block]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("parquet files need pyarrow: pip install pyarrow.") from error
    with parquet.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        target = names[-1] if target is None else target
        for name in (target, weight):
            if name is not None and name not in names:
                raise ValueError(f"{path.name} has no column {name!r}; it has {names}.")
        features = [name for name in names if name not in (target, weight)]
        n_rows = max(1, block_size // (8 * len(names)))
        for batch in file.iter_batches(n_rows):
            X = np.column_stack(
                [batch.column(name).to_numpy(zero_copy_only=False) for name in features]
            )
            y = batch.column(target).to_numpy(zero_copy_only=False)
            own = None if weight is None else batch.column(weight).to_numpy(zero_copy_only=False)
            yield X, y, own
