"""`/metrics`: the node's counts as Prometheus text, put together when they are asked for.

Label values come from our own code: never an id, an address, a path or a name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sized
from itertools import accumulate
from typing import TYPE_CHECKING

from aiohttp import web

from meshnode.domain.principal import Action
from meshnode.node.counters import DURATION_BOUNDS_S, Counters
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Roster
from meshnode.transport.http_server import Call, Route

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class NodeCollector:
    """Reads the counts when Prometheus' registry asks; see `prometheus_client.registry.Collector`."""

    def __init__(self, counters: Counters, roster: Roster, sockets: Sized, status: ReportStatus, version: str) -> None:
        self._counters = counters
        self._roster = roster
        self._sockets = sockets
        self._status = status
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every metric of ours, as of now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        counters = self._counters
        for name, what, labels, counts in (
            ("meshnode_pairing_outcomes_total", "Pairings tried", ("dialect", "format", "outcome"), counters.outcomes),
            ("meshnode_pairing_codes_made_total", "Codes and offers made", ("dialect", "format"), counters.codes_made),
            ("meshnode_limit_hits_total", "Calls refused by a limit", ("dialect", "limit"), counters.limit_hits),
            ("meshnode_sweep_runs_total", "Sweeps of expired requests", ("dialect",), counters.sweeps),
        ):
            family = CounterMetricFamily(name, f"{what}.", labels=labels)
            for key, count in counts.items():
                family.add_metric((key,) if isinstance(key, str) else key, count)
            yield family
        durations = HistogramMetricFamily(
            "meshnode_pairing_duration_seconds", "From a code's making to its pairing.", labels=("dialect",)
        )
        bounds = [*(str(bound) for bound in DURATION_BOUNDS_S), "+Inf"]
        for dialect, buckets in counters.durations.items():
            cumulative = list(zip(bounds, accumulate(map(float, buckets)), strict=True))
            durations.add_metric((dialect,), cumulative, counters.duration_sums_s[dialect])
        yield durations
        nodes = GaugeMetricFamily("meshnode_nodes", "Known nodes.", labels=("status", "trust", "kind"))
        for key, count in Counter((entry.status, entry.node.trust, entry.node.kind) for entry in self._roster).items():
            nodes.add_metric(key, count)
        yield nodes
        yield GaugeMetricFamily("meshnode_sockets", "Open JSON-RPC sockets.", value=len(self._sockets))
        can_write = float(self._status.store_trouble is None)
        yield GaugeMetricFamily("meshnode_database_writable", "1, or 0: no new pairings.", value=can_write)
        degraded = GaugeMetricFamily("meshnode_degraded", "What is not as it should be.", labels=("code",))
        for trouble in self._status.degraded():
            degraded.add_metric((trouble["code"],), 1)
        yield degraded
        build = GaugeMetricFamily("meshnode_build_info", "What runs.", labels=("version",))
        build.add_metric((self._version,), 1)
        yield build


def metrics_route(counters: Counters, roster: Roster, sockets: Sized, status: ReportStatus, version: str) -> Route:
    """`GET /metrics`; `sockets` are the open ones."""
    collector = NodeCollector(counters, roster, sockets, status, version)
    render: list[Callable[[], bytes]] = []

    async def metrics(_: Call) -> web.Response:
        """Counts for Prometheus"""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

        if not render:
            render.append(_renderer(collector))
        return web.Response(body=render[0](), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return Route(
        method="GET",
        path="/metrics",
        action=Action.READ_METRICS,
        answer=metrics,
        listeners=frozenset({"public", "control"}),
        result=str,
    )


def _renderer(collector: NodeCollector) -> Callable[[], bytes]:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)  # nothing where there is no /proc
    return lambda: generate_latest(registry)
