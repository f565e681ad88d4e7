"""A virtual environment for everybody, copied from the one that runs: no network, nothing under anybody's home."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import msgspec

import meshnode
from meshnode.domain.errors import MeshError

_HIDDEN: Final = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - from the unit
_PLACES: Final = ("/usr/bin", "/usr/local/bin")
_ASKED: Final = (
    "import json, os, ssl, sqlite3, sys, sysconfig, venv;"
    "print(json.dumps([sys.version_info[:2], sysconfig.get_config_var('SOABI'), os.path.realpath(sys.base_prefix)]))"
)
_WORKS: Final = "import meshnode.cli.main, meshnode.daemon.lifecycle"
_SHIPPED: Final = {"_migrations": "migrations", "_systemd": "systemd"}  # in the wheel → in a checkout


class Built(msgspec.Struct, frozen=True):
    """What was built, and of what."""

    version: str
    packages: int
    interpreter: Path


def shipped(name: str) -> Path:
    """A folder that is in the package when installed, beside it in a checkout."""
    package = Path(meshnode.__file__).parent
    packaged = package / name
    return packaged if packaged.is_dir() else package.parent / _SHIPPED[name]


def is_environment(folder: Path) -> bool:
    """Whether a virtual environment with meshnode in it is there; only such a one is ever replaced or removed."""
    return not folder.is_symlink() and (folder / "pyvenv.cfg").is_file() and (folder / "bin/meshnode").is_file()


def installed_version(folder: Path) -> str:
    """The version in an environment."""
    found = sorted(folder.glob("lib/python*/site-packages/meshnode-*.dist-info"))
    return found[0].name.removeprefix("meshnode-").removesuffix(".dist-info") if found else "of unknown version"


def build_environment(folder: Path) -> Built:
    """Put this meshnode and what it needs into `folder`, in one step at the end; what was there goes.

    Raises `bad_config` if something else is there, or no interpreter fits; `install_failed`.
    """
    if (folder.exists() or folder.is_symlink()) and not is_environment(folder):
        raise MeshError("bad_config", f"{folder} holds something else; move it away first")
    interpreter = find_interpreter()
    needed = list(needed_distributions())
    staged, former = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    before = os.umask(0o022)  # its reader is another user
    try:
        if former.exists() and not folder.exists():  # the power went between the two steps below
            former.rename(folder)
        for left in (staged, former):
            shutil.rmtree(left, ignore_errors=True)
        _build(staged, folder, interpreter, needed)
        if folder.exists():
            folder.rename(former)
        try:
            staged.rename(folder)
        except OSError:
            former.rename(folder)
            raise
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise MeshError("install_failed", f"{folder} could not be built: {error}") from error
    finally:
        os.umask(before)
        shutil.rmtree(staged, ignore_errors=True)
    return Built(meshnode.__version__, len(needed), interpreter)


def find_interpreter() -> Path:
    """The Python of this environment, or one for everybody that runs the same packages. Raises `bad_config`."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    wanted = json.loads(_ask(Path(sys.executable)))[:2]
    for candidate in (own, *(Path(place) / name for place in _PLACES)):
        if candidate.is_file() and not _is_hidden(candidate.resolve()):
            answer = _ask(candidate)
            if answer and (told := json.loads(answer))[:2] == wanted and not _is_hidden(Path(told[2])):
                return candidate
    raise MeshError(
        "bad_config",
        f"the Python that runs this ({own}) lies where the service can't reach it, and no other {name} is here; "
        f"install {name} for everybody, for example with the system's packages",
    )


def _ask(interpreter: Path) -> str:
    try:
        done = subprocess.run(
            [interpreter, "-I", "-c", _ASKED], check=False, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _HIDDEN)


def needed_distributions() -> Iterator[Distribution]:
    """What meshnode requires, and what that requires, as it is installed here. Raises `install_failed`."""
    waiting, seen = [("meshnode", True)], {"meshnode"}
    while waiting:
        name, is_needed = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError as error:
            if not is_needed:
                continue  # for another Python or another system
            raise MeshError("install_failed", f"{name} isn't installed here; install meshnode anew") from error
        if name != "meshnode":
            yield found
        for requirement in found.requires or ():
            wanted, _, marker = requirement.partition(";")
            match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", wanted.strip())
            normal = re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""
            if normal and normal not in seen and "extra" not in marker:
                seen.add(normal)
                waiting.append((normal, not marker.strip()))


def _build(staged: Path, target: Path, interpreter: Path, needed: list[Distribution]) -> None:
    staged.parent.mkdir(parents=True, exist_ok=True)
    _run(interpreter, "-I", "-m", "venv", "--without-pip", str(staged))
    for script in (staged / "bin").glob("[aA]ctivate*"):  # they name the place it was made at
        script.unlink()
    (site,) = staged.glob("lib/python*/site-packages")
    _copy_meshnode(site)
    for one in needed:
        _copy(one, site)
    python = staged / "bin/python"
    _run(python, "-I", "-m", "compileall", "-q", str(site), "-s", str(staged), "-p", str(target))
    _run(python, "-I", "-c", _WORKS)
    program = staged / "bin/meshnode"
    program.write_text(
        f"#!{target}/bin/python -I\nfrom meshnode.cli.main import main\n\nif __name__ == '__main__':\n    main()\n"
    )
    program.chmod(0o755)


def _copy_meshnode(site: Path) -> None:
    """From the wheel or from the checkout: the same files either way."""
    _copy_folder(Path(meshnode.__file__).parent, site / "meshnode")
    for name in _SHIPPED:
        _copy_folder(shipped(name), site / "meshnode" / name)
    information = site / f"meshnode-{meshnode.__version__}.dist-info"
    information.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (information / name).write_text(distribution("meshnode").read_text(name) or "", "utf-8")
    (information / "INSTALLER").write_text("meshnode service install\n")


def _copy_folder(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            _copy_file(path, target / path.relative_to(source))


def _copy(one: Distribution, site: Path) -> None:
    if one.files is None:
        raise MeshError(
            "install_failed",
            f"{one.name} says nothing of its files; install meshnode with pip or pipx into an environment of its own",
        )
    for file in one.files:
        if ".." not in file.parts and not file.is_absolute() and file.suffix != ".pyc":
            _copy_file(Path(str(one.locate_file(file))), site / file)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise MeshError("install_failed", f"{Path(argv[0]).name} failed: {said[-1]}")
