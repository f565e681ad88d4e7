"""Does a node with this identity still run somewhere? Two with one key would cut each other off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from meshnode.crypto.jws import verify_jws
from meshnode.dialects.mesh.client import MeshClient
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity
from meshnode.domain.statements import IDENTITY_TYPE, IdentityStatement, decode_statement
from meshnode.node.discover_peers import DiscoverPeers
from meshnode.node.ports import Entropy, PeerClient
from meshnode.transport.http_client import HttpClient
from meshnode.transport.interfaces import OwnAddresses

MDNS_S: Final = 3.0
USUAL_PORT: Final = 6969
PLACES_MAX: Final = 24

Place = tuple[str, int]
log = logging.getLogger(__name__)


async def find_old_node(
    identity: Identity, places: Sequence[Place], entropy: Entropy, *, by_mdns: bool = True
) -> Place | None:
    """Where a node answers and proves that it has this identity's key; None if none does.

    Asked are its last addresses, this machine, and whoever names its id by mDNS. Only a proof counts: a stranger who
    merely claims the id must not keep a backup from being restored.
    """
    http = HttpClient()
    client = MeshClient(http)
    ports = dict.fromkeys([*(port for _, port in places), USUAL_PORT])
    here = [(host, port) for host in ("127.0.0.1", "::1") for port in ports]
    try:
        found = await _first(client, identity, [*places, *here], entropy)
        if found is None and by_mdns:
            seen = [place for place in await _sighted(identity.id) if place not in places]
            found = await _first(client, identity, seen, entropy)
        return found
    finally:
        await http.close()


async def _first(client: PeerClient, identity: Identity, places: Sequence[Place], entropy: Entropy) -> Place | None:
    asked = list(dict.fromkeys(places))[:PLACES_MAX]
    answers = await asyncio.gather(*(_is_it(client, identity, place, entropy.draw(32)) for place in asked))
    return next((place for place, yes in zip(asked, answers, strict=True) if yes), None)


async def _is_it(client: PeerClient, identity: Identity, place: Place, nonce: bytes) -> bool:
    try:
        answer = await client.identity(*place, nonce)
        if answer.id != identity.id or answer.proof is None:
            return False
        payload = verify_jws(identity.public_key, IDENTITY_TYPE, answer.proof)
        said = decode_statement(payload, IdentityStatement, "proof")
    except MeshError:
        return False
    certificate = encode_base64url(answer.certificate_hash)
    return said == IdentityStatement(id=identity.id, tls_sha256=certificate, nonce=encode_base64url(nonce))


async def _sighted(node_id: str) -> list[Place]:
    """The addresses that mDNS gives for an id; empty where there is no multicast."""
    from zeroconf.asyncio import AsyncZeroconf

    from meshnode.transport.mdns_browse import MdnsBrowser

    interfaces = OwnAddresses([("0.0.0.0", USUAL_PORT), ("::", USUAL_PORT)], monotonic).for_multicast()  # noqa: S104 - all there are
    discovery = DiscoverPeers("")
    found = asyncio.Event()
    discovery.on_sighting = lambda sighting: found.set() if sighting.id == node_id else None
    try:
        if not interfaces:
            return []
        zeroconf = AsyncZeroconf(interfaces=interfaces)
        browser = MdnsBrowser(zeroconf, discovery)
        try:
            browser.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(MDNS_S):
                    await found.wait()
        finally:
            await browser.stop()
            await zeroconf.async_close()
    except Exception as error:  # noqa: BLE001 - whatever mDNS meets, the other ways have been asked
        log.info("mDNS does not work here (%s); not asked", error)
    return [(address, s.port) for s in discovery.list() if s.id == node_id for address in s.addresses]
