"""`meshnode events`: follow what happens, one line an event, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import with_daemon
from meshnode.cli.render import say, terminal_size
from meshnode.domain.errors import CODES, MeshError
from meshnode.domain.timestamps import parse_time
from meshnode.domain.untrusted_text import clean_text, without_controls

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

DEFAULT_TOPICS: Final = ("mesh.*",)
PING_S: Final = 30.0  # a node that doesn't answer half of it later is gone
LINE_MAX: Final = 64 * 1024
MESSAGE_MAX: Final = 4 * 1024 * 1024


@click.command()
@click.argument("topics", nargs=-1, metavar="[TOPIC]...")
@click.option("--since", type=click.IntRange(min=0), metavar="N", help="Begin after the mesh event with this sequence.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line on stdout.")
@with_daemon
def events(daemon: ControlClient, topics: tuple[str, ...], since: int | None, as_json: bool) -> None:
    """Follow what happens in the mesh until Ctrl-C; TOPIC is one, or ends in `.*` for all below it.

    Without TOPIC it is mesh.*: nodes and pairings. Applications' own events are below app.*.
    """
    asyncio.run(_follow(daemon, topics or DEFAULT_TOPICS, since, as_json))


async def _follow(daemon: ControlClient, topics: tuple[str, ...], since: int | None, as_json: bool) -> None:
    """Print events for ever. Raises `no_daemon` when the node ends, or its refusal."""
    import aiohttp  # takes its time; needed by this command only

    url, headers = daemon.socket
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(url, headers=headers, heartbeat=PING_S, max_msg_size=MESSAGE_MAX) as ws:
                await ws.send_json(_subscription(topics, since))
                await _print_all(ws, topics, since, as_json)
        except aiohttp.WSServerHandshakeError as error:
            raise MeshError("internal_error", f"the node answered {error.status} to the upgrade") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise MeshError("no_daemon", "the node on this machine does not answer") from error


def _subscription(topics: tuple[str, ...], since: int | None) -> dict[str, Any]:
    params = {"topics": list(topics)} | ({} if since is None else {"since": since})
    return {"jsonrpc": "2.0", "id": 1, "method": "event.subscribe", "params": params}


async def _print_all(ws: ClientWebSocketResponse, topics: tuple[str, ...], since: int | None, as_json: bool) -> None:
    async for message in ws:
        if not isinstance(message.data, str):  # an error of the connection
            break
        told = without_controls(json.loads(message.data))
        match told:
            case {"method": "event", "params": dict(event)}:
                click.echo(_json_line(event) if as_json else _line(event))
            case {"method": "event.lost", "params": {"count": int(count)}}:
                say(f"{count} {'event was' if count == 1 else 'events were'} lost here: too many at once.")
            case {"id": 1, "result": dict(result)}:
                if result.get("missed"):
                    say(f"Not all events since {since} are known any more; some are missing.")
                say(f"Following {', '.join(topics)} from {result['sequence']} on; Ctrl-C ends.")
            case {"error": dict(error)}:
                raise _refusal(error)
    raise MeshError("no_daemon", "the node on this machine has stopped")


def _refusal(error: dict[str, Any]) -> MeshError:
    data = error.get("data") or {}
    code = data.get("code")
    if code not in CODES:
        return MeshError("internal_error", f"the node answered {error.get('code')}: {error.get('message')}")
    return MeshError(code, str(error.get("message")), retry_after_s=data.get("retry_after"))


def _json_line(event: dict[str, Any]) -> str:
    return json.dumps(event)  # ASCII: what applications publish may hold anything


def _line(event: dict[str, Any]) -> str:
    """Time, topic and data; on a terminal no longer than its width."""
    at: datetime = parse_time(event["at"]).astimezone()
    data = event.get("data")
    if isinstance(data, dict):
        words = " ".join(f"{key}={_word(value)}" for key, value in data.items() if value is not None)
    else:
        words = _word(data)
    line = f"{at:%H:%M:%S}  {event['topic']}  {clean_text(words, LINE_MAX)}"
    width = terminal_size()[0]
    return f"{line[: width - 1]}…" if sys.stdout.isatty() and len(line) > width else line


def _word(value: Any) -> str:
    if isinstance(value, str) and value and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False)
