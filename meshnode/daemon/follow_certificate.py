"""The certificate that is served: the owner's, read again when its files change, or ours, renewed before it runs out.

Peers follow without pairing anew: they pin what the announcement says, which the node's key signs. An open offer
keeps its invite true: the former certificate is served until it is over. Source: docs/protocol.md, Sessions, The pin.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meshnode.config import Config
from meshnode.domain.errors import MeshError
from meshnode.domain.served_certificate import RENEW_FIX, ServedCertificate, has_expired, judge_dates, must_renew
from meshnode.node.use_cases import UseCases
from meshnode.store.tls_files import TlsIdentity, load_or_make_tls, load_own_tls, make_tls, stamp_of
from meshnode.transport.tls_listener import TlsContexts

LOOK_S: Final = 60.0
WAIT_S: Final = 3600.0  # as long as an offer may be open: one after the other doesn't hold it up for ever
TROUBLE: Final = "certificate"

log = logging.getLogger(__name__)


def load_tls(config: Config, directory: Path, node_id: str, now: datetime) -> TlsIdentity:
    """The configured certificate, else ours. Raises `bad_config` naming the setting."""
    files = own_files(config)
    return load_or_make_tls(directory, node_id, now) if files is None else load_own_tls(*files, now)


def own_files(config: Config) -> tuple[Path, Path] | None:
    """Where the owner's certificate and key are, if they have any."""
    if config.tls.certificate is None or config.tls.key is None:
        return None
    return Path(config.tls.certificate).expanduser(), Path(config.tls.key).expanduser()


def judge_own(tls: TlsIdentity, now: datetime) -> ServedCertificate:
    """What there is to tell about an owner's certificate that can be served."""
    served = ServedCertificate(sha256=tls.sha256, facts=tls.facts, is_owners=True)
    if dates := judge_dates(tls.facts, now):
        return msgspec.structs.replace(served, trouble=dates, fix=RENEW_FIX, is_expired=has_expired(tls.facts, now))
    if tls.key_mode & 0o007:
        told = f"everybody on this machine can read {tls.key} (mode {tls.key_mode:o})"
        return msgspec.structs.replace(served, trouble=told, fix=f"`chmod 600 {tls.key}`")
    return served


class FollowCertificate:
    """Looks once a minute; serves and announces what it finds."""

    def __init__(self, config: Config, directory: Path, tls: TlsIdentity, use: UseCases, contexts: TlsContexts) -> None:
        self._files = own_files(config)
        self._directory = directory
        self._tls = tls
        self._use = use
        self._contexts = contexts
        self._waits_since: float | None = None
        self._told = ""
        self._tell("")

    async def look(self) -> None:
        """Serve what is on file by now; what can't be served leaves the former, and the owner is told why."""
        trouble = ""
        try:
            if self._is_due():
                found = None if self._files is None else load_own_tls(*self._files, self._use.clock.now())
                if (found is not None and found.sha256 == self._tls.sha256) or await self._may_change():
                    self._serve(found or self._renew())
        except (MeshError, OSError, ValueError) as error:  # ValueError: another file than the one just looked at
            why = error.detail if isinstance(error, MeshError) else getattr(error, "strerror", None) or str(error)
            what = "your new certificate can't be taken up" if self._files else "the certificate can't be renewed"
            trouble = f"{what}, the former is served on: {why}"
        self._tell(trouble)
        try:
            await self._use.me.refresh()  # also what the database refused the last time
        except MeshError as error:
            log.warning("the new certificate can't be announced yet: %s", error.detail)

    def _is_due(self) -> bool:
        if self._files is not None:
            return stamp_of(*self._files) != self._tls.stamp
        return must_renew(self._tls.facts, self._use.clock.now())

    async def _may_change(self) -> bool:
        """Not while an offer is open: its invite, perhaps on a screen by now, names the certificate served."""
        use = self._use
        if use.offers.current is None:
            self._waits_since = None
            return True
        now = use.clock.monotonic()
        if self._waits_since is None:
            self._waits_since = now
            log.info("another TLS certificate is served as soon as the open offer is over")
        if now - self._waits_since < WAIT_S:
            return False
        await use.offers.cancel()
        log.warning("the open offer was closed: its invite names the former TLS certificate; open another")
        return True

    def _renew(self) -> TlsIdentity:
        return make_tls(self._directory, self._use.me.identity.id, self._use.clock.now())

    def _serve(self, found: TlsIdentity) -> None:
        """Served first, announced then: who meets it before asks for the proof, which is of what is served."""
        self._contexts.swap(found.path, found.sha256, found.key)
        self._tls, self._waits_since = found, None
        self._use.me.certificate_hash = found.sha256
        log.info("another TLS certificate is served from now on, until %s", found.facts.not_after.date())

    def _tell(self, trouble: str) -> None:
        """Say in `status` what is served, and what is wrong with it; in the log, when that changes."""
        tls, now = self._tls, self._use.clock.now()
        served = ServedCertificate(sha256=tls.sha256, facts=tls.facts, is_owners=False)
        if self._files is not None:
            served = judge_own(tls, now)
        if trouble:
            served = msgspec.structs.replace(
                served,
                trouble="; ".join(filter(None, (trouble, served.trouble))),
                fix="correct the named file, then wait a minute" if self._files else "make room on the disk",
            )
        self._use.status.certificate = served
        if served.trouble:
            self._use.status.degrade(TROUBLE, f"{served.trouble}; {served.fix}")
        else:
            self._use.status.recover(TROUBLE)
        if served.trouble and served.trouble != self._told:
            log.warning("%s", served.trouble)
        self._told = served.trouble
