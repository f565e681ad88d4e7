"""Whether the node runs under systemd and will after a boot, and whether what runs is what is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from meshnode import __version__
from meshnode.cli.own_environment import installed_version, is_environment
from meshnode.cli.systemctl import UNIT, Systemctl
from meshnode.domain.diagnosis import Finding

ENVIRONMENT = Path("/opt/meshnode")  # of the system's service


def check_unit(*, is_running: bool) -> Finding:
    """`service`: the system's unit, else the user's own."""
    stage = "service"
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        return Finding(stage=stage, verdict="none", detail="systemd doesn't run this machine")
    for user in (False, True):
        systemctl = Systemctl(user=user)
        active, enabled = _word(systemctl, "is-active"), _word(systemctl, "is-enabled")
        if active in ("", "unknown", "inactive") and enabled in ("", "not-found"):
            continue
        return judge_unit(
            active,
            enabled,
            user=user,
            lingers=_lingers() if user else None,
            is_running=is_running,
            journal=systemctl.journal,
        )
    fix = "`sudo meshnode service install` starts it at every boot"
    return Finding(stage=stage, verdict="none", detail="not installed", fix=fix)


def judge_unit(
    active: str, enabled: str, *, user: bool, lingers: bool | None, is_running: bool, journal: str
) -> Finding:
    """From the words of `is-active` and `is-enabled`."""
    stage, whose = "service", "your own" if user else "the system's"
    systemctl = "systemctl --user" if user else "sudo systemctl"
    what = f"{whose} {UNIT} is {active}, {enabled}"
    if active == "failed" or (active == "activating" and not is_running):
        return Finding(stage=stage, verdict="failure", detail=what, cause="unit_failed", fix=f"{journal} -n 30")
    if active not in ("active", "activating", "reloading"):
        beside = "; a node runs beside it" if is_running else ""
        return Finding(stage=stage, verdict="warning", detail=f"{what}{beside}", cause="unit_inactive",
                       fix=f"{systemctl} enable --now meshnode")  # fmt: skip
    if not enabled.startswith("enabled"):
        return Finding(stage=stage, verdict="warning", detail=f"{what}: gone after the next boot",
                       cause="unit_disabled", fix=f"{systemctl} enable meshnode")  # fmt: skip
    if lingers is False:
        return Finding(stage=stage, verdict="warning", detail=f"{what}; it ends when you log out",
                       cause="no_linger", fix="loginctl enable-linger")  # fmt: skip
    return Finding(stage=stage, verdict="ok", detail=what)


def _word(systemctl: Systemctl, verb: str) -> str:
    try:
        return systemctl.ask(verb, UNIT).stdout.strip().partition("\n")[0]
    except OSError:
        return ""


def _lingers() -> bool | None:
    """Whether this user's services live on after logout; None if nobody says."""
    try:
        argv = ["loginctl", "show-user", str(os.geteuid()), "--property=Linger", "--value"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def check_version(running: str | None) -> Finding:
    """`version`: what runs against what is installed here."""
    stage = "version"
    of_service = f"; the service's: {installed_version(ENVIRONMENT)}" if is_environment(ENVIRONMENT) else ""
    if running is None or running == __version__:
        return Finding(stage=stage, verdict="ok", detail=f"{__version__}{of_service}")
    return Finding(stage=stage, verdict="warning", detail=f"{running} runs, {__version__} is installed{of_service}",
                   cause="version", fix="restart the node; a service: `sudo meshnode service upgrade`")  # fmt: skip
