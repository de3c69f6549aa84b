"""What is installed: metadata, types, declarations that others can cimport, build options."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from compilation import INSTALLED, compile_extension, compiler

import sklearn_sparselp
from sklearn_sparselp._core import _matvec

ROOT = Path(__file__).resolve().parent.parent
# Set by `make test-checked`.
CHECKED = bool(os.environ.get("SPARSELP_CHECKED"))


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_version_is_stated_everywhere():
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    assert sklearn_sparselp.__version__ == version
    assert metadata.version("sklearn_sparselp") == version
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == version
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_type_information_is_shipped():
    assert (INSTALLED / "py.typed").is_file()


def test_runtime_needs_nothing_but_numpy_scipy_scikit_learn_and_what_it_brings():
    names = {re.match(r"[\w-]+", line)[0] for line in _pyproject()["project"]["dependencies"]}
    assert names == {"numpy", "scipy", "scikit-learn", "threadpoolctl"}


def _optional_packages_after(statement: str) -> set[str]:
    optional = ["matplotlib", "pandas", "polars", "numba", "celer", "skglm"]
    code = f"import sys; {statement}; print(*[m for m in {optional} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    return set(out.stdout.split())


def test_importing_the_package_imports_no_optional_package_that_scikit_learn_does_not():
    own = _optional_packages_after("from sklearn_sparselp import *")
    assert own <= _optional_packages_after("import sklearn.linear_model")


def _printed_by(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=True
    ).stdout.strip()


def test_the_package_alone_loads_nothing_and_a_name_what_it_needs():
    loaded = "[f'sklearn_sparselp.{m}' in sys.modules for m in ('_solvers', '_online')]"
    code = f"import sys, sklearn_sparselp as s; before = {loaded}; s.SparseLpRegressor"
    assert _printed_by(f"{code}; print(before, {loaded})") == "[False, False] [True, False]"


def test_all_names_can_be_had_at_once_and_are_listed():
    code = "from sklearn_sparselp import *; import sklearn_sparselp as s"
    code += "; print(sorted(set(s.__all__) - set(globals())), sorted(set(s.__all__) - set(dir(s))))"
    assert _printed_by(code) == "[] []"


def test_modules_of_the_package_are_its_attributes_without_an_import_of_their_own():
    code = "import sklearn_sparselp as s; print(s.path.alpha_max is s.alpha_max, s.online.__name__)"
    assert _printed_by(code) == "True sklearn_sparselp.online"


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'sklearn_sparselp' has no attribute 'SparseLp'"):
        sklearn_sparselp.SparseLp  # noqa: B018
    assert not hasattr(sklearn_sparselp, "SparseLp")


def test_type_checkers_see_the_names_where_they_are_loaded_from():
    tree = ast.parse(Path(sklearn_sparselp.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        name.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == sklearn_sparselp._HOMES
    assert {*seen, "__version__"} == set(sklearn_sparselp.__all__)
    for name, module in seen.items():
        assert getattr(sklearn_sparselp, name).__module__.startswith("sklearn_sparselp.")
        assert hasattr(getattr(sklearn_sparselp, module), name)


def test_another_package_can_cimport_the_scalar_prox(tmp_path):
    source = """
from sklearn_sparselp._core._prox cimport LpProx, lp_prox, lp_prox_init

def soft_threshold(double z, double scale):
    cdef LpProx rule
    lp_prox_init(&rule, 1.0)
    return lp_prox(&rule, z, scale)
"""
    module = compile_extension("borrower", source, tmp_path)
    assert module.soft_threshold(3.0, 1.0) == 2.0
    assert module.soft_threshold(-3.0, 1.0) == -2.0
    assert module.soft_threshold(0.5, 1.0) == 0.0


def _compiler_has_openmp(folder: Path) -> bool:
    probe = folder / "probe.c"
    probe.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
    command = [*compiler(), "-fopenmp", str(probe), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_kernels_use_openmp_where_the_compiler_has_it_and_the_build_wants_it(tmp_path):
    code = "from sklearn_sparselp._core._matvec import effective_n_threads as n; print(n())"
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True
    )
    threaded = not CHECKED and _compiler_has_openmp(tmp_path)
    assert int(out.stdout) == (3 if threaded else 1)


def test_importing_the_package_imports_nothing_that_few_need():
    few_need = ("sklearn.datasets", "matplotlib", "pyarrow", "skops", "sklearn_sparselp._cli")
    ours = "import sys; from sklearn_sparselp import *"
    code = f"{ours}; print([m for m in {few_need} if m in sys.modules])"
    # scikit-learn itself imports pandas and with it pyarrow where they are installed.
    without = (
        f"import sys, sklearn.linear_model; print([m for m in {few_need} if m in sys.modules])"
    )
    found, known = (
        subprocess.run([sys.executable, "-c", c], text=True, capture_output=True, check=True).stdout
        for c in (code, without)
    )
    assert found == known


def test_checked_kernels_refuse_an_index_that_is_out_of_range():
    # Column 7 of 2. Ordinary kernels check nothing, so there the same call stays in range.
    data, indptr = np.ones(2), np.array([0, 2], dtype=np.int32)
    columns = np.array([0, 7 if CHECKED else 1], dtype=np.int32)
    sums, squares, stored = np.empty(2), np.empty(2), np.empty(2)
    with pytest.raises(IndexError) if CHECKED else contextlib.nullcontext():
        _matvec.row_moments(data, columns, indptr, 2, np.ones(1), False, sums, squares, stored, 1)
        np.testing.assert_array_equal(sums, [1.0, 1.0])
