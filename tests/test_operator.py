"""The operator against Caffe2's published definition, brute force and its own equations."""

import doctest
import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.lib.stride_tricks import as_strided
from threadpoolctl import threadpool_limits

import sklearn_sparselp.operator
from sklearn_sparselp import SparseLpRegularizer

DTYPES = [np.float32, np.float64]
INDEX_DTYPES = [np.int32, np.int64]
ORDERS = [0.0, 0.5, 2.0 / 3.0, 1.0, 1.5, 2.0, 3.0]


def bits(array):
    """Bytes in C order, so that -0.0 differs from 0.0 and NaN equals itself."""
    return array.tobytes()


def caffe2_update(row, p, reg_lambda):
    """SparseLpRegularizer of Caffe2 on one row, every operation in the type of the row."""
    one, strength = row.dtype.type(1.0), row.dtype.type(reg_lambda)
    if p == 2:
        return row * (one - strength)
    return np.where(
        row > strength,
        row - strength,
        np.where(row < -strength, row + strength, row.dtype.type(0.0)),
    )


def masked(values, threshold):
    values = values.copy()
    values[np.abs(values) <= values.dtype.type(threshold)] = 0.0
    return values


def brute_force_prox(weight, strength, p):
    """Smallest minimiser of (t - w)^2 / 2 + strength |t|^p in 50 digits, by bisection."""
    with mpmath.workdps(50):
        z, scale, order = abs(mpmath.mpf(weight)), mpmath.mpf(strength), mpmath.mpf(p)

        def objective(t):
            return (t - z) ** 2 / 2 + (scale * t**order if t > 0 else 0)

        def slope(t):
            return t - z + scale * order * t ** (order - 1)

        candidates = [mpmath.mpf(0), z]
        # where the slope is lowest: beyond it the objective is convex
        low = (scale * order * (1 - order)) ** (1 / (2 - order)) if 0 < p < 1 else mpmath.mpf(0)
        if p > 0 and z > low and (p != 1 or z > scale) and (p >= 1 or slope(low) < 0):
            high = z
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if slope(middle) < 0 else (low, middle)
            candidates.append(low)
        best = min(candidates, key=lambda t: (objective(t), t))
        return math.copysign(float(best), weight)


@given(
    param=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=20),
        elements=st.floats(width=32, allow_nan=False),
    ),
    p=st.sampled_from([1, 2]),
    reg_lambda=st.floats(1e-6, 0.999),
    index_dtype=st.sampled_from(INDEX_DTYPES),
    data=st.data(),
)
@settings(deadline=None, max_examples=200)
def test_decay_has_the_bits_of_caffe2_in_float32(param, p, reg_lambda, index_dtype, data):
    n_rows = param.shape[0]
    indices = np.array(
        data.draw(st.lists(st.integers(0, n_rows - 1), unique=True)), dtype=index_dtype
    )
    expected = param.copy()
    for index in indices:
        expected[index] = caffe2_update(expected[index : index + 1], p, reg_lambda)[0]
    SparseLpRegularizer(p, reg_lambda, update="decay").apply(param, indices)
    assert bits(param) == bits(expected)


@pytest.mark.parametrize("reg_lambda", [1e-5, 1e-4, 1e-2, 0.1])
def test_decay_has_the_bits_of_the_definition_in_the_test_of_caffe2(reg_lambda):
    # p = 2: w (1 - lambda); p = 1: w - lambda sign(w), 0 where |w| <= lambda
    param = np.random.default_rng(0).normal(scale=0.2, size=(300, 7)).astype(np.float32)
    param += np.float32(0.02) * np.sign(param)
    strength = np.float32(reg_lambda)
    ridge = SparseLpRegularizer(2, reg_lambda, update="decay").apply(param.copy())
    assert bits(ridge) == bits(param * (np.float32(1) - strength))
    lasso = SparseLpRegularizer(1, reg_lambda, update="decay").apply(param.copy())
    definition = param - strength * np.sign(param)
    definition[np.abs(param) <= strength] = 0.0
    assert bits(lasso) == bits(definition)


def test_a_weight_of_exactly_the_strength_becomes_positive_zero():
    param = np.array([0.1, -0.1, -0.0, 0.2], dtype=np.float32)
    SparseLpRegularizer(1, 0.1, update="decay").apply(param)
    assert bits(param[:3]) == bits(np.zeros(3, dtype=np.float32))
    assert param[3] == np.float32(0.2) - np.float32(0.1)


@pytest.mark.parametrize("update", ["proximal", "decay"])
@pytest.mark.parametrize("p", [1, 2])
def test_nan_stays_nan(p, update):
    regularizer = SparseLpRegularizer(p, 0.1, 0.05, update=update)
    assert np.isnan(regularizer.apply(np.array([np.nan, 1.0]))).tolist() == [True, False]


@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_the_proximal_update_minimises_penalty_and_distance(p, dtype, threshold):
    rng = np.random.default_rng(1)
    weights = np.concatenate([rng.normal(size=20), [0.0, 1e-8, -40.0, 0.375]]).astype(dtype)
    alpha, step = 0.75, 0.5
    got = SparseLpRegularizer(p, alpha, threshold).apply(weights.copy(), step=step)
    expected = [brute_force_prox(float(weight), alpha * step, p) for weight in weights]
    expected = masked(np.array(expected, dtype=dtype), threshold)
    # one rounding in float32; in float64 the 4 ulp of the scalar map, conditioning included
    np.testing.assert_allclose(got, expected, rtol=1.2e-7 if dtype is np.float32 else 1e-14)


@pytest.mark.parametrize("p", ORDERS)
def test_a_weight_that_moves_lowers_the_objective_more_than_any_point_of_a_grid(p):
    strength = 0.4
    grid = np.linspace(-3.0, 3.0, 60_001)
    for weight in np.linspace(-2.5, 2.5, 41):
        got = SparseLpRegularizer(p, strength).apply(np.array([weight]))[0]
        objective = (grid - weight) ** 2 / 2 + strength * np.where(
            grid == 0.0, 0.0, np.abs(grid) ** p
        )
        value = (got - weight) ** 2 / 2 + (strength * abs(got) ** p if got != 0.0 else 0.0)
        assert value <= objective.min() + 1e-12


@pytest.mark.parametrize("update", ["proximal", "decay"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1, 2])
def test_the_mask_comes_after_the_update_and_is_strict(p, dtype, update):
    # 0.5 and the results at the threshold are exact in both types
    factor = 0.5
    alpha = {1: 0.25, 2: 0.5}[p]
    param = np.array([1.0, -1.0, 1.25, 0.75, 0.0], dtype=dtype)
    moved = {
        (1, "proximal"): param - alpha * np.sign(param),
        (1, "decay"): param - alpha * np.sign(param),
        (2, "proximal"): param * factor,
        (2, "decay"): param * factor,
    }[p, update]
    threshold = abs(float(moved[0]))
    regularizer = SparseLpRegularizer(p, alpha, threshold, update=update)
    regularizer.apply(param)
    np.testing.assert_array_equal(param, np.where(np.abs(moved) > threshold, moved, 0.0))
    assert param[0] == 0.0
    assert param[2] != 0.0
    np.testing.assert_array_equal(regularizer.mask(param), param != 0.0)


def test_a_threshold_that_float32_cannot_hold_masks_its_rounding():
    # 0.1 in float32 is above 0.1, yet a weight of 0.1 is at a threshold of 0.1
    param = np.array([0.1, 0.2], dtype=np.float32)
    regularizer = SparseLpRegularizer(2, 0.0, 0.1)
    assert regularizer.mask(param).tolist() == [False, True]
    assert regularizer.apply(param).tolist() == [0.0, float(np.float32(0.2))]


def views(draw_rows, n_columns, dtype):
    """Arrays of the same values in the layouts that can be updated, with their whole memory."""
    rng = np.random.default_rng(2)
    shape = (draw_rows, n_columns)
    whole = rng.normal(size=shape).astype(dtype)
    yield whole, whole
    wide = rng.normal(size=(draw_rows, n_columns + 3)).astype(dtype)
    yield wide, wide[:, 1 : n_columns + 1]
    tall = rng.normal(size=(2 * draw_rows, n_columns)).astype(dtype)
    yield tall, tall[::2]
    yield tall, tall[draw_rows:][::-1]
    yield wide, wide[:, 2]
    line = rng.normal(size=3 * draw_rows).astype(dtype)
    yield line, line[::3]
    yield line, line[:draw_rows]


@pytest.mark.parametrize("index_dtype", [*INDEX_DTYPES, None])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("update", "p"), [("proximal", 1), ("decay", 2), ("proximal", 0.5)])
@pytest.mark.parametrize("n_columns", [1, 5, 64, 200])
def test_only_the_named_rows_of_a_view_change(n_columns, update, p, dtype, index_dtype):
    n_rows = 37
    rng = np.random.default_rng(3)
    regularizer = SparseLpRegularizer(p, 0.2, 0.1, update=update)
    indices = None
    if index_dtype is not None:
        indices = rng.permutation(n_rows)[:20].astype(index_dtype)
    for memory, view in views(n_rows, n_columns, dtype):
        # the same rows as a fresh array, each weight by itself; then nothing else may differ
        chosen = np.arange(n_rows) if indices is None else indices
        rows = np.array(
            [[regularizer.apply(np.array([w]))[0] for w in np.atleast_1d(view[i])] for i in chosen],
            dtype=dtype,
        )
        expected = memory.copy()
        base = expected.ravel()
        offset = (
            view.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        ) // memory.itemsize
        stride = view.strides[0] // memory.itemsize
        for i, row in zip(chosen, rows, strict=True):
            base[offset + i * stride : offset + i * stride + row.size] = row
        returned = regularizer.apply(view, indices)
        assert returned is view
        assert bits(memory) == bits(expected)


@pytest.mark.parametrize("n_weights", [0, 1, 7, 255, 256, 257, 16384, 16385, 40000])
def test_runs_of_any_length_are_updated_to_their_end(n_weights):
    param = np.full(n_weights, 2.0, dtype=np.float32)
    regularizer = SparseLpRegularizer(1, 0.5, update="decay")
    assert np.all(regularizer.apply(param) == 1.5)
    assert np.all(regularizer.apply(param, np.arange(n_weights)[::-1].astype(np.int32)) == 1.0)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (0,), (0, 3), (4, 0)])
@pytest.mark.parametrize("empty", [[], np.empty(0, np.int32), np.empty(0, np.int64)])
def test_no_index_is_a_no_op(shape, empty):
    param = np.ones(shape)
    assert SparseLpRegularizer(1, 0.5).apply(param, empty) is param
    assert np.all(param == 1.0)


def test_no_strength_and_no_threshold_change_nothing():
    param = np.array([-0.0, 1.0, np.nan, -np.inf])
    before = bits(param)
    for p in ORDERS:
        SparseLpRegularizer(p, 0.0).apply(param)
        SparseLpRegularizer(p, 0.3).apply(param, step=0.0)
    assert bits(param) == before


def test_step_multiplies_alpha_but_not_the_threshold():
    param = np.linspace(-1.0, 1.0, 101)
    got = SparseLpRegularizer(0.5, 0.5, 0.4).apply(param.copy(), step=0.25)
    expected = SparseLpRegularizer(0.5, 0.125, 0.4).apply(param.copy())
    assert bits(got) == bits(expected)


def test_read_only_indices_are_welcome():
    indices = np.array([1])
    indices.flags.writeable = False
    assert SparseLpRegularizer(1, 0.5).apply(np.ones(2), indices).tolist() == [1.0, 0.5]


def test_indices_with_a_stride_are_welcome():
    indices = np.array([1, 9, 0, 9], dtype=np.int32)[::2]
    assert SparseLpRegularizer(1, 0.5).apply(np.ones(3), indices).tolist() == [0.5, 0.5, 1.0]


def read_only(param):
    param.flags.writeable = False
    return param


def c_rows():
    return np.arange(12.0).reshape(4, 3) + 1.0


SHARED = np.arange(8, dtype=np.int64)
BAD_CALLS = {
    "repeated": (c_rows, [0, 3, 1, 3, 0], {}, ValueError, r"indices\[3\] = 3 repeats indices\[1\]"),
    "repeated at once": (c_rows, [2, 2], {}, ValueError, r"indices\[1\] = 2 repeats indices\[0\]"),
    "too large": (c_rows, [0, 4], {}, IndexError, r"indices\[1\] = 4 is out of range.*4 rows"),
    "negative": (c_rows, [1, 2, -1], {}, IndexError, r"indices\[2\] = -1 is out of range"),
    "huge": (c_rows, [2**40], {}, IndexError, "out of range"),
    "lowest": (c_rows, [np.iinfo(np.int64).min], {}, IndexError, "out of range"),
    "lowest int32": (
        c_rows,
        np.array([np.iinfo(np.int32).min], np.int32),
        {},
        IndexError,
        "out of range",
    ),
    "no rows": (lambda: np.empty((0, 2)), [0], {}, IndexError, "0 rows"),
    "out of range and repeated": (c_rows, [1, 1, 7], {}, IndexError, r"indices\[2\] = 7"),
    "float indices": (c_rows, [0.0, 1.0], {}, TypeError, "indices must be int32 or int64"),
    "empty float indices": (c_rows, np.empty(0), {}, TypeError, "indices must be int32 or int64"),
    "uint64 indices": (c_rows, np.array([1], np.uint64), {}, TypeError, "uint64"),
    "bool indices": (c_rows, [True, False, True, False], {}, TypeError, "bool"),
    "2-D indices": (c_rows, [[0, 1]], {}, ValueError, "indices must have 1 dimension"),
    "scalar index": (c_rows, 1, {}, ValueError, "indices must have 1 dimension"),
    "read-only": (lambda: read_only(c_rows()), [0], {}, ValueError, "read-only"),
    "int": (lambda: np.ones(3, int), [0], {}, TypeError, "param must be float32 or float64"),
    "half": (lambda: np.ones(3, np.float16), [0], {}, TypeError, "float16"),
    "long double": (lambda: np.ones(3, np.longdouble), [0], {}, TypeError, "param must be"),
    "complex": (lambda: np.ones(3, complex), [0], {}, TypeError, "complex128"),
    "swapped bytes": (
        lambda: np.ones(3, np.dtype("f8").newbyteorder()),
        [0],
        {},
        TypeError,
        "byte order",
    ),
    "0-D": (lambda: np.array(1.0), None, {}, ValueError, "1 or 2 dimensions"),
    "3-D": (lambda: np.ones((2, 2, 2)), [0], {}, ValueError, "1 or 2 dimensions"),
    "list": (lambda: [1.0, 2.0], [0], {}, TypeError, "NumPy array"),
    "Fortran": (lambda: np.asfortranarray(c_rows()), [0], {}, ValueError, "C-ordered"),
    "every other column": (lambda: np.ones((4, 6))[:, ::2], [0], {}, ValueError, "C-ordered"),
    "overlapping rows": (
        lambda: as_strided(np.ones(6), (4, 3), (8, 8)),
        [0],
        {},
        ValueError,
        "apart",
    ),
    "one weight as many": (
        lambda: as_strided(np.ones(1), (4,), (0,)),
        None,
        {},
        ValueError,
        "apart",
    ),
    "unaligned": (
        lambda: np.zeros(33, np.uint8)[1:].view(np.float64),
        [0],
        {},
        ValueError,
        "aligned",
    ),
    "shared with the indices": (
        lambda: SHARED.view(np.float64),
        SHARED[:1],
        {},
        ValueError,
        "share memory",
    ),
    "negative step": (c_rows, None, {"step": -1.0}, ValueError, "step must be finite"),
    "NaN step": (c_rows, None, {"step": math.nan}, ValueError, "step must be finite"),
    "infinite step": (c_rows, None, {"step": math.inf}, ValueError, "step must be finite"),
    "string step": (c_rows, None, {"step": "1"}, TypeError, "step must be a real number"),
    "overflowing step": (
        c_rows,
        None,
        {"step": 1e308, "alpha": 1e10},
        ValueError,
        r"step \* alpha must be finite",
    ),
    "flipping decay": (
        c_rows,
        None,
        {"step": 3.0, "alpha": 0.5, "p": 2, "update": "decay"},
        ValueError,
        "must not be negative",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_an_error_leaves_param_untouched(case):
    make_param, indices, options, error, message = BAD_CALLS[case]
    param = make_param()
    before = bits(np.asarray(param))
    options = {"p": 1, "alpha": 0.5, **options}
    step = options.pop("step", 1.0)
    with pytest.raises(error, match=message):
        SparseLpRegularizer(**options).apply(param, indices, step=step)
    assert bits(np.asarray(param)) == before


def test_a_read_only_memory_map_is_read_but_not_updated(tmp_path):
    values = np.arange(1.0, 7.0, dtype=np.float32).reshape(3, 2)
    values.tofile(tmp_path / "param")
    regularizer = SparseLpRegularizer(1, 0.5)
    param = np.memmap(tmp_path / "param", dtype=np.float32, mode="r", shape=(3, 2))
    with pytest.raises(ValueError, match="read-only"):
        regularizer.apply(param, [0])
    assert regularizer.loss(param) == 10.5
    assert regularizer.mask(param).all()
    assert np.all(regularizer.gradient(param) == 0.5)
    assert bits(param) == bits(values)
    writable = np.memmap(tmp_path / "param", dtype=np.float32, mode="r+", shape=(3, 2))
    assert regularizer.apply(writable, [0]) is writable
    assert param[0].tolist() == [0.5, 1.5]


@given(
    indices=st.lists(st.integers(0, 30), max_size=30),
    index_dtype=st.sampled_from(INDEX_DTYPES),
    n_rows=st.sampled_from([31, 64, 100_000]),
)
@settings(deadline=None)
def test_the_first_repeat_is_named(indices, index_dtype, n_rows):
    # 31 rows: a bitmap; 100 000 rows: a hash table; both spread over all the rows
    spread = (n_rows - 1) // 30
    chosen = np.array(indices, dtype=index_dtype) * index_dtype(spread)
    repeats = [k for k, index in enumerate(indices) if index in indices[:k]]
    param = np.ones(n_rows)
    regularizer = SparseLpRegularizer(1, 0.25)
    if repeats:
        first = indices.index(indices[repeats[0]])
        text = rf"indices\[{repeats[0]}\] = {chosen[first]} repeats indices\[{first}\]:"
        with pytest.raises(ValueError, match=text):
            regularizer.apply(param, chosen)
        assert np.all(param == 1.0)
    else:
        regularizer.apply(param, chosen)
        assert np.flatnonzero(param != 1.0).tolist() == sorted(chosen.tolist())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"p": -1}, ValueError, "p must be finite and at least 0; got -1"),
        ({"p": math.nan}, ValueError, "p must be finite"),
        ({"p": math.inf}, ValueError, "p must be finite"),
        ({"p": "2"}, TypeError, "p must be a real number; got '2'"),
        ({"alpha": -0.1}, ValueError, "alpha must be finite"),
        ({"alpha": math.inf}, ValueError, "alpha must be finite"),
        ({"alpha": None}, TypeError, "alpha must be a real number"),
        ({"sparsity_threshold": -1e-3}, ValueError, "sparsity_threshold must be finite"),
        ({"sparsity_threshold": math.nan}, ValueError, "sparsity_threshold must be finite"),
        ({"update": "newton"}, ValueError, "update must be one of"),
        ({"p": 1.5, "update": "decay"}, ValueError, "p = 1 and p = 2 only; got p=1.5"),
        ({"p": 0, "update": "decay"}, ValueError, "p = 1 and p = 2 only"),
    ],
)
def test_bad_parameters_are_named_with_their_value(options, error, message):
    with pytest.raises(error, match=message):
        SparseLpRegularizer(**options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [*ORDERS, 0.9, 1.3, 4.0])
def test_the_loss_is_the_sum_of_powers(p, dtype):
    param = np.random.default_rng(4).normal(size=(61, 19)).astype(dtype)
    param[::5] = 0.0
    exact = 0.7 * math.fsum(abs(float(w)) ** p for w in param.ravel() if w != 0.0)
    regularizer = SparseLpRegularizer(p, 0.7, 0.5)
    for view in (param, np.asfortranarray(param), param[:, ::2], param[3:, 2:9], param[:, 4]):
        part = 0.7 * math.fsum(abs(float(w)) ** p for w in view.ravel() if w != 0.0)
        assert regularizer.loss(view) == pytest.approx(part, rel=1e-14)
    assert regularizer.loss(param) == pytest.approx(exact, rel=1e-14)


def test_the_loss_of_many_small_weights_beside_a_large_one_is_exact():
    param = np.full(300_000, 1e-10)
    param[0] = 1.0
    expected = math.fsum(param.tolist())
    assert SparseLpRegularizer(1, 1.0).loss(param) == pytest.approx(expected, rel=3e-16)


def test_the_loss_may_be_zero_infinite_or_nan_but_nothing_by_accident():
    assert SparseLpRegularizer(1, 1.0).loss(np.empty((0, 3))) == 0.0
    assert SparseLpRegularizer(2, 1.0).loss(np.array([1e200, 1.0, 1e200])) == math.inf
    assert SparseLpRegularizer(2, 1.0).loss(np.full(5000, 1e200)) == math.inf
    assert math.isnan(SparseLpRegularizer(2, 1.0).loss(np.array([1.0, np.nan])))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [*ORDERS, 0.9, 1.3, 4.0])
def test_the_gradient_is_the_complex_step_derivative_of_the_loss(p, dtype):
    param = np.random.default_rng(5).normal(size=(23, 6)).astype(dtype)
    param[3] = 0.0
    step = 1e-30

    def derivative(weights):
        # |w|^p = (w^2)^(p/2), which is analytic away from 0
        moved = weights.astype(np.float64) + 1j * step
        return np.where(weights == 0.0, 0.0, (0.7 * (moved * moved) ** (p / 2)).imag / step)

    regularizer = SparseLpRegularizer(p, 0.7)
    for view in (param, np.asfortranarray(param), param[::2, ::2], param[:, :4], param[:, 1]):
        got = regularizer.gradient(view)
        assert got.dtype == dtype
        assert got.shape == view.shape
        np.testing.assert_allclose(
            got, derivative(view), rtol=1e-6 if dtype is np.float32 else 1e-13
        )


def test_the_gradient_is_finite_for_weights_that_float32_can_barely_hold():
    # 1e-40 ** -0.5 overflows nothing in double precision
    got = SparseLpRegularizer(0.5, 1.0).gradient(np.array([1e-40, 0.0, -1e-40], np.float32))
    expected = 0.5 / math.sqrt(float(np.float32(1e-40)))
    np.testing.assert_allclose(got, [expected, 0.0, -expected], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mask_is_the_strict_comparison(dtype):
    param = np.array([[0.5, -0.5, 0.75], [0.25, -1.0, 0.0]], dtype=dtype)
    expected = [[False, False, True], [False, True, False]]
    regularizer = SparseLpRegularizer(2, 1e-5, 0.5)
    assert regularizer.mask(param).tolist() == expected
    assert regularizer.mask(param).dtype == np.bool_
    assert regularizer.mask(np.asfortranarray(param)).tolist() == expected
    assert SparseLpRegularizer(2, 1e-5, 1e300).mask(param).any() == np.False_


@pytest.mark.parametrize("method", ["loss", "mask", "gradient"])
@pytest.mark.parametrize(
    ("param", "error"),
    [([1.0], TypeError), (np.ones(2, int), TypeError), (np.ones((1, 1, 1)), ValueError)],
)
def test_the_pure_functions_check_their_array_too(method, param, error):
    with pytest.raises(error, match="param must"):
        getattr(SparseLpRegularizer(), method)(param)


@pytest.mark.parametrize("method", ["loss", "mask", "gradient"])
@pytest.mark.parametrize("p", ORDERS)
def test_the_pure_functions_change_nothing(method, p):
    param = np.random.default_rng(6).normal(size=(9, 5))
    before = bits(param)
    getattr(SparseLpRegularizer(p, 0.1, 0.2), method)(param)
    assert bits(param) == before


def test_a_regularizer_is_a_value():
    regularizer = SparseLpRegularizer(p=1, alpha=np.float64(0.5), sparsity_threshold=0.25)
    assert repr(regularizer) == (
        "SparseLpRegularizer(p=1.0, alpha=0.5, sparsity_threshold=0.25, update='proximal')"
    )
    assert pickle.loads(pickle.dumps(regularizer)) == regularizer
    assert eval(repr(regularizer)) == regularizer
    assert replace(regularizer, update="decay") != regularizer
    assert repr(SparseLpRegularizer()).startswith("SparseLpRegularizer(p=2.0, alpha=1e-05,")
    with pytest.raises(FrozenInstanceError):
        regularizer.alpha = -1.0
    with pytest.raises(ValueError, match="p = 1 and p = 2 only"):
        replace(regularizer, p=3, update="decay")


@pytest.mark.parametrize(("p", "n_rows"), [(1, 20_000), (2, 20_000), (0.5, 400)])
def test_the_number_of_threads_does_not_change_the_result(p, n_rows):
    rng = np.random.default_rng(7)
    param = rng.normal(size=(n_rows, 64)).astype(np.float32)
    regularizer = SparseLpRegularizer(p, 0.1, 0.05)
    for indices in (None, rng.permutation(n_rows)[: n_rows * 9 // 10]):
        results = []
        for n_threads in (1, 3):
            with threadpool_limits(n_threads, user_api="openmp"):
                results.append(bits(regularizer.apply(param.copy(), indices)))
        assert results[0] == results[1]


def test_threads_may_update_disjoint_rows_at_once():
    rng = np.random.default_rng(8)
    param = rng.normal(size=(4000, 16))
    regularizer = SparseLpRegularizer(0.5, 0.1)
    expected = regularizer.apply(param.copy())
    parts = np.array_split(rng.permutation(4000), 8)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: regularizer.apply(param, part), parts))
    assert bits(param) == bits(expected)


def test_apply_releases_the_interpreter():
    param = np.random.default_rng(9).normal(size=3_000_000)
    started, finished = threading.Event(), threading.Event()

    def work():
        started.set()
        SparseLpRegularizer(1.3, 0.1).apply(param)
        finished.set()

    with threadpool_limits(1, user_api="openmp"):
        worker = threading.Thread(target=work)
        worker.start()
        started.wait()
        turns = 0
        while not finished.is_set():
            turns += 1
        worker.join()
    # a held interpreter leaves the few turns before the update begins and after it ends
    assert turns > 20_000


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(sklearn_sparselp.operator).failed == 0
