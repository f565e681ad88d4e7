"""Rows `code-generation`, `code-detection`, `code-redeeming`: mylzip's own figures, beside a bare cost."""

import http.client
import json
import sqlite3
import ssl
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from meshnode.crypto.seal import Vault
from meshnode.daemon.system import SystemEntropy
from meshnode.domain.pairing_code import CODE_FORMATS, make_code_text, parse_code
from tests.bench.measure import Goal, Row
from tests.bench.pairing import NO_LIMIT
from tests.bench.processes import Daemon

ROWS = ("code-generation", "code-detection", "code-redeeming")
CODES = 3000  # in one value
REDEEMED = 40
DEVICES = "/api/v1/encrypted/devices"


def _per_code_us(work: Callable[[], object]) -> float:
    """Microseconds of CPU of one call, by the mean of many: it waits for nothing, so neither does the measure."""
    began = time.thread_time()
    for _ in range(CODES):
        work()
    return (time.thread_time() - began) / CODES * 1e6


def _generation(rounds: int) -> Row:
    """Drawing a code and what it is looked up by: the slowest of the three formats."""
    entropy, vault = SystemEntropy(), Vault(bytes(32))
    row = Row("code-generation", "make a code and its digest", "µs", Goal(100), "uuid.uuid4()", judge_value=True)

    def make(kind: str) -> object:
        text = None
        while text is None:
            text = make_code_text(kind, entropy.draw(16))  # type: ignore[arg-type]
        return vault.digest(f"mylzip {text}".encode())

    for number in range(rounds + 1):
        taken = {kind: _per_code_us(lambda kind=kind: make(kind)) for kind in CODE_FORMATS}  # type: ignore[misc]
        floor = _per_code_us(lambda: str(uuid.uuid4()))
        if number:  # the first is to warm up
            row.values.append(max(taken.values()))
            row.baseline.append(floor)
            row.notes[:] = ["last round: " + ", ".join(f"{kind} {us:.1f} µs" for kind, us in taken.items())]
    return row


def _detection(rounds: int) -> Row:
    """Telling the format of what was sent: the slowest spelling, right or wrong."""
    code = str(uuid.uuid4())
    spelled = [code, f" {{{code.upper()}}} ", f"urn:uuid:{code}", "38836d2c4498", "123456", "nonsense", "f" * 256]
    row = Row("code-detection", "tell a code's format", "µs", Goal(10), "uuid.UUID(code)", judge_value=True)
    for number in range(rounds + 1):
        slowest = max(_per_code_us(lambda text=text: parse_code(text)) for text in spelled)  # type: ignore[misc]
        floor = _per_code_us(lambda: uuid.UUID(code))
        if number:
            row.values.append(slowest)
            row.baseline.append(floor)
    return row


class _Phone:
    """Redeems codes over one TLS connection, each as a device of its own."""

    def __init__(self, daemon: Daemon) -> None:
        self._owner = daemon.control()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        listener = self._owner.call("GET", "/api/v1/node")["listeners"][0]
        address = listener.removeprefix("https://")
        self._connection = http.client.HTTPSConnection(address, timeout=30, context=context)

    def redeem(self) -> float:
        """Milliseconds from the request to the answer; the code was made before. Raises RuntimeError."""
        device = f"bench-{uuid.uuid4()}"
        code = self._owner.call("POST", f"{DEVICES}/pairing-code", {"deviceId": device})["pairingCode"]
        body = json.dumps({"deviceId": device, "pairingCode": code, "encryptedTrustData": "x" * 256})
        began = time.perf_counter()
        self._connection.request("POST", f"{DEVICES}/pair", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        said = answer.read()
        taken = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {said[:200]!r}")
        return taken


def _commit_ms(connection: sqlite3.Connection) -> float:
    """Milliseconds of one durable commit of one row: what the disk asks of anybody."""
    began = time.perf_counter()
    with connection:
        connection.execute("INSERT INTO t VALUES (?)", (str(uuid.uuid4()),))
    return (time.perf_counter() - began) * 1000


def _redeeming(folder: Path, rounds: int) -> Row:
    """The whole request to a running daemon, over TLS, its row, token and relationship committed."""
    what = "redeem a code: the whole request, with its durable commit"
    row = Row("code-redeeming", what, "ms", Goal(5), "a bare durable commit of one row", judge_value=True)
    with Daemon(folder, "--no-mdns", **NO_LIMIT) as daemon, closing(sqlite3.connect(folder / "bare.db")) as bare:
        bare.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (v TEXT);")
        phone = _Phone(daemon)
        for number in range(rounds + 1):
            taken, floor = [], []
            for _ in range(REDEEMED):
                taken.append(phone.redeem())
                floor.append(_commit_ms(bare))
            if number:
                row.values.append(statistics.median(taken))
                row.baseline.append(statistics.median(floor))
        with closing(sqlite3.connect(f"file:{daemon.data / 'meshnode.db'}?mode=ro", uri=True)) as stored:
            (kept,) = stored.execute("SELECT count(*) FROM trust_relationships").fetchone()
    if kept != REDEEMED * (rounds + 1):
        row.problems.append(f"{kept} relationships stored of {REDEEMED * (rounds + 1)}")
    row.notes.append(f"each value is the median of {REDEEMED}")
    return row


def codes(folder: Path, rounds: int, wanted: set[str]) -> list[Row]:
    """The wanted rows."""
    makers: dict[str, Callable[[], Row]] = {
        "code-generation": lambda: _generation(rounds),
        "code-detection": lambda: _detection(rounds),
        "code-redeeming": lambda: _redeeming(folder, rounds),
    }
    return [make() for name, make in makers.items() if name in wanted]
