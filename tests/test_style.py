"""Style that no linter knows: docstrings and annotations of the public names, and house rules."""

from __future__ import annotations

import inspect
import tomllib
import typing
from pathlib import Path

import pytest
from numpydoc.validate import ERROR_MSGS, validate

import sklearn_sparselp

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "sklearn_sparselp"
LONGEST_FILE = 600


def _public_objects() -> dict[str, object]:
    names = [name for name in sklearn_sparselp.__all__ if not name.startswith("__")]
    return {name: getattr(sklearn_sparselp, name) for name in names}


def _own_members(cls: type) -> dict[str, object]:
    """Methods and properties that a class or a base class in this package defines."""
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(PACKAGE):
            continue
        for name, member in vars(base).items():
            inner = member.fget if isinstance(member, property) else member
            inner = getattr(inner, "__func__", inner)  # classmethod, staticmethod
            if inspect.isfunction(inspect.unwrap(inner)) and (
                name == "__init__" or not name.startswith("_")
            ):
                found[name] = inner
    return found


def _documented() -> list[str]:
    documented = []
    for name, thing in _public_objects().items():
        documented.append(f"{PACKAGE}.{name}")
        if inspect.isclass(thing):
            members = [member for member in _own_members(thing) if member != "__init__"]
            documented += [f"{PACKAGE}.{name}.{member}" for member in members]
    return documented


def _callables() -> list[tuple[str, object]]:
    callables = []
    for name, thing in _public_objects().items():
        if inspect.isclass(thing):
            callables += [(f"{name}.{key}", member) for key, member in _own_members(thing).items()]
        elif callable(thing):
            callables.append((name, thing))
    return callables


def _checks() -> set[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(pyproject["tool"]["numpydoc_validation"]["checks"])
    return set(ERROR_MSGS) - listed if "all" in listed else listed


@pytest.mark.parametrize("name", _documented())
def test_public_docstrings_pass_numpydoc_validation(name):
    errors = [f"{code}: {what}" for code, what in validate(name)["errors"] if code in _checks()]
    assert not errors, "\n".join([name, *errors])


@pytest.mark.parametrize("name", _public_objects())
def test_public_classes_and_functions_have_an_example(name):
    docstring = inspect.getdoc(_public_objects()[name])
    assert docstring is not None
    assert ">>> " in docstring


@pytest.mark.parametrize(("name", "function"), _callables())
def test_public_callables_are_completely_annotated(name, function):
    function = inspect.unwrap(function)
    signature = inspect.signature(function)
    parameters = [
        parameter for key, parameter in signature.parameters.items() if key not in ("self", "cls")
    ]
    bare = [p.name for p in parameters if p.annotation is inspect.Parameter.empty]
    assert not bare, f"{name}: no type for {', '.join(bare)}"
    if not name.endswith("__init__"):
        assert signature.return_annotation is not inspect.Signature.empty, f"{name}: no return type"
    typing.get_type_hints(function)  # and the names in them exist


def test_star_import_gives_exactly_the_public_names():
    namespace: dict[str, object] = {}
    exec(f"from {PACKAGE} import *", namespace)
    given = set(namespace) - {"__builtins__"}
    assert given == set(sklearn_sparselp.__all__)
    assert len(given) == len(sklearn_sparselp.__all__)


def _text_files() -> list[Path]:
    folders = ["sklearn_sparselp", "tests", "benchmarks", "examples", "tools", "doc"]
    suffixes = {".py", ".pyx", ".pxd", ".md", ".rst", ".build"}
    skip = {"_build", "generated", "__pycache__"}
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [
        path
        for path in [*ROOT.glob("*"), *inside]
        if path.suffix in suffixes and path.is_file() and not skip.intersection(path.parts)
    ]


def test_no_file_is_longer_than_the_house_allows():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in _text_files()}
    assert lengths
    too_long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > LONGEST_FILE}
    assert not too_long


def test_no_file_holds_a_left_over_note():
    # Split, so that this file does not find itself.
    notes = ["TO" + "DO", "FIX" + "ME", "XX" + "X:"]
    found = [
        f"{path.relative_to(ROOT)}: {note}"
        for path in _text_files()
        for note in notes
        if note in path.read_text(encoding="utf-8")
    ]
    assert not found
