"""Compiles Cython code as another package would: outside this tree, against what is installed."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import sklearn_sparselp

INSTALLED = Path(sklearn_sparselp.__file__).parent


def compiler() -> list[str]:
    """The C compiler as a command."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))


def compile_extension(name: str, source: str, folder: Path) -> ModuleType:
    """Translate, compile and import a Cython module."""
    pyx = folder / f"{name}.pyx"
    pyx.write_text(source, encoding="utf-8")
    cython = [sys.executable, "-m", "cython", "-3", "-I", str(INSTALLED.parent), str(pyx)]
    subprocess.run(cython, check=True, cwd=folder)
    target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = ["-shared", "-fPIC", "-O1", "-w", f"-I{sysconfig.get_path('include')}"]
    if sys.platform == "darwin":
        flags += ["-undefined", "dynamic_lookup"]
    command = [*compiler(), *flags, str(folder / f"{name}.c"), "-o", str(target), "-lm"]
    subprocess.run(command, check=True, cwd=folder)
    spec = importlib.util.spec_from_file_location(name, target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
