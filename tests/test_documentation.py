"""Every example that a user can read runs: docstrings, README and the other pages."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import sklearn_sparselp
from sklearn_sparselp._solvers import SOLVERS

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _modules() -> list[str]:
    walked = pkgutil.walk_packages(sklearn_sparselp.__path__, "sklearn_sparselp.")
    return ["sklearn_sparselp", *(found.name for found in walked)]


def _pages() -> list[str]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "doc").glob("*.md")]
    return [page.relative_to(ROOT).as_posix() for page in pages if page.name != "CHANGELOG.md"]


def _run(example: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append, clear_globs=False)
    assert not report, "".join(report)


def _examples_of(name: str) -> list[doctest.DocTest]:
    return [e for e in doctest.DocTestFinder().find(importlib.import_module(name)) if e.examples]


def test_every_module_of_the_package_is_found():
    assert {"sklearn_sparselp._core._penalty", "sklearn_sparselp._solvers.driver"} <= set(
        _modules()
    )


@pytest.mark.parametrize("name", _modules())
def test_examples_in_docstrings_run(name):
    for example in _examples_of(name):
        _run(example)


@pytest.fixture
def restored_registry():
    """Whatever a page adds to the solvers is gone afterwards."""
    solvers = dict(SOLVERS)
    yield
    SOLVERS.clear()
    SOLVERS.update(solvers)


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize("page", _pages())
def test_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for match in BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 1
        if ">>> " in match[1]:
            parser = doctest.DocTestParser()
            example = parser.get_doctest(match[1], namespace, page, page, line)
            _run(example)
            namespace.update(example.globs)
        else:
            exec(compile("\n" * line + match[1], page, "exec"), namespace)


def test_api_page_lists_every_public_name():
    lines = {line.strip() for line in (ROOT / "doc/api.md").read_text().splitlines()}
    public = {name for name in sklearn_sparselp.__all__ if not name.startswith("__")}
    assert public <= lines, f"doc/api.md lacks {sorted(public - lines)}"


def _layers() -> dict[str, str]:
    rows = (ROOT / "doc/developers.md").read_text(encoding="utf-8").splitlines()
    return {row.split("|")[1].strip(): row.split("|")[2] for row in rows if row.startswith("| ")}


def test_every_module_stands_in_one_layer():
    layers = "".join(_layers().values())
    named = re.findall(r"`(\w+)(?:\.py|/)`", layers)
    modules = {found.name for found in pkgutil.iter_modules(sklearn_sparselp.__path__)}
    assert sorted(named) == sorted(modules)


def test_picture_of_the_house_names_modules_of_its_layers():
    svg = (ROOT / "doc/images/house.svg").read_text(encoding="utf-8")
    texts = re.findall(r">([^<>\n]+)</text>", svg)
    drawn = dict(zip(texts[::3], texts[2::3], strict=True))
    layers = _layers()
    assert set(drawn) == set(layers) - {"layer"}
    for layer, names in drawn.items():
        folder, inside, modules = names.rpartition(": ")
        if inside:
            package = importlib.import_module(f"sklearn_sparselp.{folder.strip('/')}")
            assert set(modules.split()) <= {m.name for m in pkgutil.iter_modules(package.__path__)}
        else:
            assert all(f"`{name}" in layers[layer] for name in modules.split())


@pytest.mark.parametrize("script", sorted((ROOT / "doc").glob("*/plot_*.py")), ids=lambda s: s.name)
def test_studies_have_a_title_and_an_answer(script):
    """`make doc` runs them; here only what a build does not look at."""
    text = script.read_text(encoding="utf-8")
    compile(text, script.name, "exec")
    title, rule, answer = text.lstrip('"').strip().split('"""')[0].strip().split("\n", 2)
    assert len(rule) >= len(title)
    assert set(rule) == {"="}
    assert len(answer.split()) > 20
    assert "@" not in answer
