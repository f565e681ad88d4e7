"""What can be looked at without a running node, and changes nothing: identity, database, disk, ports, firewall."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meshnode.config import Config
from meshnode.daemon.follow_certificate import judge_own, own_files
from meshnode.daemon.offline import DATABASE_FILE
from meshnode.domain.diagnosis import Finding
from meshnode.domain.errors import CODES, MeshError
from meshnode.domain.firewall_rules import (
    Firewall,
    judge_firewall,
    read_firewalld,
    read_iptables,
    read_nft,
    read_ufw,
)
from meshnode.domain.invite import parse_host_port
from meshnode.domain.served_certificate import judge_certificate
from meshnode.store.data_lock import is_held
from meshnode.store.identity_file import IDENTITY_FILE, read_identity
from meshnode.store.look_into_database import look_into_database
from meshnode.store.migrate import find_migrations
from meshnode.store.tls_files import load_own_tls
from meshnode.transport.tls_listener import bind

FREE_MIN_BYTES: Final = 16 * 1024 * 1024
COMMAND_S: Final = 5.0
CONNECT_S: Final = 2.0
_SBIN: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def is_running(directory: Path) -> bool:
    """Whether a node holds this directory, even one that is still starting."""
    try:
        return is_held(directory)
    except OSError:
        return False


# ── identity and database ──────────────────────────────────────────────────────────────────────────────────────────


def check_identity(directory: Path) -> Finding:
    """`identity`: the file, its mode, and whether it belongs to the database beside it."""
    path, stage = directory / IDENTITY_FILE, "identity"
    restore = CODES["bad_identity"].next_step

    def failure(detail: str, fix: str = restore) -> Finding:
        return Finding(stage=stage, verdict="failure", detail=detail, cause="bad_identity", fix=fix)

    own = _own_row(directory / DATABASE_FILE)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not os.access(path, os.R_OK):
            raise PermissionError
        stored = read_identity(path)  # narrows the mode, as a start would
    except FileNotFoundError:
        if own is not None:
            return failure(f"{path} is missing, but the database beside it belongs to {own[0]}")
        return Finding(stage=stage, verdict="none", detail=f"none in {directory} yet; made at the first start")
    except PermissionError:
        return Finding(stage=stage, verdict="none", detail=f"{path} is not yours to read", fix="`sudo meshnode doctor`")
    except MeshError as error:
        return failure(error.detail)
    if stored is None:
        return failure(f"{path} has just gone")
    key = None if stored.key is None else stored.key.public_key
    if own is not None and (own[0] != stored.id or (None not in (key, own[1]) and key != own[1])):
        return failure(f"{path} says {stored.id}, the database beside it belongs to {own[0]} or another key",
                       "put the two files back together that belong together")  # fmt: skip
    was = f"; {path} was open to others (mode {mode:o}), set to 600" if mode & 0o077 else ""
    return Finding(stage=stage, verdict="ok", detail=f"{stored.id} ({stored.name}){was}")


def _own_row(database: Path) -> tuple[str, bytes | None] | None:
    try:
        with closing(look_into_database(database, CONNECT_S)) as connection:
            row = connection.execute("SELECT id, public_key FROM mesh_nodes WHERE is_current = 1").fetchone()
    except (OSError, sqlite3.Error):
        return None  # told by its own stage
    return None if row is None else (row[0], row[1])


def check_database(directory: Path) -> Finding:
    """`database`: readable, whole, of a version that we know, with room to grow."""
    path, stage = directory / DATABASE_FILE, "database"
    known = len(find_migrations())
    try:
        with closing(look_into_database(path, CONNECT_S)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except FileNotFoundError:
        return Finding(stage=stage, verdict="none", detail=f"none in {directory} yet; made at the first start")
    except OSError as error:
        if error.errno == errno.EACCES:
            return Finding(stage=stage, verdict="none", detail=f"{path} is not yours to read",
                           fix="`sudo meshnode doctor`")  # fmt: skip
        return Finding(stage=stage, verdict="failure", detail=f"{error.filename}: {error.strerror}",
                       cause="bad_database", fix="look at it, and move it away")  # fmt: skip
    except sqlite3.Error as error:
        return Finding(stage=stage, verdict="failure", detail=f"{path}: {error}", cause="bad_database",
                       fix="check the disk, then restore the database from a backup")  # fmt: skip
    if said != "ok":
        return Finding(stage=stage, verdict="failure", detail=f"{path} is damaged: {said}", cause="bad_database",
                       fix="stop the node and restore the database from a backup")  # fmt: skip
    if version > known:
        return Finding(stage=stage, verdict="failure", detail=f"{path} is of a newer meshnode (schema {version})",
                       cause="bad_database", fix="upgrade meshnode")  # fmt: skip
    if not os.access(directory, os.W_OK):
        return Finding(stage=stage, verdict="warning", detail=f"{directory} can't be written", cause="read_only",
                       fix="`sudo meshnode doctor`, or remount the disk for writing")  # fmt: skip
    free = shutil.disk_usage(directory).free
    if free < FREE_MIN_BYTES:
        return Finding(stage=stage, verdict="failure", detail=f"only {free // 1024} KiB left on its disk",
                       cause="disk_full", fix=f"make room on the disk of {directory}")  # fmt: skip
    later = f", to be migrated from schema {version} at the next start" if version < known else ""
    return Finding(stage=stage, verdict="ok", detail=f"whole{later}")


def check_certificate(config: Config, now: datetime) -> list[Finding]:
    """`certificate`, with no node running: whether the owner's own, if there is one, lets the next one start."""
    files = own_files(config)
    if files is None:
        return []
    try:
        tls = load_own_tls(*files, now)
    except MeshError as error:
        return [Finding(stage="certificate", verdict="failure", detail=error.detail, cause=error.code,
                        fix=error.next_step)]  # fmt: skip
    return [judge_certificate(judge_own(tls, now))]


# ── ports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_ports(config: Config) -> Finding:
    """`ports`, with no node running: whether the next one could have them."""
    stage = "ports"
    for text in config.listen.public:
        host, port = parse_host_port(text)
        if port == 0:
            continue
        try:
            bind(host, port).close()
        except MeshError as error:
            if error.code == "bad_config" and host == "::":
                continue  # a machine without IPv6
            fix = f"stop it, or choose another port: `meshnode run --listen 0.0.0.0:{port + 1}`"
            return Finding(stage=stage, verdict="failure", detail=f"{error.detail}{_holder(port)}",
                           cause=error.code, fix=fix)  # fmt: skip
    return Finding(stage=stage, verdict="ok", detail=f"free: {', '.join(config.listen.public)}")


def _holder(port: int) -> str:
    said = _ask("ss", "-Hltnp", f"sport = :{port}") or ""
    found = re.search(r'users:\(\("([^"]{1,64})",pid=(\d+)', said)
    return f": {found[1]}, process {found[2]}" if found else ""


def check_listeners(urls: Sequence[str]) -> Finding:
    """`ports` of a running node: whether each accepts."""
    stage = "ports"
    silent = []
    for url in urls:
        scheme, _, place = url.partition("://")
        host, port = parse_host_port(place.split("/", 1)[0], 443 if scheme == "https" else 80)
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where others listen
        try:
            socket.create_connection((target, port), timeout=CONNECT_S).close()
        except OSError as error:
            silent.append(f"{url} ({error.strerror or error})")
    if silent:
        return Finding(stage=stage, verdict="failure", detail=f"no connection to {', '.join(silent)}",
                       cause="not_accepting", fix="restart the node and look at its log")  # fmt: skip
    return Finding(stage=stage, verdict="ok", detail=f"accept: {', '.join(urls)}")


# ── firewall ───────────────────────────────────────────────────────────────────────────────────────────────────────


def check_firewall(port: int) -> Finding:
    """`firewall`: which is active, and whether it lets us in. Only asks."""
    if not sys.platform.startswith("linux"):
        return judge_firewall((), port, f"not on {sys.platform}")
    found, unseen = _firewalls(port)
    return judge_firewall(found, port, unseen)


def _firewalls(port: int) -> tuple[list[Firewall], str]:
    found: list[Firewall] = []
    with suppress(OSError):
        if re.search(r"^ENABLED=yes", Path("/etc/ufw/ufw.conf").read_text(), re.MULTILINE):
            found.append(read_ufw(_ask("ufw", "status", "verbose"), port))
    if (_ask("firewall-cmd", "--state") or "").strip() == "running":
        found.append(read_firewalld(_ask("firewall-cmd", "--list-all"), port))
    if found:  # what they wrote into the kernel is theirs to tell
        return found, ""
    if _which("nft"):
        ruleset = _ask("nft", "-j", "list", "ruleset")
        if ruleset is None:
            return [], "only root may look: `sudo meshnode doctor`"
        try:
            nft = read_nft(msgspec.json.decode(ruleset.encode()), port)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return [], "nft says what this program can't read"
        return ([nft] if nft else []), ""
    if _which("iptables"):
        rules = _ask("iptables", "-S", "INPUT")
        if rules is None:
            return [], "only root may look: `sudo meshnode doctor`"
        iptables = read_iptables(rules, port)
        return ([iptables] if iptables else []), ""
    return [], ""


def _which(name: str) -> str | None:
    return shutil.which(name, path=_SBIN)


def _ask(name: str, *argv: str) -> str | None:
    """What a command prints; None if it isn't here, refuses or takes too long."""
    path = _which(name)
    if path is None:
        return None
    try:
        done = subprocess.run([path, *argv], capture_output=True, text=True, timeout=COMMAND_S, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None
