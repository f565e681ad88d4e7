"""`meshnode service`: the node under systemd, for the whole machine or for one user."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from meshnode.cli.own_environment import (
    build_environment,
    installed_version,
    is_environment,
    shipped,
)
from meshnode.cli.render import say
from meshnode.cli.systemctl import REASON_MAX, UNIT, Systemctl, quote, start_unit, write_unit
from meshnode.config import SYSTEM_DATA_DIR, config_file, data_directory
from meshnode.domain.errors import MeshError
from meshnode.domain.untrusted_text import clean_text

ENVIRONMENT: Final = Path("/opt/meshnode")
SYSTEM_UNIT: Final = Path("/etc/systemd/system") / UNIT
SYSTEM_CONFIG: Final = Path("/etc/meshnode")
PROGRAM: Final = Path("/usr/local/bin/meshnode")  # where sudo looks too
_LINGERING: Final = Path("/var/lib/systemd/linger")
_SECURE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

user_option = click.option("--user", "for_user", is_flag=True, help="For you alone, without root.")


@click.group()
def service() -> None:
    """Run the node under systemd: install, upgrade, uninstall."""


@service.command()
@user_option
@click.pass_context
def install(ctx: click.Context, for_user: bool) -> None:
    """Start the node now and at every boot; repeating it changes nothing that is right."""
    _require(ctx, "install", for_user)
    if for_user:
        _install_user()
        return
    _refuse_beside(for_user)
    if is_environment(ENVIRONMENT):
        say(f"{ENVIRONMENT} is there ({installed_version(ENVIRONMENT)}); `meshnode service upgrade` renews it.")
    else:
        _build()
    _link()
    start_unit(Systemctl(), write_unit(SYSTEM_UNIT, _unit_text(UNIT)), restart=False)
    _tell_system()


@service.command()
@user_option
@click.pass_context
def upgrade(ctx: click.Context, for_user: bool) -> None:
    """Put this version in the place of the installed one and start it."""
    _require(ctx, "upgrade", for_user)
    unit = _user_unit() if for_user else SYSTEM_UNIT
    if not unit.exists():
        flag = " --user" if for_user else ""
        raise MeshError("usage", f"there is no {unit}: nothing to upgrade; run `meshnode service install{flag}`")
    if for_user:
        start_unit(Systemctl(user=True), write_unit(unit, _user_unit_text()), restart=True)
        return
    if Path(sys.prefix).resolve() == ENVIRONMENT:
        raise MeshError(
            "usage",
            f"this is the meshnode of {ENVIRONMENT} itself; run `service upgrade` with the new one, "
            "for example `sudo ./scripts/run service upgrade` in its checkout",
        )
    before = installed_version(ENVIRONMENT) if is_environment(ENVIRONMENT) else "none"
    _build()
    _link()
    start_unit(Systemctl(), write_unit(SYSTEM_UNIT, _unit_text(UNIT)), restart=True)
    say(f"It was {before}, it is {installed_version(ENVIRONMENT)}.")


@service.command()
@user_option
@click.pass_context
def uninstall(ctx: click.Context, for_user: bool) -> None:
    """Stop the node and remove the service; identity, pairings and configuration stay."""
    _require(ctx, "uninstall", for_user)
    unit = _user_unit() if for_user else SYSTEM_UNIT
    systemctl = Systemctl(user=for_user)
    if unit.exists():
        systemctl.call("disable", "--now", UNIT)
        unit.unlink()
        systemctl.call("daemon-reload")
        systemctl.ask("reset-failed", UNIT)
        say(f"Stopped the node and removed {unit}.")
    else:
        say(f"There is no {unit}.")
    if not for_user:
        if PROGRAM.is_symlink() and PROGRAM.readlink().is_relative_to(ENVIRONMENT):
            PROGRAM.unlink()
            say(f"Removed {PROGRAM}.")
        if is_environment(ENVIRONMENT):
            shutil.rmtree(ENVIRONMENT)
            say(f"Removed {ENVIRONMENT}.")
    _tell_kept(for_user)


def _tell_kept(for_user: bool) -> None:
    data = _own_data() if for_user else SYSTEM_DATA_DIR
    try:
        has_data = data.is_dir()
    except PermissionError:
        has_data = True
    if has_data:
        # the system's is a link: systemd keeps the state of a dynamic user where nobody else can look
        places = [str(data)] if for_user else [str(data), str(data.parent / "private" / data.name)]
        say(f"Kept: {data}, with the node's identity and pairings; installed again, it is the same node.")
        say(f"To end it for good: {'' if for_user else 'sudo '}rm -r {' '.join(places)}")
    if for_user:
        say("Lingering stays as it is; `loginctl disable-linger` ends it, for your other services too.")


def _install_user() -> None:
    _refuse_beside(for_user=True)
    lingers = _linger()
    systemctl = Systemctl(user=True)
    systemctl.wait_for_manager()
    changed = write_unit(_user_unit(), _user_unit_text())
    start_unit(systemctl, changed, restart=False, when="at every boot" if lingers else "whenever you are logged in")
    say(f"It keeps itself in {_own_data()} and reads {config_file({})}.")
    say("Next: `meshnode pair`")


def _require(ctx: click.Context, verb: str, for_user: bool) -> None:
    """Raises `no_systemd`, `needs_root`, `usage` before anything is changed."""
    if ctx.find_root().obj:
        raise MeshError("usage", "a service keeps its data in a place of its own: leave out --data-dir")
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        raise MeshError("no_systemd", "systemd doesn't run this machine, so there are no services")
    if for_user and "SUDO_UID" in os.environ:
        raise MeshError("usage", "--user is for the one who types it: leave out sudo")
    if not for_user and os.geteuid() != 0:
        raise MeshError("needs_root", f"this changes the whole machine: use `sudo {_as_root()} service {verb}`")


def _as_root() -> str:
    """This very program as root can call it."""
    by_name = shutil.which("meshnode", path=_SECURE_PATH)
    if by_name and Path(by_name).resolve() == Path(sys.prefix).resolve() / "bin/meshnode":
        return "meshnode"
    typed = os.environ.get("MESHNODE_INVOKED_AS") or sys.argv[0]
    return f"{sys.executable} -m meshnode" if typed.endswith("__main__.py") else str(Path(typed).absolute())


def _refuse_beside(for_user: bool) -> None:
    """Two nodes of one machine would quarrel over the ports; the system's can be seen by everybody."""
    if for_user and SYSTEM_UNIT.exists():
        raise MeshError("usage", f"the machine has a node already ({SYSTEM_UNIT}); reach it with `sudo meshnode …`")


def _build() -> None:
    say(f"Building {ENVIRONMENT} from {Path(sys.prefix)} …")
    built = build_environment(ENVIRONMENT)
    say(f"Built {ENVIRONMENT}: meshnode {built.version}, {built.packages} packages, {built.interpreter}.")


def _link() -> None:
    wanted = ENVIRONMENT / "bin/meshnode"
    if PROGRAM.is_symlink() and PROGRAM.readlink() == wanted:
        return
    if PROGRAM.exists() or PROGRAM.is_symlink():
        say(f"{PROGRAM} is another program and stays; this one is {wanted}.")
        return
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    PROGRAM.symlink_to(wanted)
    say(f"Linked {PROGRAM}.")


def _unit_text(name: str) -> str:
    return (shipped("_systemd") / name).read_text("utf-8")


def _user_unit() -> Path:
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(configured) if configured.startswith("/") else Path.home() / ".config") / "systemd/user" / UNIT


def _user_unit_text() -> str:
    """The shipped unit, with this environment's program."""
    script = Path(sys.prefix) / "bin/meshnode"
    argv = [str(script)] if script.is_file() else [sys.executable, "-m", "meshnode"]
    started = " ".join([*map(quote, argv), "run"])
    return re.sub(r"(?m)^ExecStart=.*$", lambda _: f"ExecStart={started}", _unit_text(f"user/{UNIT}"))


def _own_data() -> Path:
    return data_directory(environ={})


def _linger() -> bool:
    """Run without a login, from boot on; whether that is so."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    if (_LINGERING / name).exists():
        return True
    done = subprocess.run(["loginctl", "enable-linger"], check=False, capture_output=True, text=True)
    if done.returncode == 0:
        say("Enabled lingering: the node needs nobody to be logged in.")
        return True
    say(f"Lingering was refused ({clean_text(done.stderr, REASON_MAX)}): the node ends when you log out.")
    say(f"To have it from boot on: sudo loginctl enable-linger {name}")
    return False


def _tell_system() -> None:
    say(f"It keeps itself in {SYSTEM_DATA_DIR} and reads {SYSTEM_CONFIG / 'config.toml'}, if you write one.")
    say("Next: `sudo meshnode pair`")
