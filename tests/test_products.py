"""Products of X with several vectors: those of one after the other, to the last bit."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_sparselp import _threads
from sklearn_sparselp._solvers import Design

LAYOUTS = {
    "fortran": np.asfortranarray,
    "c": np.ascontiguousarray,
    "csc": sparse.csc_array,
    "csr": sparse.csr_array,
}


def matrix(layout, shape, dtype, index=np.int32):
    rng = np.random.default_rng(shape[1])
    X = rng.standard_normal(shape)
    if layout in ("csc", "csr"):
        # Columns of every length, none at all among them.
        X *= rng.random(shape) < rng.random(shape[1])
        X[:, 1] = 0.0
    X = LAYOUTS[layout](X.astype(dtype))
    if sparse.issparse(X):
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 2), (7, 5), (37, 23), (130, 1100)])
def test_several_vectors_are_one_after_the_other(layout, shape, dtype, n_threads, monkeypatch):
    monkeypatch.setattr(_threads, "THREADED_FROM", 1)
    monkeypatch.setattr(_threads, "effective_n_threads", lambda: n_threads)
    X = matrix(layout, shape, dtype)
    dense = X.toarray() if sparse.issparse(X) else X
    design = Design(X)
    for n_vectors in (1, 2, 3, 4, 5, 9):
        rng = np.random.default_rng(n_vectors)
        backward = rng.standard_normal((n_vectors, shape[0]))
        forward = rng.standard_normal((n_vectors, shape[1]))
        forward[rng.random(forward.shape) < 0.3] = 0.0
        for product, vectors, expected in (
            (design.rmatvec, backward, backward @ dense.astype(np.float64)),
            (design.matvec, forward, forward @ dense.T.astype(np.float64)),
        ):
            found = product(vectors)
            alone = np.vstack([product(vector[np.newaxis]) for vector in vectors])
            np.testing.assert_array_equal(found, alone)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_long_indices():
    X = matrix("csc", (40, 30), np.float64, np.int64)
    vectors = np.random.default_rng(0).standard_normal((6, 40))
    expected = Design(matrix("csc", (40, 30), np.float64)).rmatvec(vectors)
    np.testing.assert_array_equal(Design(X).rmatvec(vectors), expected)


def test_empty_matrix_gives_zeros():
    X = sparse.csc_array((5, 4))
    assert not Design(X).rmatvec(np.ones((3, 5))).any()
    assert not Design(X).matvec(np.ones((3, 4))).any()
