"""The demo on a user's file: three formats, its table and figure, and what it says of bad files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file

ROOT = Path(__file__).resolve().parent.parent
ROWS = ["p = 2, masked", "p = 1", "p = 2/3", "p = 1/2", "p = 0"]
LINE = re.compile(r"^(.{18})\s*(-?\d\.\d{3})\s+(\d+)\s+(\d+\.\d{3})\s+(\d+\.\d\d)  (\S+ \S+)")


def demo(folder, *arguments):
    command = [sys.executable, str(ROOT / "examples/demo.py"), *arguments]
    # The demo is two files: it finds the second one beside it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def few_of_many(two_valued):
    """Three features of thirty matter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 30)) * (rng.uniform(size=(160, 30)) < 0.6)
    y = X[:, :3] @ [3.0, -2.0, 2.0] + 0.3 * rng.normal(size=160)
    return X, np.where(y > 0, 7.0, 4.0) if two_valued else y


def write(path, X, y):
    if path.suffix == ".svm":
        dump_svmlight_file(X, y, str(path))
    elif path.suffix == ".npz":
        rows = sparse.csr_array(X)
        parts = {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr}
        np.savez(path, y=y, shape=rows.shape, **parts)
    else:
        names = ",".join(["wanted", *(f"x{j}" for j in range(X.shape[1]))])
        np.savetxt(path, np.column_stack([y, X]), delimiter=",", header=names, comments="")


@pytest.mark.parametrize(
    ("name", "arguments", "two_valued"),
    [
        ("data.svm", [], True),
        ("data.npz", [], False),
        ("data.csv", ["--target", "wanted"], False),
    ],
)
def test_a_users_file_gives_the_table_and_a_figure(tmp_path, name, arguments, two_valued):
    X, y = few_of_many(two_valued)
    write(tmp_path / name, X, y)
    done = demo(tmp_path, "--data", name, *arguments)
    assert done.returncode == 0, done.stderr
    assert "160 samples x 30 features" in done.stdout
    head = next(line for line in done.stdout.splitlines() if line.startswith("penalty"))
    measure = "accuracy" if two_valued else "R2"
    assert head.split()[:7] == ["penalty", measure, "kept", "fit", "s", "search", "s"]
    table = {}
    for line in done.stdout.splitlines():
        if found := LINE.match(line):
            table[found[1].strip()] = float(found[2]), int(found[3]), found[6]
    assert [row for row in table if not row.startswith("Lasso")] == ROWS
    assert any(row.startswith("Lasso") for row in table)
    for score, kept, certificate in table.values():
        assert score > 0.85
        assert 1 <= kept <= 30
        assert re.fullmatch(r"(gap|residual) \d\.?\d*e[-+]\d+", certificate), certificate
    assert 3 <= table["p = 0"][1] <= table["p = 1"][1]
    figures = list((tmp_path / "demo-output").glob("*.png"))
    assert len(figures) == 1
    assert figures[0].stat().st_size > 5_000
    assert figures[0].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_target_of_two_values_gets_a_table_of_logistic_regression(tmp_path):
    X, y = few_of_many(two_valued=True)
    write(tmp_path / "data.svm", X, y)
    done = demo(tmp_path, "--data", "data.svm")
    assert done.returncode == 0, done.stderr
    _, _, table = done.stdout.partition("logistic regression")
    lines = table.splitlines()[3:9]
    assert [line[:20].strip() for line in lines] == [*ROWS, "Logistic, our alpha"]
    for line in lines:
        accuracy, loss, kept = line[20:].split()[:3]
        assert float(accuracy) > 0.75
        assert 0.0 < float(loss) < 0.5
        assert 1 <= int(kept) <= 30
    for line in lines[:-1]:
        assert re.search(r"(gap|residual) \d\.?\d*e[-+]\d+", line)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "no such file"),
        ("a,b\n1,2\n" * 2, [], ""),
        ("a,b\n1,2\n3,4\n", [], "needs 20 rows"),
        ("a,b\n1,2\n3,4\n", ["--target", "c"], "has no column 'c', only a, b"),
        ("a,b\n" + "1,2\n" * 30, [], "the target is constant"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained_in_a_line(tmp_path, content, arguments, message):
    if content is not None:
        (tmp_path / "data.csv").write_text(content)
    done = demo(tmp_path, "--data", "data.csv", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
