"""mylzip's settings: under the reference's names behind our prefix, in a section, checked at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from meshnode.config import load_config
from meshnode.dialects.mylzip.settings import ENVIRONMENT, MylzipSettings
from meshnode.domain.errors import MeshError


def settings(**environ: str) -> MylzipSettings:
    """What the environment makes of the settings."""
    return load_config({}, {"MESHNODE_CONFIG": "/dev/null", **environ}).config.mylzip


def test_the_defaults_are_the_references() -> None:
    """Every number of its configuration section."""
    made = settings()
    assert made.default_pairing_format == "uuid"
    assert [made.expiry_s(kind) for kind in ("uuid", "short", "legacy")] == [600, 300, 180]
    assert (made.pairing_code_rate_limit, made.pairing_attempt_rate_limit) == (10, 3)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("DEFAULT_PAIRING_FORMAT", "short", "default_pairing_format", "short"),
        ("PAIRING_CODE_EXPIRY_UUID", "3600", "pairing_code_expiry_uuid", 3600),
        ("PAIRING_CODE_EXPIRY_SHORT", "60", "pairing_code_expiry_short", 60),
        ("PAIRING_CODE_EXPIRY_LEGACY", "30", "pairing_code_expiry_legacy", 30),
        ("PAIRING_CODE_RATE_LIMIT", "7", "pairing_code_rate_limit", 7),
        ("PAIRING_CODE_RATE_LIMIT_UUID", "8", "pairing_code_rate_limit_uuid", 8),
        ("PAIRING_CODE_RATE_LIMIT_SHORT", "8", "pairing_code_rate_limit_short", 8),
        ("PAIRING_CODE_RATE_LIMIT_LEGACY", "8", "pairing_code_rate_limit_legacy", 8),
        ("PAIRING_ATTEMPT_RATE_LIMIT", "9", "pairing_attempt_rate_limit", 9),
        ("PAIRING_ATTEMPT_RATE_LIMIT_UUID", "5", "pairing_attempt_rate_limit_uuid", 5),
        ("PAIRING_ATTEMPT_RATE_LIMIT_SHORT", "5", "pairing_attempt_rate_limit_short", 5),
        ("PAIRING_ATTEMPT_RATE_LIMIT_LEGACY", "5", "pairing_attempt_rate_limit_legacy", 5),
    ],
)
def test_the_references_variable_behind_our_prefix_sets_it(
    name: str, text: str, field: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    """And so does MESHNODE_MYLZIP__…; nothing else changes, nothing is warned of."""
    expected = msgspec.structs.replace(MylzipSettings(), **{field: value})
    assert settings(**{f"MESHNODE_{name}": text}) == expected
    assert settings(**{f"MESHNODE_MYLZIP__{name}": text}) == expected
    assert caplog.text == ""


def test_every_setting_but_the_switch_has_its_variable() -> None:
    """The table covers the settings."""
    fields = set(MylzipSettings.__struct_fields__) - {"enabled"}
    assert set(ENVIRONMENT.values()) == {f"mylzip.{field}" for field in fields}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DEFAULT_PAIRING_FORMAT", "hex"),
        ("PAIRING_CODE_EXPIRY_UUID", "29"),
        ("PAIRING_CODE_EXPIRY_UUID", "3601"),
        ("PAIRING_CODE_EXPIRY_SHORT", "301"),
        ("PAIRING_CODE_EXPIRY_LEGACY", "181"),
        ("PAIRING_CODE_EXPIRY_LEGACY", "soon"),
        ("PAIRING_CODE_RATE_LIMIT", "0"),
        ("PAIRING_CODE_RATE_LIMIT_SHORT", "-1"),
        ("PAIRING_ATTEMPT_RATE_LIMIT", ""),
        ("PAIRING_ATTEMPT_RATE_LIMIT_LEGACY", "1.5"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, text: str) -> None:
    """Naming the setting, and that it came from the environment."""
    with pytest.raises(MeshError) as caught:
        settings(**{f"MESHNODE_{name}": text})
    assert caught.value.code == "bad_config"
    assert caught.value.detail.startswith(f"mylzip.{name.lower()}: ")
    assert "environment" in caught.value.detail


def test_a_node_with_a_bad_value_does_not_start(tmp_path: Path) -> None:
    """Exit 78, the setting named, no traceback, no identity made."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MESHNODE_")}
    environ |= {"MESHNODE_CONFIG": os.devnull, "MESHNODE_DEFAULT_PAIRING_FORMAT": "hex"}
    argv = [sys.executable, "-m", "meshnode", "--data-dir", str(tmp_path / "data"), "run", "--no-mdns"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78, done.stderr
    assert "mylzip.default_pairing_format" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "node_identity.json").exists()
