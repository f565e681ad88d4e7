"""`meshnode doctor`: what keeps nodes apart, a verdict a line, each with its fix."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from meshnode.cli.control_client import ControlClient, daemon_of, find_daemon
from meshnode.cli.options import home_directory, json_option
from meshnode.cli.render import as_typed, print_json, say
from meshnode.cli.unit_state import check_unit, check_version
from meshnode.config import SYSTEM_DATA_DIR, Config, load_config
from meshnode.daemon.offline_checks import (
    check_certificate,
    check_database,
    check_firewall,
    check_identity,
    check_listeners,
    check_ports,
    is_running,
)
from meshnode.domain.diagnosis import Finding, is_well, judge_interfaces, judge_isolation, judge_multicast
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import parse_host_port

DIAGNOSE_S: Final = 60.0
SIGNS: Final = {
    "ok": ("✓", "green"),
    "none": ("–", "bright_black"),
    "warning": ("!", "yellow"),
    "failure": ("✗", "red"),
}
_BLOCKED: Final = frozenset({"multicast_blocked", "no_multicast"})


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Find out why nodes don't see each other: a verdict for each stage, and the fix. Exit 0 only if all is well."""
    daemon, directory, findings = _find(ctx)
    config, of_config = _config()
    findings += of_config
    findings += [check_identity(directory), check_database(directory)]
    status = _call(daemon, "/api/v1/node", findings)
    running_version = None if status is None else str(status["node"]["version"])
    if status is not None:
        findings.append(check_listeners(status["listeners"]))
    elif not is_running(directory):
        findings.append(check_ports(config))
        findings += check_certificate(config, datetime.now(UTC))
    port = _port(config) if status is None else int(status["node"]["port"])
    firewall = check_firewall(port)
    findings.append(firewall)
    ladder: dict[str, Any] = {}
    if daemon is not None and status is not None:
        say("Trying the network and every peer …")
        answer = _call(daemon, "/api/v1/doctor", findings)
        if answer is not None:
            findings += msgspec.convert(answer["findings"], list[Finding])
            ladder = answer["ladder"]
    else:
        findings += _network_offline(config)
    findings += [check_unit(is_running=daemon is not None), check_version(running_version)]
    findings = [_with_exact_fix(finding, firewall) for finding in findings]
    well = is_well(findings)
    if as_json:
        print_json({"well": well, "findings": [msgspec.to_builtins(f) for f in findings], "ladder": ladder})
    else:
        _print(findings)
        _print_ladder(ladder, findings)
        click.echo()
        click.echo("All is well." if well else "Not all is well.")
    return 0 if well else 1


def _find(ctx: click.Context) -> tuple[ControlClient | None, Path, list[Finding]]:
    """The running node, where its data is, and what there is to say about that."""
    directory = home_directory(ctx)
    try:
        daemon = daemon_of(directory)
        if daemon is None:
            daemon = find_daemon(ctx.find_root().obj)
            directory = SYSTEM_DATA_DIR
    except MeshError as error:
        starting = " (it is starting, or hangs)" if is_running(directory) else ""
        fix = error.next_step if error.code != "no_daemon" else "`meshnode run`, or `sudo meshnode service install`"
        found = Finding(stage="node", verdict="failure", detail=f"{error.detail}{starting}", cause=error.code, fix=fix)
        return None, directory, [found]
    return daemon, directory, [Finding(stage="node", verdict="ok", detail=f"runs on {directory}")]


def _config() -> tuple[Config, list[Finding]]:
    try:
        return load_config().config, []
    except MeshError as error:
        finding = Finding(
            stage="configuration", verdict="failure", detail=error.detail, cause=error.code, fix=error.next_step
        )
        return Config(), [finding]


def _port(config: Config) -> int:
    return parse_host_port(config.listen.public[0])[1] or 6969


def _call(daemon: ControlClient | None, path: str, findings: list[Finding]) -> Any:
    """The node's answer; if there is none, that is a finding."""
    if daemon is None:
        return None
    try:
        return daemon.call("GET", path, timeout_s=DIAGNOSE_S)
    except MeshError as error:
        fix = error.next_step or "restart the node"
        findings.append(Finding(stage="node", verdict="failure", detail=error.detail, cause=error.code, fix=fix))
        return None


def _network_offline(config: Config) -> list[Finding]:
    """The network as this command sees it, with no node to ask."""
    from time import monotonic

    from meshnode.daemon.compose_doctor import OwnLink
    from meshnode.daemon.system import SystemEntropy
    from meshnode.transport.interfaces import OwnAddresses

    listeners = [(host, port or 6969) for host, port in map(parse_host_port, config.listen.public)]
    link = OwnLink(OwnAddresses(listeners, monotonic), SystemEntropy())
    there = link.interfaces()

    async def look() -> Any:
        return await asyncio.gather(link.multicast(), link.router())

    evidence, router = asyncio.run(look())
    return [
        judge_interfaces(there.used, there.left_out, there.error),
        *judge_multicast(evidence, [], []),
        judge_isolation(evidence, [], *router),
    ]


def _with_exact_fix(finding: Finding, firewall: Finding) -> Finding:
    """Where our own firewall is the likely reason, its own line is the fix."""
    if finding.cause in _BLOCKED and firewall.verdict == "failure" and firewall.cause == "firewall":
        return msgspec.structs.replace(finding, fix=firewall.fix)
    return finding


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.stage) for finding in findings)
    for finding in findings:
        sign, colour = SIGNS[finding.verdict]
        click.echo(f"{click.style(sign, fg=colour, bold=True)} {finding.stage.ljust(width)}  {finding.detail}")
        if finding.fix and (finding.verdict != "none" or finding.cause != "client_isolation"):
            click.echo(f"  {' ' * width}  → {as_typed(finding.fix)}")


def _print_ladder(ladder: dict[str, Any], findings: list[Finding]) -> None:
    if not ladder:
        return
    click.echo()
    click.echo("The search for peers out of reach:")
    for node_id, rungs in ladder.items():
        click.echo(f"  {node_id}")
        for rung in rungs:
            click.echo(f"    {rung['stage'].replace('_', ' ').ljust(15)}  {as_typed(rung['detail'])}")


def tell_network(daemon: ControlClient) -> None:
    """On stderr, what the network stages find amiss: for a command that saw nobody."""
    findings: list[Finding] = []
    answer = _call(daemon, "/api/v1/doctor?stages=network", findings)
    if answer is not None:
        findings += msgspec.convert(answer["findings"], list[Finding])
    firewall = check_firewall(int(daemon.call("GET", "/api/v1/node")["node"]["port"]))
    findings = [_with_exact_fix(finding, firewall) for finding in [firewall, *findings]]
    amiss = [f for f in findings if not is_well([f]) or f.cause == "client_isolation"]
    if not amiss:
        say("The network looks well from here; `meshnode doctor` there may tell more.")
    for finding in amiss:
        say(f"{SIGNS[finding.verdict][0]} {finding.detail}")
        say(f"  → {finding.fix}")
