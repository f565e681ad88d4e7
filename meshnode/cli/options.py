"""Options that several commands share, and asking people."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meshnode.cli.control_client import find_daemon, find_system_unit
from meshnode.config import SYSTEM_DATA_DIR, data_directory
from meshnode.daemon.offline import identity_path
from meshnode.domain.errors import MeshError

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


def with_daemon(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pass the running daemon's client as first argument."""

    @click.pass_context
    def wrapped(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        return ctx.invoke(command, find_daemon(ctx.find_root().obj), *args, **kwargs)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    for name in ("__click_params__",):
        if hasattr(command, name):
            setattr(wrapped, name, getattr(command, name))
    return wrapped


def can_ask() -> bool:
    """Whether there is a person at the other end."""
    return sys.stdin.isatty()


def confirm(question: str, yes: bool) -> None:
    """Ask before something that can't be undone; without a terminal --yes is needed."""
    if yes:
        return
    if not can_ask():
        raise click.UsageError(f"{question} Nobody to ask: give --yes.")
    click.confirm(question, abort=True, err=True)


def home_directory(ctx: click.Context) -> Path:
    """The data directory meant: --data-dir or MESHNODE_DATA_DIR, the user's own, else the system's if a node is there.

    Raises `daemon_unreadable` if it is not ours to look at; what an uninstalled service left is in nobody's way.
    """
    flag = ctx.find_root().obj
    own = data_directory(flag)
    is_named = bool(flag or os.environ.get("MESHNODE_DATA_DIR"))
    try:
        if _exists(identity_path(own)) or is_named:
            return own
    except PermissionError as error:
        raise MeshError("daemon_unreadable", f"{own} is not yours to read") from error
    try:
        return SYSTEM_DATA_DIR if _exists(identity_path(SYSTEM_DATA_DIR)) else own
    except PermissionError as error:
        if find_system_unit() == "absent":
            return own
        raise MeshError("daemon_unreadable", f"{SYSTEM_DATA_DIR} is not yours to read") from error


def _exists(path: Path) -> bool:
    """Raises PermissionError where nobody lets us look, in every Python."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
