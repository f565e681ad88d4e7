"""The whole object graph of a node without its sockets: real database, a clock and randomness held by the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshnode.config import load_config
from meshnode.daemon.compose import Graph, compose
from meshnode.daemon.lifecycle import load_state
from meshnode.daemon.offline import DataDirectory, open_data_directory
from meshnode.domain.device import DeviceClaim
from meshnode.domain.peer import MeshNode, Status
from meshnode.domain.principal import OWNER
from meshnode.node.code_records import CodeRules, OpenedCode
from meshnode.node.device_tokens import DeviceSession
from meshnode.node.pair_device import Caller, TokenRules
from meshnode.node.redeem_code import Redeemed, Redemption
from meshnode.node.roster import Entry
from meshnode.node.session import Session
from meshnode.node.use_cases import UseCases
from meshnode.store.database import Database
from meshnode.store.tls_files import load_or_make_tls
from meshnode.transport.interfaces import OwnAddresses
from tests.fakes.clock import ManualClock, SeededEntropy

DIALECT = "salita"


class BareNode:
    """Start with `start`, end with `stop`; `restart` is what a kill and a new start leave of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.entropy = SeededEntropy()
        self.graph: Graph
        self.database: Database
        self._data: DataDirectory

    @property
    def use(self) -> UseCases:
        """The use cases."""
        return self.graph.use

    async def start(self) -> BareNode:
        """Open the data directory and load it."""
        config = load_config({}, {"MESHNODE_CONFIG": "/dev/null"}).config
        self._data = open_data_directory(self.path, self.clock, self.entropy)
        tls = load_or_make_tls(self._data.path, self._data.identity.id, self.clock.now())
        addresses = OwnAddresses([("127.0.0.1", 6969)], self.clock.monotonic)
        self.database = await Database.open(self._data.database)
        self.graph = compose(config, self._data, self.database, tls, addresses, self.clock, self.entropy)
        await load_state(self.graph, self.database, self._data, 6969, addresses, tls, self.clock)
        return self

    async def stop(self) -> None:
        """Nothing is written on the way out."""
        await self.graph.http.close()
        await self.database.close()
        self._data.close()

    async def restart(self) -> None:
        """As after `kill -9`."""
        await self.stop()
        await self.start()

    def put_peer(
        self,
        name: str = "peer",
        status: Status = "online",
        addresses: Sequence[str] = ("192.0.2.1",),
        silent_s: float = 0.0,
    ) -> Entry:
        """A paired peer nobody paired, last heard `silent_s` ago; in memory only."""
        node = MeshNode(
            id=name, name=name, hostname=addresses[0], port=6969, status=status, trust="paired", trust_level=1,
            public_key=name.encode().ljust(32, b"."), created_at=self.clock.now(), addresses=tuple(addresses),
        )  # fmt: skip
        return self.graph.roster.put(node, self.clock.monotonic() - silent_s)

    # ── what a device and its owner do ─────────────────────────────────────────────────────────────────────────────

    async def open(self, **rules: Any) -> OpenedCode:
        """A code."""
        return await self.use.codes.open(CodeRules(**{"dialect": DIALECT, "lifetime_s": 300.0, **rules}))

    async def redeem(
        self,
        offer: OpenedCode | str,
        device: str = "phone",
        *,
        token: TokenRules | None = None,
        session: Session | None = None,
        listener: Any = "public",
        **sent: Any,
    ) -> Redeemed:
        """A device redeems a code, with everything right unless `sent` says otherwise."""
        right: dict[str, Any] = {"dialect": DIALECT, "format": "uuid"}
        right["claim"] = DeviceClaim(id=device, name=device.title(), hostname="192.0.2.9")
        if isinstance(offer, OpenedCode):
            secrets = offer.secrets
            right |= {"dialect": offer.code.dialect, "format": offer.code.format, "code": secrets.code}
            if secrets.pin:
                right |= {"pin": secrets.pin, "linking_code": secrets.linking_code.replace("-", "")}
        else:
            right["code"] = offer
        return await self.use.redeeming.redeem(
            Redemption(
                caller=Caller(address="192.0.2.9", source="192.0.2.9", session=session, listener=listener),
                token=token or TokenRules(),
                **(right | sent),
            )
        )

    async def pair(self, device: str = "phone", **how: Any) -> str:
        """A device pairs by a code of ours; its token."""
        return str((await self.redeem(await self.open(), device, **how)).admitted.token)

    def session(self, token: str) -> DeviceSession:
        """The live session of a token. Raises `token_expired`."""
        session = self.use.sessions.find(token)
        assert isinstance(session, DeviceSession)
        return session

    def row(self, node_id: str) -> MeshNode:
        """A node as now in memory."""
        entry = self.graph.roster.get(node_id)
        assert entry is not None
        return entry.snapshot()

    async def stored(self, node_id: str) -> MeshNode | None:
        """A node as in the table."""
        async with self.database.read() as tx:
            return await tx.nodes.get(node_id)

    async def revoke(self, node_id: str, **how: Any) -> None:
        """The owner revokes a node."""
        await self.use.nodes.revoke(OWNER, node_id, **how)

    async def set_level(self, node_id: str, level: int) -> None:
        """The owner gives a node a level."""
        await self.use.nodes.set_trust(OWNER, node_id, level)

    async def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, beside the tables' own code."""
        rows = await self.database._reader.execute_fetchall(sql, values)
        return [tuple(row) for row in rows]
