"""A data directory that doesn't exist yet, and little patience with its lock."""

from pathlib import Path

import pytest

from meshnode.store import data_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_lock, "_PATIENCE_S", 0.05)
