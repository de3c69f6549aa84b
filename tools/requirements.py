"""Print what pyproject.toml asks for, one requirement a line, so that no other file repeats it.

usage: requirements.py [--build] [--runtime] [--floor] [EXTRA ...]

--build    what the build itself needs
--runtime  what the package needs at run time
--floor    `>=` turned into `==`: the oldest versions promised
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def requirements(build: bool, runtime: bool, extras: list[str], floor: bool = False) -> list[str]:
    """Return the requirements, extras that name other extras of this package written out."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    found: list[str] = list(pyproject["build-system"]["requires"]) if build else []
    if runtime:
        found += project["dependencies"]
    own = re.compile(re.escape(project["name"]) + r"\[([^]]*)\]$")
    waiting = list(extras)
    seen: set[str] = set()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in project["optional-dependencies"][extra]:
            if inner := own.match(requirement):
                waiting += [name.strip() for name in inner[1].split(",")]
            else:
                found.append(requirement)
    if floor:
        found = [re.sub(r">=\s*([\d.]+)", r"==\1.*", requirement) for requirement in found]
    return sorted(set(found))


def main() -> int:
    """Print the requirements that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--runtime", action="store_true")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("extra", nargs="*")
    options = parser.parse_args()
    print(
        "\n".join(requirements(options.build, options.runtime, options.extra, options.floor)),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
