"""What the command line says of bad files and arguments: a line, and nothing is changed."""

import csv
import gzip

import numpy as np
import polars
import pytest
from command_line import (
    LABELS,
    NAMES,
    WINE,
    X,
    Y,
    call,
    fit_model,
    loaded,
    skops_io,
    write,
    write_csv,
)

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpRegressor,
)


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "train.csv")


@pytest.fixture
def model(tmp_path):
    return fit_model(tmp_path)


BAD = [
    ("missing.csv", None, "no such file"),
    ("a.xyz", b"1,2\n", "unknown kind of file"),
    ("a.csv", b"", "is empty"),
    ("a.csv", b"a,b,t\n", "has no rows"),
    ("a.csv", b"a,b,t\n1,2,3\n1,x,4\n", "line 3, column 'b': 'x' is not a number"),
    ("a.csv", b"a,b,t\n1,2,3\n1,,4\n", "line 3, column 'b': is empty"),
    ("a.csv", b"a,b,t\n1,2,3\n1,nan,4\n", "line 3, column 'b': is nan, which is not finite"),
    ("a.csv", b"a,b,t\n1,2,3\n4,5,6\n1,2", "line 4: 2 fields, but the first line has 3"),
    ("a.csv", b'a,b,t\n1,2,3\n"4\n",5,x\n', "line 4, column 't': 'x' is not a number, but others"),
    ("a.csv", b"a,b,t\n1,2,3\n1,2,\n", "line 3, column 't': is empty"),
    ("a.csv", b"a,b,t\n1,2,3\n2,3,3\n", "the target t is 3.0 in every sample"),
    ("a.csv", b"a,b,t\n1,2,p\n2,3,q\n5,1,r\n", "holds a different label in each of 3 samples"),
    ("a.csv", b"a,a,t\n1,2,3\n", "several columns are named 'a'"),
    ("a.csv", b"t\n1\n2\n", "holds no features"),
    ("a.csv", b"a,b,t\n\xff\xfe,1,2\n", "cannot be read"),
    ("a.csv.gz", b"a,b,t\n1,2,3\n", "cannot be read"),
    ("a.csv.gz", gzip.compress(b"a,b,t\n" + b"1,2,3\n4,5,6\n" * 9999)[:-30], "cannot be read"),
    ("a.svm", b"1 1:2 2:3\n2 1:x\n", "line 2: '1:x' is not of the form index:number"),
    ("a.svm", b"1 1:2 2:3\n2 1:\n", "line 2: '1:' is not of the form"),
    ("a.svm", b"1 1:2\n\n# no\nabc 1:2\n", "line 4: the target 'abc' is not a number"),
    ("a.svm", b"1 0:2 1:3\n2 1:1\n", "line 1: feature 0, but features count from 1; pass --zero"),
    ("a.svm", b"1 2:2 1:3\n2 1:1\n", "line 1: feature 1 comes after feature 2"),
    ("a.svm", b"1 2:2\n2 1:nan\n", "feature 0 of sample 1 is not finite"),
    ("a.svm", b"", "holds no samples"),
    ("a.npz", b"PK\x03\x04 broken", "is no npz that can be read"),
    ("a.npz", b"broken", "is no npz that can be read: no zip archive, or cut off."),
    ("a.parquet", b"PAR1 broken", "is no parquet file that can be read"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_files_are_explained_in_a_line_and_change_nothing(
    tmp_path, capsys, name, content, message
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    outputs = {"--save": "m.skops", "--plot": "p.png", "--report": "r.json"}
    arguments = []
    for option, output in outputs.items():
        (tmp_path / output).write_text("as it was")
        arguments += [option, tmp_path / output]
    assert call("fit", tmp_path / name, "--alpha", 0.1, *arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert name in captured.err
    for output in outputs.values():
        assert (tmp_path / output).read_text() == "as it was"
    expected = {*outputs.values(), *([name] if content is not None else [])}
    assert {path.name for path in tmp_path.iterdir()} == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "has no array 'y' (--target), only X"),
        ({"X": X, "y": Y[:5]}, "y has shape (5,), but there are 442 samples"),
        ({"X": X[:, 0], "y": Y}, "X must be a matrix of numbers"),
        ({"y": Y}, "has neither X nor a sparse matrix"),
        ({"X": np.where(X[7, 3] == X, np.inf, X), "y": Y}, "feature 3 of sample 7 is not finite"),
        ({"X": X, "y": Y, "feature_names": ["a"]}, "feature_names has shape (1,)"),
        (
            {"data": [1.0], "indices": [5], "indptr": [0, 1], "shape": [1, 2], "y": [1.0]},
            "holds a broken sparse matrix",
        ),
        ({"X": X, "y": np.array([None] * 442)}, "is no npz that can be read"),
    ],
)
def test_bad_npz_files_are_explained(tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    assert call("fit", tmp_path / "a.npz", "--alpha", 0.1) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a", "b", "c"], "column 'f': holds no numbers"),
        ([1.0, None, 2.0], "row 1, column 'f': is missing or not finite"),
    ],
)
def test_bad_columns_of_parquet_are_named(tmp_path, capsys, column, message):
    frame = polars.DataFrame({"f": column, "y": [1.0, 2.0, 4.0]})
    frame.write_parquet(tmp_path / "a.parquet")
    assert call("fit", tmp_path / "a.parquet", "--alpha", 0.1) == 1
    assert message in capsys.readouterr().err


def test_labels_of_parquet_may_be_texts(tmp_path):
    columns = {f"f{j}": WINE[:, j] for j in range(13)}
    frame = polars.DataFrame(columns | {"label": LABELS.tolist()})
    frame.write_parquet(tmp_path / "a.parquet")
    saved = tmp_path / "m.skops"
    options = ["--alpha", 0.01, "--save", saved, "--quiet"]
    assert call("fit", tmp_path / "a.parquet", *options) == 0
    expected = SparseLpClassifier(alpha=0.01).fit(WINE, LABELS)
    np.testing.assert_allclose(loaded(saved).coef_, expected.coef_, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--target", "price"], 1, "has no column 'price', only age, sex"),
        (["--target", "11"], 1, "has no column 11, but 11 columns"),
        (["--drop", "price"], 1, "has no column 'price'"),
        (["--drop", "progression"], 1, "the target is also in"),
        (["--loss", "gamma", "--target", "age"], 1, "loss='gamma' needs y > 0"),
        (["--solver", "gd"], 1, "solver='gd' needs p > 1"),
        (["--save", "m.bin"], 2, "a model is a .skops file, or a .joblib"),
        (["--plot", "p.bin"], 2, "unknown kind of picture"),
        (["--report", "none/r.json"], 1, "there is no folder"),
        (["--report", "."], 1, "is a folder"),
        (["--save", "train.skops", "--report", "train.skops"], 2, "is also --save"),
        (["--report", "train.csv"], 2, "is also the input"),
        (["--class-weight", "balanced"], 2, "--class-weight is for classification"),
        (["--task", "classification", "--loss", "huber"], 2, "huber is no loss of classification"),
        (["--p", "1", "2"], 2, "--alpha takes one --p"),
        (["--scoring", "r2"], 2, "--scoring needs a choice"),
        (["--p", "-1"], 2, "must be a number >= 0, got '-1'"),
        (["--alpha", "x"], 2, "must be a number >= 0, got 'x'"),
        (["--cv", "3"], 2, "not allowed with argument"),
        (["--colour"], 2, "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, monkeypatch, data, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert call("fit", "train.csv", "--alpha", 0.1, *arguments) == code
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_models_that_cannot_be_trusted_or_read_are_refused(tmp_path, data, capsys):
    cases = {
        "none.skops": (None, "no such file"),
        "text.skops": (b"hello", "is no model that can be read"),
        "text.joblib": (b"hello", "is no model that can be read"),
        "model.bin": (b"hello", "a model is a .skops file"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert call("predict", tmp_path / name, data) in (1, 2)
        assert message in capsys.readouterr().err
    skops_io.dump(csv.Sniffer(), tmp_path / "foreign.skops")
    assert call("info", tmp_path / "foreign.skops") == 1
    assert "holds csv.Sniffer, which no model here does: refused" in capsys.readouterr().err
    skops_io.dump(SparseLpRegressor(), tmp_path / "empty.skops")
    assert call("info", tmp_path / "empty.skops") == 1
    assert "not a fitted model" in capsys.readouterr().err


def test_predict_says_which_columns_are_missing(tmp_path, model, capsys):
    write_csv(tmp_path / "b.csv", X[:, 2:], Y, [*NAMES[2:], "progression"])
    assert call("predict", model, tmp_path / "b.csv") == 1
    assert "lacks the model's columns age, sex" in capsys.readouterr().err
    write(tmp_path / "b.svm", np.column_stack([X, X]), Y)
    assert call("predict", model, tmp_path / "b.svm") == 1
    assert "line 1: feature 11, but the model has 10 features" in capsys.readouterr().err


def test_texts_are_no_targets_of_a_regression(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("a,t\n1,low\n2,high\n3,low\n")
    assert call("fit", tmp_path / "a.csv", "--task", "regression", "--alpha", 0.1) == 1
    assert "holds texts such as 'low', regression needs numbers" in capsys.readouterr().err
