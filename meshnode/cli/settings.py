"""`meshnode config` and `meshnode paths`: what is configured, and where things lie."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from meshnode.cli.options import home_directory, json_option
from meshnode.cli.render import print_json, print_table, say
from meshnode.config import config_file, load_config
from meshnode.daemon.offline import CONTROL_FILE, DATABASE_FILE, identity_path


@click.group()
def config() -> None:
    """Show or check the configuration."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Every setting, its value and where it comes from."""
    loaded = load_config()
    sections: dict[str, dict[str, Any]] = msgspec.to_builtins(loaded.config)
    if as_json:
        print_json({"file": str(loaded.file), "config": sections, "origins": loaded.origins})
        return
    rows = [
        (f"{section}.{key}", _value(value), loaded.origins.get(f"{section}.{key}", "default"))
        for section, settings in sections.items()
        for key, value in settings.items()
    ]
    print_table(("SETTING", "VALUE", "FROM"), rows)


@config.command()
def check() -> None:
    """Check the configuration; exit 78 and the setting's name if it is wrong."""
    loaded = load_config()
    exists = loaded.file.exists()
    say(f"The configuration is right ({loaded.file if exists else f'no file at {loaded.file}; defaults'}).")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)


@click.command()
@json_option
@click.pass_context
def paths(ctx: click.Context, as_json: bool) -> None:
    """Where configuration, identity and database lie."""
    data = home_directory(ctx)
    found = {
        "config": str(config_file()),
        "data": str(data),
        "identity": str(identity_path(data)),
        "database": str(data / DATABASE_FILE),
        "control": str(data / CONTROL_FILE),
    }
    if as_json:
        print_json(found)
        return
    for name, path in found.items():
        click.echo(f"{name:<9} {path}")
