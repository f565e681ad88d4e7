"""The verdict on the systemd unit, from systemctl's own words."""

from __future__ import annotations

import pytest

from meshnode import __version__
from meshnode.cli.unit_state import check_version, judge_unit


@pytest.mark.parametrize(
    ("active", "enabled", "user", "lingers", "verdict", "fix"),
    [
        ("active", "enabled", False, None, "ok", ""),
        ("active", "enabled", True, True, "ok", ""),
        ("active", "enabled", True, False, "warning", "loginctl enable-linger"),
        ("active", "disabled", False, None, "warning", "sudo systemctl enable meshnode"),
        ("inactive", "enabled", False, None, "warning", "sudo systemctl enable --now meshnode"),
        ("inactive", "disabled", True, True, "warning", "systemctl --user enable --now meshnode"),
        ("failed", "enabled", False, None, "failure", "journalctl -u meshnode -n 30"),
        ("activating", "enabled", False, None, "failure", "journalctl -u meshnode -n 30"),
    ],
)
def test_unit(active: str, enabled: str, user: bool, lingers: bool | None, verdict: str, fix: str) -> None:
    """Running now and after the next boot, or what to type."""
    found = judge_unit(
        active, enabled, user=user, lingers=lingers, is_running=active == "active", journal="journalctl -u meshnode"
    )
    assert (found.verdict, found.fix) == (verdict, fix)
    assert active in found.detail


@pytest.mark.parametrize(("running", "verdict"), [(None, "ok"), (__version__, "ok"), ("0.0.1", "warning")])
def test_version(running: str | None, verdict: str) -> None:
    """What runs is what is installed, or both are told."""
    found = check_version(running)
    assert found.verdict == verdict
    assert __version__ in found.detail
