"""Which network interfaces we use, which we leave out, and why: for people who wonder."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from meshnode.node.diagnose_node import Interfaces
from meshnode.transport.interfaces import own_addresses


def report_interfaces(chosen: Sequence[str]) -> Interfaces:
    """As the system lists them now; `chosen` are the addresses that we speak on."""
    import ifaddr

    error = ""
    with_address: set[str] = set()
    try:
        with_address = {str(adapter.nice_name) for adapter in ifaddr.get_adapters()}
    except OSError as refusal:
        error = refusal.strerror or str(refusal)
    real = [(entry.interface, entry.address) for entry in own_addresses()]
    used = [(name, address) for name, address in real if address.split("%", 1)[0] in chosen]
    used += [("", address) for address in chosen if address not in [a.split("%", 1)[0] for _, a in used]]
    names = {name for name, _ in used}
    names_real = {name for name, _ in real}
    left_out = []
    for name in _names():
        if name in names or name.startswith("lo"):
            continue
        if name in names_real:
            why = "not listened on"
        elif name in with_address:
            why = "of containers or virtual machines"
        else:
            why = "down" if _is_down(name) else "no address"
        left_out.append((name, why))
    return Interfaces(tuple(used), tuple(left_out), error)


def _names() -> list[str]:
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


def _is_down(name: str) -> bool:
    with suppress(OSError):
        return Path(f"/sys/class/net/{name}/operstate").read_text().strip() == "down"
    return False
