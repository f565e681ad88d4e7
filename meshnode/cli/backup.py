"""`meshnode backup` and `meshnode restore`: a whole node in one sealed file."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from meshnode.cli.options import can_ask, home_directory
from meshnode.cli.render import say
from meshnode.daemon.backup import PASSPHRASE_MIN, write_backup
from meshnode.daemon.restore import restore_node
from meshnode.daemon.system import SystemClock, SystemEntropy
from meshnode.domain.errors import invalid

passphrase_option = click.option(
    "--passphrase-file", metavar="FILE", type=click.File("r"), help="Read the passphrase from FILE (- is stdin)."
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@click.pass_context
def backup(ctx: click.Context, file: Path, passphrase_file: TextIO | None) -> None:
    """Seal this node, identity and database, into a new FILE; works with and without a running node.

    Whoever has FILE and the passphrase is this node. Without the passphrase nobody can open it, you neither.
    """
    directory = home_directory(ctx)
    passphrase = _passphrase(passphrase_file, f"Passphrase (at least {PASSPHRASE_MIN} characters)", is_new=True)
    identity = write_backup(directory, file, passphrase, SystemClock().now())
    say(f"{identity.name} is in {file}. Keep file and passphrase apart.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@click.option("--force", is_flag=True, help="Restore over a node that is here, or while the old one still answers.")
@click.pass_context
def restore(ctx: click.Context, file: Path, passphrase_file: TextIO | None, force: bool) -> None:
    """Make the node in FILE the node of this machine; only while no node runs here.

    It is the same node to its peers. The one it was made from must not run any more.
    """
    directory = home_directory(ctx)
    passphrase = _passphrase(passphrase_file, "Passphrase", is_new=False)
    restored = restore_node(file, directory, passphrase, SystemEntropy(), force=force)
    for kept in restored.kept:
        say(f"kept {kept}")
    say(f"{restored.identity.name} is restored to {directory}. Start it with `meshnode run`.")
    say("Nodes revoked since the backup are trusted again until you revoke them again.")


def _passphrase(file: TextIO | None, question: str, *, is_new: bool) -> str:
    """From the file, else asked on the terminal, twice if it is new; never an argument, which others could read."""
    if file is None:
        if not can_ask():
            raise click.UsageError("Nobody to ask for a passphrase: give --passphrase-file FILE.")
        answer: str = click.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True)
        return answer
    try:
        text = str(file.read(4096)).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid("--passphrase-file", f"cannot be read ({error})") from error
    if not text:
        raise invalid("--passphrase-file", "is empty")
    return text
