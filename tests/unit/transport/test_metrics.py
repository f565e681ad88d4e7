"""The counts as Prometheus reads them."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from meshnode.domain.principal import Action
from meshnode.node.counters import DURATION_BOUNDS_S, Counters
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Roster
from meshnode.transport.metrics import metrics_route
from tests.unit.samples import make_node

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(counters: Counters, roster: Roster | None = None, sockets: Any = ()) -> Samples:
    """Every sample by name and labels, through the reference parser."""
    route = metrics_route(counters, roster or Roster(), sockets, ReportStatus(Roster()), "1.2.3")
    answer = await route.answer(None)  # type: ignore[arg-type]
    assert answer.content_type == "text/plain"
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert [f.name for f in families if not f.name.startswith(("meshnode_", "process_"))] == []
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


async def test_counts_appear_with_their_labels() -> None:
    """Outcomes, codes, limits, sweeps."""
    counters = Counters()
    counters.outcomes["mylzip", "short", "code_expired"] += 2
    counters.codes_made["mylzip", "uuid"] += 3
    counters.limited("http", "anonymous")
    counters.sweeps["aisopod"] += 4
    seen = await scrape(counters)
    labels = (("dialect", "mylzip"), ("format", "short"), ("outcome", "code_expired"))
    assert seen["meshnode_pairing_outcomes_total", labels] == 2
    assert seen["meshnode_pairing_codes_made_total", (("dialect", "mylzip"), ("format", "uuid"))] == 3
    assert seen["meshnode_limit_hits_total", (("dialect", "http"), ("limit", "anonymous"))] == 1
    assert seen["meshnode_sweep_runs_total", (("dialect", "aisopod"),)] == 4
    assert seen["meshnode_build_info", (("version", "1.2.3"),)] == 1


async def test_durations_are_a_cumulative_histogram() -> None:
    """Each bucket counts all that were as fast or faster; what took longer than the last bound is in +Inf."""
    counters = Counters()
    for took_s in (0.5, 1.0, 20.0, 9999.0):
        counters.paired("salita", "uuid", took_s)
    seen = await scrape(counters)
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in seen.items()
        if name == "meshnode_pairing_duration_seconds_bucket"
    }
    assert buckets == {
        "1.0": 2, "5.0": 2, "15.0": 2, "30.0": 3, "60.0": 3, "120.0": 3, "300.0": 3, "600.0": 3, "+Inf": 4,
    }  # fmt: skip
    assert len(buckets) == len(DURATION_BOUNDS_S) + 1
    salita = (("dialect", "salita"),)
    assert seen["meshnode_pairing_duration_seconds_count", salita] == 4
    assert seen["meshnode_pairing_duration_seconds_sum", salita] == pytest.approx(10020.5)
    outcome = (("dialect", "salita"), ("format", "uuid"), ("outcome", "paired"))
    assert seen["meshnode_pairing_outcomes_total", outcome] == 4


async def test_nodes_and_sockets_are_counted_as_of_now() -> None:
    """By what the roster holds at the moment of asking; no id or name among the labels."""
    roster, counters = Roster(), Counters()
    assert ("meshnode_sockets", ()) in await scrape(counters, roster)
    nodes = [make_node(id=f"node-{i}", status="online", trust="paired", kind="phone") for i in range(3)]
    roster.load([*nodes, make_node(id="x", status="offline", trust="revoked", kind="other")], 0.0)
    roster.get("node-0").status = "offline"  # type: ignore[union-attr]
    seen = await scrape(counters, roster, sockets=range(7))
    found = {
        tuple(value for _, value in labels): count for (name, labels), count in seen.items() if name == "meshnode_nodes"
    }
    assert found == {
        ("phone", "stale", "paired"): 2, ("phone", "offline", "paired"): 1, ("other", "offline", "revoked"): 1,
    }  # fmt: skip
    assert seen["meshnode_sockets", ()] == 7


async def test_the_process_is_measured() -> None:
    """Its memory, where the kernel tells."""
    assert (await scrape(Counters()))["process_resident_memory_bytes", ()] > 1_000_000


def test_operators_may_ask_on_both_listeners() -> None:
    """And nobody else."""
    route = metrics_route(Counters(), Roster(), (), ReportStatus(Roster()), "1.2.3")
    assert (route.action, route.listeners) == (Action.READ_METRICS, {"public", "control"})
