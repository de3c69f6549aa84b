"""Wrong input is refused before any work: messages name parameter, value and what is allowed."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.utils import Tags
from sklearn.utils._param_validation import InvalidParameterError
from sklearn_sparselp._core._rows import inspect as look_through

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor
from sklearn_sparselp._validation import TargetDomain, check_target

X = np.random.default_rng(0).normal(size=(20, 4))
Y = X[:, 0]

PARAMETERS = [
    ({"p": -0.5}, r"'p'.*in the range \[0.*Got -0.5"),
    ({"p": np.nan}, r"'p'.*Got nan"),
    ({"p": np.inf}, r"'p'.*Got inf"),
    ({"p": "1"}, r"'p'.*Got '1'"),
    ({"alpha": -1}, r"'alpha'.*in the range \[0.*Got -1"),
    ({"alpha": np.inf}, r"'alpha'.*Got inf"),
    ({"sparsity_threshold": -1e-9}, r"'sparsity_threshold'.*Got -1e-09"),
    ({"l2_reg": -1}, r"'l2_reg'.*Got -1"),
    ({"epsilon": 0}, r"'epsilon'.*Got 0"),
    ({"loss": "absolute"}, r"'loss'.*Got 'absolute'"),
    ({"solver": "newton"}, r"'solver'.*'auto'.*Got 'newton'"),
    ({"max_iter": 0}, r"'max_iter'.*Got 0"),
    ({"max_iter": 1.5}, r"'max_iter'.*Got 1.5"),
    ({"tol": -1}, r"'tol'.*Got -1"),
    ({"positive": "yes"}, r"'positive'.*Got 'yes'"),
    ({"solver": "gd", "p": 1}, r"solver='gd' needs p > 1.*p=1\. Use solver='auto' or 'cd' or 'pg'"),
    ({"solver": "gd", "p": 0.5}, r"solver='gd' needs p > 1.*p=0\.5"),
    ({"penalty_factor": np.ones(3)}, r"penalty_factor has shape \(3,\).*4 features.*\(4,\)"),
    ({"penalty_factor": np.ones((4, 1))}, r"penalty_factor has shape \(4, 1\)"),
    ({"penalty_factor": [1, 1, -2, 1]}, r"penalty_factor\[2\] is -2.*>= 0"),
    ({"penalty_factor": [1, np.nan, 1, 1]}, r"penalty_factor\[1\] is nan.*>= 0"),
    ({"penalty_factor": ["a", "b", "c", "d"]}, r"penalty_factor must hold numbers"),
]


@pytest.mark.parametrize(("parameters", "message"), PARAMETERS, ids=lambda case: str(case)[:40])
def test_a_parameter_out_of_range_is_named_with_its_value(parameters, message):
    model = SparseLpRegressor(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "n_features_in_")


def with_value(value):
    wrong = X.copy()
    wrong[3, 1] = value
    return wrong


DATA = [
    (with_value(np.nan), Y, None, r"X contains NaN"),
    (with_value(np.inf), Y, None, r"X contains infinity"),
    (sparse.csr_array(with_value(np.nan)), Y, None, r"X contains NaN"),
    (X, np.where(np.arange(20) == 4, np.nan, Y), None, r"y contains NaN"),
    (X, Y[:-1], None, r"inconsistent numbers of samples: \[20, 19\]"),
    (X[:0], Y[:0], None, r"0 sample\(s\)"),
    (X[:, :0], Y, None, r"0 feature\(s\)"),
    (Y, Y, None, r"Expected 2D array, got 1D array"),
    (X, Y + 1j, None, r"Complex data not supported|complex"),
    (X, Y, np.zeros(20), r"all 20 of sample_weight are 0"),
    (X, Y, -np.ones(20), r"smallest is -1.*>= 0"),
    (X, Y, np.ones(19), r"sample_weight.shape == \(19,\), expected \(20,\)"),
    (X, Y, np.full(20, np.nan), r"sample_weight contains NaN"),
    (X, Y, np.ones((20, 1)), r"1D array or scalar, got 2D"),
]


@pytest.mark.parametrize(("data", "target", "weights", "message"), DATA, ids=[d[3] for d in DATA])
def test_data_that_cannot_be_fitted_are_refused(data, target, weights, message):
    model = SparseLpRegressor()
    with pytest.raises(ValueError, match=message):
        model.fit(data, target, sample_weight=weights)
    assert not hasattr(model, "coef_")


def test_sparse_targets_are_a_type_error():
    with pytest.raises(TypeError, match=r"y is a csr_array.*toarray"):
        SparseLpRegressor().fit(X, sparse.csr_array(Y[:, np.newaxis]))


def test_huber_takes_one_output():
    with pytest.raises(ValueError, match="1d array"):
        SparseLpRegressor(loss="huber").fit(X, np.column_stack([Y, Y]))


def broken(**arrays):
    matrix = sparse.csr_array(X)
    for name, value in arrays.items():
        setattr(matrix, name, value)
    matrix.has_canonical_format = True
    matrix.has_sorted_indices = True
    return matrix


STORED = sparse.csr_array(X)
BROKEN = [
    ({"indptr": STORED.indptr[::-1].copy()}, "broken CSR matrix: indptr"),
    ({"indptr": STORED.indptr + 4}, "broken CSR matrix: indptr"),
    (
        {"indices": np.where(STORED.indices == 3, 4, STORED.indices)},
        r"indices run from 0 to 4, but must lie between 0 and 3",
    ),
    ({"indices": STORED.indices - 1}, r"indices run from -1 to 2"),
]


@pytest.mark.parametrize(("arrays", "message"), BROKEN, ids=["falls", "beyond", "high", "low"])
def test_storage_that_points_outside_of_itself_never_reaches_a_kernel(arrays, message):
    with pytest.raises(ValueError, match=message):
        SparseLpRegressor().fit(broken(**arrays), Y)


def test_predict_needs_the_features_of_the_fit():
    model = SparseLpRegressor().fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features, but SparseLpRegressor is expecting 4"):
        model.predict(X[:, :3])


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [(TargetDomain(0.0), 0.0, -1e-300), (TargetDomain(0.0, closed=False), 1e-300, 0.0)],
)
def test_targets_outside_the_domain_of_a_loss_are_named(domain, inside, outside):
    check_target(np.array([1.0, inside]), "some", domain)
    with pytest.raises(
        ValueError, match=f"loss='some' needs y >=? 0, but the smallest y is {outside:g}"
    ):
        check_target(np.array([1.0, outside]), "some", domain)


def test_tags_of_an_invalid_loss_are_given_and_the_error_comes_from_fit():
    assert isinstance(SparseLpRegressor(loss="none").__sklearn_tags__(), Tags)


def test_parameters_that_were_valid_are_looked_at_again_once_they_change():
    model = SparseLpRegressor(alpha=0.5)
    for _ in range(2):
        model.fit(X, Y)
    for name, wrong in (("alpha", -0.5), ("alpha", "0.5"), ("max_iter", 1000.0), ("tol", np.nan)):
        valid = getattr(model, name)
        for _ in range(2):
            with pytest.raises(InvalidParameterError, match=f"'{name}'.*Got {wrong!r}"):
                model.set_params(**{name: wrong}).fit(X, Y)
        model.set_params(**{name: valid}).fit(X, Y)
    # An equal number of another type.
    model.set_params(max_iter=1).fit(X, 0.0 * Y)
    with pytest.raises(InvalidParameterError, match="'max_iter'"):
        model.set_params(max_iter=1.0).fit(X, Y)


def test_plain_arrays_take_the_same_course_as_those_that_need_conversion():
    model = SparseLpRegressor(alpha=1e-3)
    frame = pd.DataFrame(X, columns=list("abcd"))
    by_frame = model.fit(frame, Y.tolist()).coef_
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    # The same order in memory: products of rows and of columns round differently.
    plain = np.asarray(frame)
    np.testing.assert_array_equal(model.fit(plain, Y).coef_, by_frame)
    assert model.n_features_in_ == 4
    assert not hasattr(model, "feature_names_in_")


def test_finite_targets_whose_sum_overflows_are_not_taken_for_infinite():
    huge = np.where(np.arange(20) % 2 == 0, 1e308, 1e307)
    # Their squares overflow, which is another matter.
    with pytest.raises(ValueError, match="The loss of y overflows"), np.errstate(all="ignore"):
        SparseLpRegressor(alpha=1.0).fit(X, huge)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # scikit-learn sums them too
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_beside_ones_that_cancel(value):
    wrong = with_value(value)
    wrong[5, 2] = -value
    with pytest.raises(ValueError, match="X contains"):
        SparseLpRegressor().fit(wrong, Y)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(300, 5), (12, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "row of weight 0"])
@pytest.mark.parametrize(
    "estimator",
    [
        *(
            SparseLpRegressor(p, solver=solver)
            for p in (0.0, 0.5, 1.0, 2.0)
            for solver in ("cd", "pg")
        ),
        SparseLpRegressor(2.0, solver="gd", fit_intercept=False),
        SparseLpRegressor(1.0, fit_intercept=False),
        *(SparseLpRegressor(1.0, loss=loss) for loss in ("huber", "poisson", "gamma")),
        *(SparseLpClassifier(1.0, loss=loss) for loss in ("log_loss", "squared_hinge")),
    ],
    ids=repr,
)
def test_values_that_only_the_first_pass_of_a_fit_sees_are_errors(
    estimator, shape, order, value, weighted
):
    # Dense X is not looked through before the moments of its columns.
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        X = np.asarray(rng.normal(size=shape), dtype=dtype, order=order)
        X[7, 3] = value
        y = rng.integers(1, 4, size=shape[0])
        # Three classes, then two.
        y = (
            y
            if dtype == np.float64 or estimator.loss not in ("log_loss", "squared_hinge")
            else y > 1
        )
        weights = np.where(np.arange(shape[0]) == 7, 0.0, 1.0) if weighted else None
        kind = "NaN" if np.isnan(value) else "infinity"
        with pytest.raises(ValueError, match=f"^Input X contains {kind}"):
            estimator.fit(X, y, sample_weight=weights)
        assert not hasattr(estimator, "coef_")
        assert not hasattr(estimator, "n_features_in_")


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_indices_that_do_not_ascend_are_found_wherever_they_lie(index_dtype):
    n, first = 150_000, 65_536  # values that are looked at in one go
    data, ascending = np.ones(n), np.arange(n, dtype=index_dtype)

    def found(indices, *bounds):
        return look_through(data, indices, np.array(bounds, dtype=index_dtype), n, True)

    assert found(ascending, 0, n) == 0
    for place in (1, first - 1, first, first + 1, 2 * first, n - 1):
        broken = ascending.copy()
        broken[place] = broken[place - 1]
        assert found(broken, 0, n) == 2
        # Between two columns indices may fall.
        assert found(broken, 0, place, n) == 0
        assert found(broken, 0, 0, place, place, n, n) == 0
        assert found(ascending, 0, place, n) == 0
        # One fall that is allowed hides none that is not.
        if (half := place // 2) > 0:
            broken[half] = 0
            assert found(broken, 0, half, n) == 2
