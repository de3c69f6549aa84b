"""Build an sdist, a wheel from that sdist, and say what is wrong with either.

usage: build_archives.py OUTDIR [-Csetup-args=...]

The tree is built as it stands, committed or not: it is copied, and the copy becomes a commit of
its own, which is what an sdist is made from. Wrong is a tracked file that the sdist lacks; a
module, a `.pxd` or a kernel that the wheel lacks; anything in the wheel but the package; a
`performance hint:` of Cython (it is how a missing `noexcept` shows).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "sklearn_sparselp"
INSTALLED = {".py", ".pxd", ".typed"}
HINT = "performance hint:"


def git(*arguments: str, cwd: Path) -> str:
    """Run git and return what it printed."""
    # Inside a hook git points at the repository of the hook: leave that behind.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    command = ["git", "-c", "core.quotePath=off", "-c", "core.hooksPath=/dev/null", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def source_files() -> list[str]:
    """Return the files of the tree: tracked, or new and not ignored."""
    try:
        listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        names = listed.split("\0")
    except subprocess.CalledProcessError:  # not a clone: an unpacked sdist
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
        skip = {".venv", "build", "dist", "__pycache__", "_build"}
        names = [name for name in names if not skip.intersection(PurePosixPath(name).parts)]
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def snapshot(names: list[str], target: Path) -> None:
    """Make ``target`` a repository with one commit that holds these files."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    identity = ["-c", "user.name=snapshot", "-c", "user.email=snapshot@localhost"]
    git("init", "--quiet", cwd=target)
    git("add", "--all", "--force", cwd=target)
    git(*identity, "-c", "commit.gpgSign=false", "commit", "--quiet", "-m", "Snapshot", cwd=target)


def build(tree: Path, out: Path, options: list[str]) -> str:
    """Run the ordinary isolated build, sdist, then wheel from it; return what it printed."""
    command = [sys.executable, "-m", "build", "--outdir", str(out), *options, str(tree)]
    lines = []
    with subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout:
            lines.append(line)
            # The rest is printed if the build fails.
            if line.startswith("* ") or HINT in line:
                print(line, end="", flush=True)
    log = "".join(lines)
    if process.returncode:
        sys.exit(f"{log}\nthe build failed")
    return log


def faults_of_sdist(sdist: Path, names: list[str]) -> list[str]:
    """Return which files of the tree it lacks."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    return [f"{sdist.name} lacks {name}" for name in names if name not in held]


def faults_of_wheel(wheel: Path, names: list[str]) -> list[str]:
    """Return what it lacks, and what it should not hold."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        entries = {name.split("/")[0] for name in held}
        metadata = next(name for name in held if name.endswith(".dist-info/METADATA"))
        described = archive.read(metadata).decode()
    faults = []
    info = metadata.split("/")[0]
    faults += [f"{wheel.name} puts {name} beside the package" for name in entries - {PACKAGE, info}]
    expected = {name for name in names if name.startswith(f"{PACKAGE}/")}
    for name in sorted(expected):
        path = PurePosixPath(name)
        if path.suffix in INSTALLED and name not in held:
            faults.append(f"{wheel.name} lacks {name}: add it to the meson.build of its folder")
        kernels = [other for other in held if other.startswith(f"{path.with_suffix('')}.")]
        if path.suffix == ".pyx" and not any(PurePosixPath(k).suffix == ".so" for k in kernels):
            faults.append(f"{wheel.name} lacks the compiled {name}")
    for name in sorted(held):
        if name.startswith(f"{PACKAGE}/") and name not in expected and not name.endswith(".so"):
            faults.append(f"{wheel.name} holds {name}, which is no source file")
        if "test" in name.lower():
            faults.append(f"{wheel.name} holds {name}: tests stay out")
    if not any(name.startswith(f"{info}/") and name.endswith("LICENSE") for name in held):
        faults.append(f"{wheel.name} lacks the licence")
    faults += [
        f"{wheel.name} does not state {field}"
        for field in ("Version: ", "License-Expression: ", "Requires-Python: ", "Requires-Dist: ")
        if f"\n{field}" not in described
    ]
    return faults


def faults_of_log(log: str, names: list[str]) -> list[str]:
    """Return Cython's hints, and the kernels that it was not seen to translate."""
    faults = [line.strip() for line in log.splitlines() if HINT in line]
    # A log that does not show each kernel translated proves nothing about hints.
    faults += [
        f"the build did not translate {name}"
        for name in names
        if name.endswith(".pyx") and f"{PurePosixPath(name).name}.c" not in log
    ]
    return faults


def main(out: str, *options: str) -> int:
    """Build into ``out``, print the faults, return the exit status."""
    target = Path(out).resolve()
    target.mkdir(parents=True, exist_ok=True)
    for old in [*target.glob("*.whl"), *target.glob("*.tar.gz")]:
        old.unlink()
    names = source_files()
    if shutil.which("git") is None:
        print("git not found: no sdist without it; the wheel is built from the tree")
        log, faults = build(ROOT, target, ["--wheel", *options]), []
    else:
        with tempfile.TemporaryDirectory() as tree:
            snapshot(names, Path(tree))
            log = build(Path(tree), target, [*options])
        faults = faults_of_sdist(next(target.glob("*.tar.gz")), names)
    faults += faults_of_wheel(next(target.glob("*.whl")), names)
    faults += faults_of_log(log, names)
    print("\n".join(faults or [f"{path.name}: complete" for path in sorted(target.glob("*-*"))]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
