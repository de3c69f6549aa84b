"""The command line: what it reads, fits, writes and says, and how it ends."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
import tomllib
from importlib.metadata import EntryPoint

import joblib
import numpy as np
import pandas
import pytest
from command_line import (
    CULTIVARS,
    DIABETES,
    LABELS,
    NAMES,
    ROOT,
    WINE,
    X,
    Y,
    call,
    fit_model,
    loaded,
    run,
    write,
    write_csv,
)

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpClassifierCV,
    SparseLpRegressor,
    SparseLpRegressorCV,
    alpha_max,
    sparse_lp_path,
)
from sklearn_sparselp._cli import main, terminal


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "train.csv")


@pytest.fixture
def model(tmp_path):
    return fit_model(tmp_path)


FILES = ["a.csv", "a.csv.gz", "a.tsv", "a.svm", "a.parquet", "a.npz", "sparse.npz"]


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_model(tmp_path, capsys, name):
    saved = tmp_path / "model.skops"
    data = write(tmp_path / name)
    assert call("fit", data, "--p", 0.5, "--alpha", 3, "--save", saved) == 0
    model = loaded(saved)
    expected = SparseLpRegressor(p=0.5, alpha=3.0).fit(X, Y)
    assert type(model) is SparseLpRegressor
    # svmlight has the digits that dump_svmlight_file gives it.
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6)
    named = "svm" not in name and name != "sparse.npz"
    assert list(getattr(model, "feature_names_in_", [])) == (NAMES if named else [])
    output = tmp_path / "predictions.csv"
    assert call("predict", saved, data, "--output", output) == 0
    head, *rows = output.read_text().splitlines()
    assert head == "prediction"
    np.testing.assert_allclose(np.array(rows, dtype=float), expected.predict(X), rtol=1e-6)
    assert capsys.readouterr().out.splitlines()[0] == "SparseLpRegressor, loss squared_error"


def test_float32_stays_float32(tmp_path):
    path, saved = tmp_path / "a.npz", tmp_path / "model.joblib"
    np.savez(path, X=X.astype(np.float32), y=Y)
    assert call("fit", path, "--alpha", 0.1, "--save", saved, "--quiet") == 0
    assert joblib.load(saved).coef_.dtype == np.float32


def test_names_find_columns_in_any_order_and_among_others(tmp_path, model):
    order = np.random.default_rng(0).permutation(10)
    other = np.column_stack([X[:, order], np.zeros(Y.size)])
    names = [*(NAMES[j] for j in order), "junk", "progression"]
    write_csv(tmp_path / "other.csv", other, Y, names)
    output = tmp_path / "p.csv"
    assert call("predict", model, tmp_path / "other.csv", "--output", output) == 0
    predictions = np.loadtxt(output, skiprows=1)
    np.testing.assert_allclose(predictions, SparseLpRegressor(alpha=0.1).fit(X, Y).predict(X))


@pytest.mark.parametrize("target", ["progression", "-1", "10"])
def test_target_is_a_name_or_a_position(tmp_path, data, target):
    report = tmp_path / "r.json"
    assert call("fit", data, "--target", target, "--alpha", 0.1, "--report", report) == 0
    assert json.loads(report.read_text())["target"] == "progression"


def test_a_file_without_names_counts_columns(tmp_path, capsys):
    shuffled = np.column_stack([Y, X])
    path = write_csv(tmp_path / "a.csv", shuffled[:, :-1], shuffled[:, -1], names=())
    saved = tmp_path / "m.skops"
    assert call("fit", path, "--target", 0, "--alpha", 0.1, "--save", saved) == 0
    expected = SparseLpRegressor(alpha=0.1).fit(X, Y)
    np.testing.assert_allclose(loaded(saved).coef_, expected.coef_)
    capsys.readouterr()
    assert call("predict", saved, path) == 1
    assert "has 11 columns of features, but the model has 10; --target" in capsys.readouterr().err
    assert call("predict", saved, path, "--target", 0, "--score") == 0
    captured = capsys.readouterr()
    np.testing.assert_allclose(np.array(captured.out.splitlines()[1:], float), expected.predict(X))
    assert f"r2 {expected.score(X, Y):.4g}" in captured.err


def test_weights_and_dropped_columns_are_no_features(tmp_path):
    weights = np.arange(Y.size) % 4 + 0.5
    wide = np.column_stack([X, weights, np.arange(Y.size)])
    path = write_csv(tmp_path / "a.csv", wide, Y, [*NAMES, "weight", "id", "target"])
    saved = tmp_path / "m.skops"
    options = ["--weights", "weight", "--drop", "id", "--alpha", 0.1, "--quiet"]
    assert call("fit", path, *options, "--save", saved) == 0
    expected = SparseLpRegressor(alpha=0.1).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(loaded(saved).coef_, expected.coef_)


def test_cross_validation_chooses_what_the_estimator_chooses(tmp_path, data, capsys):
    saved, report = tmp_path / "m.skops", tmp_path / "r.json"
    code = call(
        "fit", data, "--p", 0.5, 1, "--cv", 4, "--alphas", 20, "--selection", "one_se", "--jobs", 2,
        "--save", saved, "--report", report, "--plot", tmp_path / "p.png",
    )  # fmt: skip
    assert code == 0
    expected = SparseLpRegressorCV([0.5, 1.0], alphas=20, cv=4, selection_rule="one_se").fit(X, Y)
    model, said = loaded(saved), json.loads(report.read_text())
    # To rounding: the frame of a file and X may be stored in different orders.
    assert (model.p_, model.alpha_) == (expected.p_, pytest.approx(expected.alpha_, rel=1e-12))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.predict(DIABETES), expected.predict(X), rtol=1e-8)
    assert said["choice"]["alpha"] == model.alpha_
    assert said["choice"]["mean_score"] == pytest.approx(
        expected.cv_scores_[expected.best_index_].mean()
    )
    assert said["converged"] is True
    assert said["model"] == "SparseLpRegressorCV"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG\r\n")
    captured = capsys.readouterr()
    assert f"chosen: p = {expected.p_:g}, alpha = {expected.alpha_:.4g}" in captured.out
    assert "cross-validation" in captured.err


def test_information_criterion_and_relaxed_fit_are_passed_on(tmp_path, data):
    saved = tmp_path / "m.skops"
    options = ["--criterion", "bic", "--alphas", 15, "--refit", "relaxed", "--quiet"]
    code = call("fit", data, *options, "--save", saved, "--plot", tmp_path / "p.svg")
    assert code == 0
    expected = SparseLpRegressorCV(alphas=15, criterion="bic", refit="relaxed").fit(X, Y)
    np.testing.assert_allclose(loaded(saved).coef_, expected.coef_, rtol=1e-8)
    assert b"<svg" in (tmp_path / "p.svg").read_bytes()


def test_table_and_report_hold_the_features_that_are_kept(tmp_path, data, capsys):
    report = tmp_path / "r.json"
    options = ["--p", 0.5, "--alpha", 2, "--report", report, "--top", 3]
    assert call("fit", data, *options) == 0
    expected = SparseLpRegressor(p=0.5, alpha=2.0).fit(X, Y)
    effects = expected.coef_ * X.std(axis=0)
    order = [j for j in np.argsort(-np.abs(effects)) if effects[j] != 0.0]
    said = json.loads(report.read_text())
    assert [entry["feature"] for entry in said["selected"]] == [NAMES[j] for j in order]
    np.testing.assert_allclose(
        [entry["coefficient"] for entry in said["selected"]], expected.coef_[order]
    )
    np.testing.assert_allclose([entry["effect"] for entry in said["selected"]], effects[order])
    assert said["intercept"] == pytest.approx(expected.intercept_)
    assert said["dual_gap"] is None  # NaN is no JSON
    lines = capsys.readouterr().out.splitlines()
    assert f"kept {len(order)} of 10 features" in lines
    table = [line.split() for line in lines[lines.index("") + 3 :][:3]]
    assert [row[0] for row in table] == [NAMES[j] for j in order[:3]]
    assert [float(row[1]) for row in table] == pytest.approx(expected.coef_[order[:3]], rel=1e-3)
    assert f"3 of {len(order)} coefficients" in lines[-1]


def test_effects_of_sparse_columns_are_those_of_dense_ones(tmp_path):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(80, 6)) * (rng.random((80, 6)) < 0.4) + 1e3 * (np.arange(6) == 2)
    y = dense @ [1.0, -2.0, 0.5, 0.0, 1.0, 0.0] + rng.normal(size=80)
    found = []
    for name in ("dense.npz", "sparse.npz"):
        path = tmp_path / name
        if name == "dense.npz":
            np.savez(path, X=dense, y=y)
        else:
            write(path, dense, y)
        assert call("fit", path, "--alpha", 1e-3, "--report", tmp_path / "r.json", "--quiet") == 0
        rows = json.loads((tmp_path / "r.json").read_text())["selected"]
        found.append({row["position"]: row["effect"] for row in rows})
    assert found[0].keys() == found[1].keys()
    for j, effect in found[0].items():
        assert found[1][j] == pytest.approx(effect, rel=1e-6)


@pytest.mark.parametrize(
    ("y", "options", "kind", "classes"),
    [
        (LABELS, [], SparseLpClassifier, ["barbera", "barolo", "grignolino"]),
        (LABELS == "barolo", [], SparseLpClassifier, ["False", "True"]),
        (np.where(CULTIVARS == 1, 7, -7), [], SparseLpClassifier, [-7, 7]),
        (CULTIVARS, [], SparseLpRegressor, None),
        (CULTIVARS, ["--task", "classification"], SparseLpClassifier, [0, 1, 2]),
        (CULTIVARS, ["--loss", "squared_hinge"], SparseLpClassifier, [0, 1, 2]),
        (CULTIVARS == 1, ["--loss", "log_loss"], SparseLpClassifier, ["False", "True"]),
        (CULTIVARS * 1.5, ["--loss", "poisson"], SparseLpRegressor, None),
    ],
)
def test_targets_decide_the_task_unless_told_otherwise(tmp_path, y, options, kind, classes):
    names = [*(f"f{j}" for j in range(13)), "label"]
    path = write_csv(tmp_path / "a.csv", WINE, y, names)
    saved = tmp_path / "m.skops"
    assert call("fit", path, "--alpha", 0.01, "--save", saved, "--quiet", *options) == 0
    model = loaded(saved)
    assert type(model) is kind
    if classes is not None:
        assert model.classes_.tolist() == classes
        output = tmp_path / "p.csv"
        assert call("predict", saved, path, "--output", output, "--quiet") == 0
        expected = model.predict(pandas.DataFrame(WINE, columns=names[:-1]))
        assert output.read_text().splitlines()[1:] == [str(label) for label in expected]


def test_probabilities_have_a_column_for_each_class(tmp_path, capsys):
    path = write_csv(tmp_path / "a.csv", WINE, LABELS, [*(f"f{j}" for j in range(13)), "label"])
    saved, output = tmp_path / "m.skops", tmp_path / "p.csv"
    assert call("fit", path, "--cv", 3, "--alphas", 10, "--save", saved, "--quiet") == 0
    code = call("predict", saved, path, "--output", output, "--probabilities", "--score")
    assert code == 0
    expected = SparseLpClassifierCV(cv=3, alphas=10).fit(WINE, LABELS)
    with output.open(newline="") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["prediction", *(f"probability {label}" for label in expected.classes_)]
    np.testing.assert_array_equal([row[0] for row in rows], expected.predict(WINE))
    values = np.array([row[1:] for row in rows], dtype=float)
    np.testing.assert_allclose(values, expected.predict_proba(WINE), rtol=1e-9, atol=1e-300)
    assert f"accuracy {expected.score(WINE, LABELS):.4g}" in capsys.readouterr().err


def test_path_writes_all_coefficients(tmp_path, data, capsys):
    output, report = tmp_path / "c.csv", tmp_path / "r.json"
    options = ["--p", 0.5, "--alphas", 30, "--output", output, "--report", report]
    assert call("path", data, *options, "--plot", tmp_path / "p.pdf") == 0
    expected = sparse_lp_path(X, Y, p=0.5, alphas=30)
    coefs, intercepts = np.zeros((30, 10)), np.zeros(30)
    said = json.loads(report.read_text())["path"]
    np.testing.assert_allclose(said["alphas"], expected.alphas, rtol=1e-12)
    place = {alpha: k for k, alpha in enumerate(said["alphas"])}
    with output.open(newline="") as lines:
        for row in csv.DictReader(lines):
            k = place[float(row["alpha"])]
            if row["feature"] == "(intercept)":
                intercepts[k] = float(row["coefficient"])
            else:
                coefs[k, NAMES.index(row["feature"])] = float(row["coefficient"])
    np.testing.assert_allclose(coefs, expected.coefs, rtol=1e-6)
    np.testing.assert_allclose(intercepts, expected.intercepts, rtol=1e-8)
    assert said["df"] == expected.df.tolist()
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["alpha", "kept", "objective", "residual", "epochs"]
    assert int(lines[2].split()[1]) == expected.df[0]
    assert int(lines[-2].split()[1]) == expected.df[-1]


def test_path_of_classes_says_which(tmp_path):
    path = write_csv(tmp_path / "a.csv", WINE, LABELS, [*(f"f{j}" for j in range(13)), "label"])
    output = tmp_path / "c.csv"
    assert call("path", path, "--alphas", 5, "--output", output, "--quiet") == 0
    with output.open(newline="") as lines:
        assert {row["class"] for row in csv.DictReader(lines)} == set(LABELS)


def test_info_describes_models_and_samples(tmp_path, data, model, capsys):
    assert call("info", model) == 0
    said = capsys.readouterr().out
    assert "p = 1, alpha = 0.1" in said
    assert "bmi" in said
    assert call("info", data, "--report", "-") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n_samples"] == 442
    for p in (0.0, 0.5, 1.0):
        assert said["alpha_max"][f"{p:g}"] == pytest.approx(alpha_max(X, Y, p), rel=1e-12)


def test_strict_writes_nothing_without_convergence(tmp_path, data, capsys):
    report = tmp_path / "r.json"
    options = ["--alpha", 1e-3, "--max-iter", 1, "--tol", 1e-12, "--report", report]
    assert call("fit", data, *options, "--strict") == 3
    assert not report.exists()
    said = capsys.readouterr().err.splitlines()
    assert any("warning: " in line for line in said)
    assert "has not converged; nothing was written" in said[-1]
    assert call("fit", data, *options, "--quiet") == 0
    said = json.loads(report.read_text())
    assert said["converged"] is False
    assert len(said["warnings"]) == 1
    assert capsys.readouterr().err == ""


def test_files_get_the_mode_that_others_have(tmp_path, data):
    report = tmp_path / "r.json"
    arguments = ["fit", data, "--alpha", 0.1, "--report", report, "--quiet"]
    (tmp_path / "plain").touch()
    assert call(*arguments) == 0
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(report.stat().st_mode) == usual
    report.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(report)
    assert call(*arguments[:-2], link, "--quiet") == 0
    assert link.is_symlink()
    assert stat.S_IMODE(report.stat().st_mode) == 0o640


def test_a_failure_while_writing_leaves_existing_files(tmp_path, data, monkeypatch, capsys):
    saved, report = tmp_path / "m.skops", tmp_path / "r.json"
    saved.write_text("as it was")
    report.write_text("as it was")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sklearn_sparselp._cli.outputs._write", full)
    assert call("fit", data, "--alpha", 0.1, "--save", saved, "--report", report) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert saved.read_text() == report.read_text() == "as it was"
    assert len(list(tmp_path.iterdir())) == 3


def test_special_files_are_written_to_not_replaced(data):
    assert call("fit", data, "--alpha", 0.1, "--report", os.devnull, "--quiet") == 0
    assert not os.path.isfile(os.devnull)


def test_a_pipe_gets_plain_lines_and_clean_output(tmp_path, data):
    done = run("fit", data, "--cv", 3, "--alphas", 10, "--report", "-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["choice"]["p"] == 1.0
    assert "\r" not in done.stderr
    first, *rest = done.stderr.splitlines()
    assert "442 samples x 10 features; regression of 'progression'" in first
    assert rest[-1].startswith("cross-validation: ")


def test_a_terminal_gets_a_bar(tmp_path, data):
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    done = run_with_terminal(child, "path", data, "--alphas", 200, "--p", 0.5)
    os.close(child)
    shown = b""
    try:
        while block := os.read(parent, 65536):
            shown += block
    except OSError:
        pass  # the other end is closed
    os.close(parent)
    assert done == 0
    assert b"\rpath [" in shown
    assert b"200/200" in shown
    assert b"#" * 24 in shown


def run_with_terminal(terminal, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "sklearn_sparselp", *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=terminal, timeout=300, check=False,
    ).returncode  # fmt: skip


def test_interrupt_ends_in_a_line_with_130_and_leaves_files(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", X=rng.normal(size=(1500, 3000)), y=rng.normal(size=1500))
    report = tmp_path / "r.json"
    report.write_text("as it was")
    arguments = ["fit", tmp_path / "a.npz", "--p", "1", "0.5", "0", "--cv", "20", "--tol", "1e-9"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sklearn_sparselp", *map(str, arguments), "--report", str(report)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "1500 samples" in process.stderr.readline()
    time.sleep(1.0)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 20.0
    assert out == ""
    assert err.splitlines()[-1].endswith("interrupted.")
    assert "Traceback" not in err
    assert report.read_text() == "as it was"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_reader_that_stops_early_is_no_error(model, data):
    process = subprocess.Popen(
        [sys.executable, "-m", "sklearn_sparselp", "predict", str(model), str(data)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == b""


@pytest.mark.parametrize("command", [[], ["fit"], ["predict"], ["path"], ["info"]])
def test_help_has_examples_of_arguments_that_exist(command, capsys):
    assert call(*command, "--help") == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    known = {word for word in text.replace("[", " ").replace("]", " ").split() if "--" in word}
    for line in text.splitlines():
        if "sklearn-sparselp fit" in line and command == ["fit"]:
            assert {word for word in line.split() if word.startswith("--")} <= known
    assert max(map(len, text.splitlines())) <= 110


def test_the_program_is_a_module_and_a_script(tmp_path):
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("sklearn-sparselp 0.")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (script,) = pyproject["project"]["scripts"].items()
    assert script[0] == "sklearn-sparselp"
    assert EntryPoint(*script, group="console_scripts").load() is main
    assert run().returncode == 2


@pytest.mark.parametrize(
    ("options", "n_lines"),
    [
        (("--cv", 3, "--alphas", 10), 3 * 11 + 10),
        (("--cv", 3, "--alphas", 10, "--p", 0.5, 1), 2 * 3 * 11 + 10),
        (("--alphas", 10, "--criterion", "bic"), 10),
    ],
)
def test_a_search_moves_its_bar_with_each_fit(monkeypatch, data, options, n_lines):
    moves = []

    class Counted(terminal._Progress):
        def end(self):
            moves.append((self._n_done, self._n_steps))
            super().end()

    monkeypatch.setattr(terminal, "_Progress", Counted)
    assert call("fit", data, *options) == 0
    assert moves == [(n_lines, n_lines)]
