"""`meshnode service` without a systemd to run it: what it builds, what it writes, what it refuses."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meshnode.cli import own_environment
from meshnode.cli.own_environment import build_environment, find_interpreter, is_environment, needed_distributions
from meshnode.cli.systemctl import quote, write_unit
from meshnode.cli.systemd import _user_unit_text
from meshnode.domain.errors import MeshError
from tests.e2e.machine import Machine

Make = Callable[[str], Machine]
IS_BOOTED = Path("/run/systemd/system").is_dir()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as `service install` builds it, elsewhere."""
    try:
        find_interpreter()
    except MeshError as error:
        pytest.skip(error.detail)
    folder = tmp_path_factory.mktemp("opt") / "meshnode"
    before = os.umask(0o077)  # a careful administrator's
    try:
        build_environment(folder)
    finally:
        os.umask(before)
    return folder


def test_two_nodes_of_the_built_environment_pair(built: Path, tmp_path: Path) -> None:
    """It is complete: daemon, migrations and command line, with nothing of the environment it came from."""
    pair = [Machine(tmp_path / name, python=str(built / "bin/python")) for name in "ab"]
    for node in pair:
        node.environment.pop("PYTHONPATH", None)
        node.argv = [str(built / "bin/meshnode")]
    try:
        pair[0].start().pair_with(pair[1].start())
        for node in pair:
            assert node.stop() == 0
    finally:
        for node in pair:
            node.close()


def test_the_built_environment_stands_alone(built: Path) -> None:
    """No search path, script or link leads back; everybody may read and execute it, nobody else may write."""
    code = "import sys, meshnode; print(meshnode.__file__, *sys.path, sep='\\n')"
    done = subprocess.run([built / "bin/python", "-I", "-c", code], capture_output=True, text=True, timeout=30)
    file, *search_path = done.stdout.splitlines()
    assert Path(file).is_relative_to(built)
    assert [path for path in search_path if Path(path).is_relative_to(sys.prefix)] == []
    assert [path for path in search_path if Path(path).is_relative_to(Path(__file__).parents[2])] == []
    assert (built / "bin/meshnode").read_text().splitlines()[0] == f"#!{built}/bin/python -I"
    for path in built.rglob("*"):
        if path.is_symlink():
            assert path.resolve().is_relative_to(built) or path.name.startswith("python")
        else:
            wanted = 0o755 if path.is_dir() else 0o644
            assert path.stat().st_mode & wanted == wanted, path
            assert path.stat().st_mode & 0o022 == 0, path
    assert list(built.rglob("*.pth")) == []


def test_it_knows_its_units(built: Path) -> None:
    """The service can be installed and upgraded from it as from the checkout."""
    code = "from meshnode.cli.own_environment import shipped; print(*sorted(map(str, shipped('_systemd').iterdir())))"
    done = subprocess.run([built / "bin/python", "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert [Path(line).name for line in done.stdout.split()] == ["meshnode.service", "user"]


def test_a_failed_upgrade_leaves_what_was_there(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new is tried before it takes the place of the old, and leaves nothing lying about."""
    before = (built / "pyvenv.cfg").stat().st_ino
    monkeypatch.setattr(own_environment, "_WORKS", "raise SystemExit('the disk ate it')")
    with pytest.raises(MeshError, match="the disk ate it") as refused:
        build_environment(built)
    assert refused.value.code == "install_failed"
    assert (built / "pyvenv.cfg").stat().st_ino == before
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_a_power_cut_during_an_upgrade_is_healed(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renames the old one lies beside; the next attempt, even a failing one, puts it back first."""
    built.rename(built.with_name(f".{built.name}.old"))
    (built.with_name(f".{built.name}.new")).mkdir()
    monkeypatch.setattr(own_environment, "_WORKS", "raise SystemExit('no luck')")
    with pytest.raises(MeshError, match="no luck"):
        build_environment(built)
    assert is_environment(built)
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """A folder that is no environment of meshnode, or a link to one, is refused and stays."""
    strange = tmp_path / "meshnode"
    strange.mkdir()
    (strange / "thesis.txt").write_text("years of work")
    link = tmp_path / "link"
    link.symlink_to(strange)
    for place in (strange, link):
        with pytest.raises(MeshError) as refused:
            build_environment(place)
        assert refused.value.code == "bad_config"
    assert (strange / "thesis.txt").read_text() == "years of work"


def test_what_it_needs_is_found_by_its_own_requirements() -> None:
    """All of them, and theirs; none of the tools that lie beside them."""
    names = {one.name.lower().replace("_", "-") for one in needed_distributions()}
    assert {"aiohttp", "yarl", "multidict", "aiosqlite", "zeroconf", "cryptography", "cffi", "cpace", "rich"} <= names
    assert names & {"meshnode", "pytest", "ruff", "mypy", "pip", "hypothesis"} == set()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/opt/meshnode/bin/meshnode", "/opt/meshnode/bin/meshnode"),
        ("/home/a b/meshnode", '"/home/a b/meshnode"'),
        ("/home/100%/meshnode", "/home/100%%/meshnode"),
        ('/home/a"b\\c', '"/home/a\\"b\\\\c"'),
    ],
)
def test_a_path_in_a_unit_is_one_word(word: str, expected: str) -> None:
    """Blanks, quotes and specifiers keep no unit from its program."""
    assert quote(word) == expected


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)")
def test_systemd_finds_the_user_s_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit as `--user` writes it is silent in `verify`, wherever the environment lies."""
    prefix = tmp_path / "a strange 100% place"
    program = prefix / "bin/meshnode"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    unit = tmp_path / "meshnode.service"

    def verify() -> list[str]:
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(unit)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
        )
        return [line for line in done.stderr.splitlines() if "meshnode" in line]

    assert write_unit(unit, _user_unit_text())
    assert not write_unit(unit, _user_unit_text())
    assert verify() == []
    program.unlink()
    assert verify() != []


@pytest.mark.skipif(IS_BOOTED, reason="systemd runs this machine")
@pytest.mark.parametrize("verb", ["install", "upgrade", "uninstall"])
@pytest.mark.parametrize("flag", [(), ("--user",)])
def test_without_systemd_it_says_so(machine: Make, verb: str, flag: tuple[str, ...]) -> None:
    """Nothing is changed; the next step is the command that works here."""
    done = machine("a").run("service", verb, *flag)
    assert done.returncode == 1
    assert "[no_systemd]" in done.stderr
    assert re.search("→ .*meshnode run", done.stderr)


def test_a_data_directory_of_one_s_own_is_refused(machine: Make) -> None:
    """The service keeps its data where the unit says."""
    done = machine("a").run("--data-dir", "/somewhere", "service", "install")
    assert done.returncode == 2
    assert "--data-dir" in done.stderr
