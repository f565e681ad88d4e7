"""Options that several commands share, and asking people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from meshnode.cli.control_client import ControlClient, find_daemon

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


__all__ = ["ControlClient", "can_ask", "confirm", "json_option", "with_daemon", "yes_option"]
