"""Every failure a person or a program can meet: a stable code, an HTTP status, an exit code, a next step.

Codes are never reused. Source: docs/protocol.md, Answers; RFC 9457 for the shape on HTTP.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Code(NamedTuple):
    """What one error code means to HTTP, to a shell and to a person."""

    status: int  # HTTP
    exit_code: int  # sysexits: 1 failure, 2 usage, 69 no daemon, 75 try later, 77 not permitted, 78 configuration
    next_step: str


CODES: Final[dict[str, Code]] = {
    "invalid_params": Code(400, 2, "correct the named field"),
    "not_paired": Code(401, 77, "pair the two nodes: `meshnode pair` there, `meshnode join` here"),
    "token_expired": Code(401, 1, "open another session"),
    "token_required": Code(401, 77, "send the token as `Authorization: Bearer TOKEN`"),
    "bad_pin": Code(403, 77, "compare the PIN with the one shown on the other node and try again"),
    "not_local": Code(403, 77, "pair from the same network, or set pairing.lan_only = false"),
    "not_permitted": Code(403, 77, "ask the owner: `meshnode node trust ID LEVEL` on that node"),
    "bad_origin": Code(403, 77, "call from the node's own pages or without an Origin header"),
    "ticket_unknown": Code(403, 77, "run `meshnode open` again: its link works once, within a minute"),
    "proxy_not_configured": Code(403, 77, "add the proxy's address to http.trusted_proxies"),
    "code_unknown": Code(404, 77, "open a new offer with `meshnode pair` and use its invite"),
    "no_open_offer": Code(404, 1, "run `meshnode pair` on the other node"),
    "not_found": Code(404, 1, "check the name or address"),
    "request_unknown": Code(404, 1, "`meshnode requests list` shows the open ones"),
    "node_unknown": Code(404, 1, "`meshnode nodes` lists the known ones"),
    "method_not_allowed": Code(405, 1, "see the Allow header"),
    "identity_mismatch": Code(409, 77, "an id or key is already known otherwise; `meshnode nodes` on both sides"),
    "code_used": Code(409, 77, "every code works once; ask for a new one"),
    "approval_pending": Code(409, 75, "approve it on the node: `meshnode requests list`, then `… approve ID`"),
    "use_mesh_heartbeat": Code(409, 1, "a peer's heartbeat goes to /mesh/v1/heartbeat"),
    "pairing_busy": Code(409, 75, "somebody else is pairing with that node; try again in a few seconds"),
    "session_over": Code(409, 1, "start again: `meshnode join`"),
    "version_unsupported": Code(409, 1, "upgrade meshnode on the older of the two nodes"),
    "offer_burned": Code(410, 77, "too many wrong PINs; open a new offer with `meshnode pair`"),
    "offer_replaced": Code(410, 1, "a newer offer was opened; use that one"),
    "offer_closed": Code(410, 1, "the offer was cancelled; open a new one with `meshnode pair`"),
    "code_expired": Code(410, 1, "the offer has expired; open a new one with `meshnode pair`"),
    "body_too_large": Code(413, 1, "send less"),
    "unsupported_media_type": Code(415, 1, "send application/json"),
    "locked_out": Code(429, 75, "wait, use the invite, or run `meshnode pair unlock` on the other node"),
    "rate_limited": Code(429, 75, "wait and try again"),
    "request_timeout": Code(408, 75, "send the whole request within five seconds"),
    "internal_error": Code(500, 1, "look at the node's log; please report it"),
    "database_error": Code(503, 75, "check the disk of that node; `meshnode status` there says more"),
    "disk_full": Code(503, 75, "free some space on that node's disk; it goes on by itself then"),
    "starting": Code(503, 75, "try again in a second"),
    # met by the calling side only, never sent
    "unreachable": Code(502, 1, "check that the node runs, its address and its firewall (TCP port 6969)"),
    "bad_answer": Code(502, 1, "is that address really a meshnode? check host and port"),
    "certificate_mismatch": Code(502, 77, "this may be a machine in between; open a new offer and use its invite"),
    "wrong_node_at_address": Code(502, 1, "another node answers there; wait for the right one to announce itself"),
    "nobody_found": Code(404, 1, "run `meshnode pair` on the other node, or name its address: `meshnode join HOST`"),
    # met before there is a node to ask
    "no_daemon": Code(503, 69, "start one with `meshnode run`"),
    "daemon_unreadable": Code(503, 77, "it is the system's node: use `sudo meshnode …`"),
    "identity_locked": Code(503, 75, "another meshnode uses this data directory; stop it first, or choose --data-dir"),
    "port_in_use": Code(503, 75, "stop the other program or choose another port with --listen HOST:PORT"),
    "bad_identity": Code(500, 78, "restore the named file from a backup, or `meshnode identity reset --yes`"),
    "bad_database": Code(500, 78, "restore the database from a backup, or upgrade meshnode"),
    "bad_config": Code(500, 78, "correct the named setting"),
    "bad_backup": Code(500, 78, "use another backup, or a newer meshnode"),
    "bad_passphrase": Code(403, 77, "try the passphrase again, or another copy of the file"),
    "identity_exists": Code(409, 1, "choose another --data-dir, or `--force`, which keeps what is there as .bak"),
    "node_answers": Code(409, 75, "stop that node for good first; `--force` restores all the same"),
    "no_systemd": Code(503, 1, "start the node yourself: `meshnode run`"),
    "needs_root": Code(403, 77, "use sudo, or `meshnode service install --user` for a node of your own"),
    "install_failed": Code(500, 1, "correct what is named and run the command again; it goes on where it stopped"),
    "usage": Code(400, 2, "see --help"),
}  # fmt: skip

# The store refuses; what lives in memory goes on.
OF_THE_STORE: Final = frozenset({"database_error", "disk_full"})

# What the calling side says of its own situation: another node's answer with one of these is no answer.
NEVER_SENT: Final = frozenset(
    {"unreachable", "bad_answer", "certificate_mismatch", "wrong_node_at_address", "nobody_found"}
    | {"no_daemon", "daemon_unreadable", "identity_locked", "port_in_use"}
    | {"bad_identity", "bad_database", "bad_config", "bad_backup", "bad_passphrase", "identity_exists", "node_answers"}
    | {"no_systemd", "needs_root", "install_failed", "usage"}
)


class MeshError(Exception):
    """A refusal with a code of `CODES`; `detail` is a sentence a person can act on."""

    def __init__(self, code: str, detail: str, *, retry_after_s: float | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members = members  # what the answer carries besides, such as attempts_left

    @property
    def status(self) -> int:
        """The HTTP status of this code."""
        return CODES[self.code].status if self.code in CODES else 500

    @property
    def exit_code(self) -> int:
        """The process exit code of this code."""
        return CODES[self.code].exit_code if self.code in CODES else 1

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return CODES[self.code].next_step if self.code in CODES else ""


def invalid(field: str, why: str) -> MeshError:
    """An `invalid_params` that names the field."""
    return MeshError("invalid_params", f"{field}: {why}", field=field)
