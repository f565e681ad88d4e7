"""`meshnode`: the command group; commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Final

import click

from meshnode import __version__
from meshnode.cli.platforms import refusal
from meshnode.cli.render import as_typed
from meshnode.domain.errors import MeshError

_COMMANDS: Final = {  # name → module, attribute
    "run": ("run", "run"),
    "pair": ("pair", "pair"),
    "join": ("join", "join"),
    "discover": ("discover", "discover"),
    "nodes": ("nodes", "nodes"),
    "node": ("nodes", "node"),
    "audit": ("audit", "audit"),
    "events": ("events", "events"),
    "requests": ("requests", "requests"),
    "identity": ("identity", "identity"),
    "status": ("status", "status"),
    "open": ("open", "open_dashboard"),
    "doctor": ("doctor", "doctor"),
    "config": ("settings", "config"),
    "paths": ("settings", "paths"),
    "backup": ("backup", "backup"),
    "restore": ("backup", "restore"),
    "service": ("systemd", "service"),
    "demo": ("demo", "demo"),
}


class LazyGroup(click.Group):
    """Knows the names; loads a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"meshnode.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click; suggests what was meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, n=1) if args else []
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise click.UsageError(f"{error.message.rstrip('.')}.{hint}", ctx) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--data-dir", metavar="DIR", help="Where the node keeps itself (also MESHNODE_DATA_DIR).")
@click.version_option(__version__, prog_name="meshnode")
@click.pass_context
def cli(ctx: click.Context, data_dir: str | None) -> None:
    """Your own devices know, trust and reach each other: no cloud, no account.

    Start a node with `meshnode run`. Then `meshnode pair` on one machine and `meshnode join` on another.
    """
    ctx.obj = data_dir


def main() -> None:
    """Run a command; every failure is a sentence and an exit code, never a traceback."""
    if why := refusal(sys.platform):
        click.echo(f"Error: {why}", err=True)
        sys.exit(78)
    try:
        result: Any = cli.main(standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except MeshError as error:
        show_error(error)
        code = error.exit_code
    except (BrokenPipeError, SystemExit):  # `| head`; click ends by itself then, and with 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def show_error(error: MeshError) -> None:
    """What happened and what to do next, on stderr."""
    first = error.detail.split(" ", 1)[0]  # names of settings, fields and files stay as they are
    detail = error.detail[:1].upper() + error.detail[1:] if first.isalpha() else error.detail
    wait = f" (in {_duration(error.retry_after_s)})" if error.retry_after_s else ""
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {detail.rstrip('.')}{wait}.  [{error.code}]", err=True)
    if error.next_step:
        click.echo(f"  → {as_typed(error.next_step)}", err=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(1, int(seconds + 0.999)), 60)
    return f"{minutes} min" if minutes and not rest else f"{minutes} min {rest} s" if minutes else f"{rest} s"
