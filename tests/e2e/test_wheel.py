"""The wheel alone, without a checkout around it: complete, it starts, migrates and pairs."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the files git tracks or would track, with what is installed here: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index", "--no-deps"]
    built = subprocess.run(
        [*pip, "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(folder / "source")],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    (made,) = (folder / "dist").iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has this wheel, and the dependencies of this one by a .pth file."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    unpacked = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--disable-pip-version-check",
            "--target",
            str(site),
            str(wheel),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert unpacked.returncode == 0, unpacked.stderr
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("meshnode", "_meshnode", "_editable")) and path.suffix != ".pth":
            (dependencies / path.name).symlink_to(path)
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return folder / "bin/python"


@pytest.fixture
def nodes(installed: Path, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two nodes run by the wheel's interpreter, each from its own directory."""
    pair = Machine(tmp_path / "a", python=str(installed)), Machine(tmp_path / "b", python=str(installed))
    yield pair
    for node in pair:
        node.close()


def test_the_wheel_is_complete(wheel: Path) -> None:
    """Package, pages, migrations, units, the typing marker and the licence; nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    migrations = {f"meshnode/_migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    assert migrations
    assert migrations <= names
    assert {
        "meshnode/_systemd/meshnode.service",
        "meshnode/_systemd/user/meshnode.service",
        "meshnode/py.typed",
        "meshnode/__main__.py",
    } <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "meshnode").rglob("*.py")}
    assert modules <= names
    pages = ROOT / "meshnode" / "web" / "static"
    assert {str(path.relative_to(ROOT)) for path in pages.rglob("*") if path.is_file()} <= names
    assert {name.split("/")[0] for name in names} == {"meshnode", "meshnode-0.1.0.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_it_runs_from_its_own_files(installed: Path, tmp_path: Path) -> None:
    """Not from a checkout that happens to be near."""
    code = "import meshnode, meshnode.store.migrate as m; print(meshnode.__file__); print(len(m.find_migrations()))"
    done = subprocess.run([str(installed), "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    file, migrations = done.stdout.splitlines()
    assert Path(file).is_relative_to(installed.parents[1])
    assert int(migrations) == len(list((ROOT / "migrations").glob("*.sql")))


def test_two_nodes_start_migrate_and_pair(nodes: tuple[Machine, Machine]) -> None:
    """Both databases stand at the newest schema and hold both nodes."""
    a, b = (node.start() for node in nodes)
    a.pair_with(b)
    for node in (a, b):
        assert {(row[0], row[1]) for row in node.rows("id, trust")} == {
            (node.id, "self"),
            (({a.id, b.id} - {node.id}).pop(), "paired"),
        }
        with contextlib.closing(sqlite3.connect(node.data / "meshnode.db")) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        assert version == len(list((ROOT / "migrations").glob("*.sql")))


def test_the_demo_runs(nodes: tuple[Machine, Machine]) -> None:
    """The installed program starts itself again for it."""
    done = nodes[0].run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" online ") == 4
