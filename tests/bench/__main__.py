"""Measure the first rows of the table of numbers, each beside a baseline in the same interleaved run."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnode.domain.errors import MeshError
from tests.bench import codes, discovery, idle, ingest, pairing, sending, sockets, start
from tests.bench.measure import Goal, Row, Spread

ROWS = (
    "start",
    "memory",
    "idle-cpu",
    *ingest.ROWS,
    "sending",
    "services",
    "pairing",
    "pairing-invite",
    "failures",
    *codes.ROWS,
    *sockets.ROWS,
)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith(("model name", "Model"))
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_at_start": os.getloadavg()[0],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure(wanted: set[str], arguments: argparse.Namespace) -> list[Row]:
    """The wanted rows, in the table's order; one that could not be measured says why."""
    rounds = arguments.rounds
    groups: list[tuple[str, Sequence[str], Callable[[Path, set[str]], list[Row]]]] = [
        ("cold start", ["start"], lambda at, _: start.cold_start(at, rounds)),
        ("idle memory", ["memory"], lambda at, _: start.idle_memory(at, rounds)),
        ("idle CPU", ["idle-cpu"], lambda at, _: idle.idle_cpu(at, rounds)),
        (
            "heartbeat ingest",
            list(ingest.ROWS),
            lambda at, of: ingest.ingest(at, rounds, arguments.seconds, of, arguments.nodes),
        ),
        ("sending", ["sending"], lambda at, _: sending.sending(at, rounds)),
        ("services on the link", ["services"], lambda at, _: discovery.services(at, rounds)),
        ("pairing", ["pairing", "pairing-invite"], lambda at, of: pairing.full_pairing(at, rounds, of)),
        (
            "sockets and devices",
            list(sockets.ROWS),
            lambda at, of: sockets.sockets(at, rounds, arguments.seconds, of),
        ),
        ("right-PIN pairings", ["failures"], lambda at, _: pairing.failures(at, arguments.pairings)),
        ("codes", list(codes.ROWS), lambda at, of: codes.codes(at, rounds, of)),
    ]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="meshnode-bench-") as name:
        for title, names, run in groups:
            if of_group := wanted.intersection(names):
                print(f"bench: {title}…", file=sys.stderr, flush=True)
                try:
                    rows += run(Path(name) / names[0], of_group)
                except (RuntimeError, TimeoutError, OSError, MeshError, subprocess.SubprocessError) as error:
                    rows += [not_measured(row, title, error) for row in names if row in of_group]
    return rows


def not_measured(name: str, title: str, error: Exception) -> Row:
    """A row without a value."""
    problem = f"{type(error).__name__}: {error}"
    return Row(name, title, "", Goal(0), "not measured", problems=[problem])


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit in ("/s", "") else f"{value:.1f}"


def _spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "–"
    of = Spread.of(values)
    if len(values) == 1:
        return f"{_number(of.median, unit)} {unit}".strip()
    return f"{_number(of.median, unit)} {unit} [{_number(of.low, unit)}–{_number(of.high, unit)}]"


def _ratio(values: Sequence[float]) -> str:
    if not values:
        return "–"
    of = Spread.of(values)
    return f"{of.median:.2f} [{of.low:.2f}–{of.high:.2f}]"


def show(rows: Sequence[Row], on: dict[str, Any], rounds: int) -> None:
    """The table; coloured on a terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("row", "what", "value", "baseline", "ratio", "target", "verdict"):
        table.add_column(column)
    for row in rows:
        baseline = f"{_spread(row.baseline, row.unit)}\n{row.against}" if row.baseline else row.against
        colour = {"met": "green", "MISSED": "bold red", "invalid": "bold red"}.get(row.verdict, "yellow")
        value = _spread(row.values, row.unit)
        table.add_row(
            *map(Text, (row.name, row.what, value, baseline, _ratio(row.ratios), str(row.goal))),
            Text(row.verdict, style=colour),
        )
    console.print(table)
    for row in rows:
        for note in (*row.problems, *row.notes):
            console.print(Text(f"{row.name}: {note}"), soft_wrap=True)
    console.print(
        Text(
            f"{rounds} interleaved rounds; median [min–max]; ratios within each round. {on['cpu']}, "
            f"{on['cores']} cores, Python {on['python']}, kernel {on['kernel']}, "
            f"load {on['load_at_start']:.2f} at the start, {on['at']}."
        ),
        soft_wrap=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--row", action="append", choices=ROWS, help="only this row; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one load run")
    parser.add_argument("--pairings", type=int, default=500, help="how many right-PIN pairings to try")
    parser.add_argument("--nodes", type=int, default=ingest.MANY, help="known nodes in the row `growth`")
    parser.add_argument("--quick", action="store_true", help="2 rounds, 50 pairings: to see that it works, no more")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.pairings, arguments.seconds = 2, min(50, arguments.pairings), 1.0
    on = machine()
    rows = measure(set(arguments.row or ROWS), arguments)
    if arguments.json:
        print(
            json.dumps({"machine": on, "rounds": arguments.rounds, "rows": [row.to_json() for row in rows]}, indent=2)
        )
    else:
        show(rows, on, arguments.rounds)
    sys.exit(1 if any(row.problems for row in rows) else 0)


if __name__ == "__main__":
    main()
