"""Rules of the house that no linter holds: size, docstrings, names, migrations, registries."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "meshnode"
MAX_LINES = 300
VAGUE = re.compile(r"(util|helper|manager|common|misc|base|service|handler|core)s?")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def relative(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_there_are_modules_and_files_to_judge() -> None:
    """The rules below would hold of an empty list too."""
    assert len(modules()) > 1


def test_every_module_is_short() -> None:
    """A file that outgrows the limit holds two subjects."""
    lengths = {path: len(path.read_text().splitlines()) for path in modules()}
    assert relative([path for path, lines in lengths.items() if lines >= MAX_LINES]) == []


def test_every_module_says_what_it_holds() -> None:
    """Each module, `__init__` included, opens with a docstring."""
    assert relative([path for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]) == []


def test_no_name_is_vague() -> None:
    """A file or folder is named after what it holds."""
    places = (PACKAGE, ROOT / "tests")
    found = [path for place in places for path in place.rglob("*") if "__pycache__" not in path.parts]
    vague = [path for path in found if any(VAGUE.fullmatch(part) for part in path.stem.lower().split("_"))]
    assert relative(vague) == []


@pytest.mark.parametrize("name", ["util", "http_utils", "base_table", "core", "services"])
def test_vague_names_are_recognised(name: str) -> None:
    """The pattern covers singular, plural and parts of a name."""
    assert any(VAGUE.fullmatch(part) for part in name.split("_"))


def test_no_package_source_is_named() -> None:
    """What is installed comes from where the machine's own clients are set up to get it."""
    option = re.compile(rb"--(extra-)?index-url|--find-links|--registry|--trusted-host")
    assert relative([path for path in (ROOT / "scripts").iterdir() if option.search(path.read_bytes())]) == []


def test_the_locked_requirements_hold_no_address() -> None:
    """Pinned by version and hash only."""
    locked = sorted((ROOT / "requirements").glob("*.txt"))
    assert locked
    for path in locked:
        text = path.read_text()
        assert "://" not in text
        assert "index-url" not in text


def test_migrations_are_numbered_without_gaps() -> None:
    """0001, 0002, … in a row, each with a name."""
    names = sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
    assert names
    assert [name for name in names if not re.fullmatch(r"[0-9]{4}_[a-z0-9_]+\.sql", name)] == []
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def dialects() -> list[Path]:
    folders = (path for path in (PACKAGE / "dialects").iterdir() if path.is_dir())
    return sorted(path for path in folders if path.name != "__pycache__")


def test_every_dialect_has_its_specification() -> None:
    """The wire is written down beside the code that speaks it."""
    assert dialects()
    assert relative([path for path in dialects() if not (path / "SPEC.md").is_file()]) == []


def test_every_dialect_is_kept_apart_by_contract() -> None:
    """A new dialect must be added to the independence contract in pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (independence,) = (contract for contract in contracts if contract["type"] == "independence")
    assert sorted(independence["modules"]) == [f"meshnode.dialects.{path.name}" for path in dialects()]
