"""The lab itself: hosts reach each other, faults cut and heal, nothing is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.lab import NAMESPACES, Lab

pytestmark = pytest.mark.netns

GROUP, PORT = "239.77.0.1", 7700
ECHO = """
import socket
listener = socket.create_server(("0.0.0.0", 7700))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(connection.recv(100))
    connection.close()
"""
CALL = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 7700), timeout=float(sys.argv[2]))
connection.sendall(b"hello")
print(connection.recv(100).decode())
"""
LISTEN = """
import socket, struct, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.settimeout(10)
receiver.bind(("", int(sys.argv[2])))
membership = struct.pack("4s4s", socket.inet_aton(sys.argv[1]), socket.inet_aton(sys.argv[3]))
receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
print("ready", flush=True)
data, sender = receiver.recvfrom(100)
print(data.decode(), sender[0], flush=True)
"""
SEND = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"anybody?", (sys.argv[1], int(sys.argv[2])))
"""
MAKE_A_LAB = """
import time
from tests.e2e.lab import Lab
lab = Lab(("a",))
lab.popen("a", "sleep", "1000")
print(lab.tag, flush=True)
time.sleep(1000)
"""


def python(lab: Lab, host: str, code: str, *argv: str) -> "subprocess.Popen[str]":
    process = lab.popen(host, sys.executable, "-c", code, *argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def can_call(lab: Lab, caller: str, callee: str, timeout_s: float = 5.0) -> bool:
    called = lab.run(caller, sys.executable, "-c", CALL, lab.address(callee), str(timeout_s))
    return called.returncode == 0 and called.stdout == "hello\n"


def test_every_host_reaches_every_other(lab: Lab) -> None:
    """A TCP echo in all six directions."""
    for host in lab.hosts:
        python(lab, host, ECHO)
    pairs = [(caller, callee) for caller in lab.hosts for callee in lab.hosts if caller != callee]
    assert [pair for pair in pairs if not can_call(lab, *pair)] == []


def test_multicast_from_one_host_is_received_by_another(lab: Lab) -> None:
    """What mDNS lives on."""
    listener = python(lab, "b", LISTEN, GROUP, str(PORT), lab.address("b"))
    sent = lab.run("a", sys.executable, "-c", SEND, GROUP, str(PORT))
    assert sent.returncode == 0, sent.stderr
    assert listener.stdout
    assert listener.stdout.readline() == f"anybody? {lab.address('a')}\n"


def test_a_rule_on_the_switch_cuts_one_pair_and_heals(lab: Lab) -> None:
    """The third host keeps its connections."""
    python(lab, "b", ECHO)
    lab.nft(
        """
        table bridge faults {
          chain forwarding {
            type filter hook forward priority 0;
            iifname "pa" oifname "pb" drop
          }
        }
        """
    )
    assert not can_call(lab, "a", "b", timeout_s=0.3)
    assert can_call(lab, "c", "b")
    lab.heal()
    assert can_call(lab, "a", "b")


def test_a_pulled_cable_cuts_a_host_and_heals(lab: Lab) -> None:
    """The host keeps its addresses."""
    python(lab, "b", ECHO)
    lab.link("a", up=False)
    assert not can_call(lab, "a", "b", timeout_s=0.3)
    lab.heal()
    assert can_call(lab, "a", "b")


@pytest.mark.skipif(not shutil.which("avahi-daemon") and os.environ.get("CI") != "true", reason="needs avahi-daemon")
def test_two_foreign_mdns_stacks_find_each_other(lab: Lab) -> None:
    """Avahi on one host resolves what Avahi on another publishes."""
    with lab.avahi("a", "phone") as phone, lab.avahi("b", "desktop") as desktop:
        phone.popen(
            *("avahi-publish", "-s", "A Phone", "_meshnode._tcp", "9999", "id=foreign"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while "id=foreign" not in (found := desktop.run("avahi-browse", "-rtp", "_meshnode._tcp").stdout):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        assert lab.address("a") in found


def test_a_closed_lab_leaves_nothing(lab: Lab) -> None:
    """Neither a namespace nor a process, also when closed twice."""
    process = python(lab, "a", 'import time; print("ready", flush=True); time.sleep(1000)')
    lab.close()
    lab.close()
    assert process.poll() == -signal.SIGKILL
    assert [path for path in NAMESPACES.iterdir() if path.name.startswith(lab.tag)] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_nothing(lab: Lab, number: signal.Signals) -> None:
    """SIGTERM cleans up at once; after SIGKILL the next lab does."""
    root = Path(__file__).parents[2]
    maker = subprocess.Popen([sys.executable, "-c", MAKE_A_LAB], cwd=root, stdout=subprocess.PIPE, text=True)
    assert maker.stdout
    with maker, maker.stdout:
        tag = maker.stdout.readline().strip()
        assert (NAMESPACES / f"{tag}-a").exists()
        os.kill(maker.pid, number)
        maker.wait(10)
    if number == signal.SIGKILL:
        Lab(("a",)).close()
    assert [path for path in NAMESPACES.iterdir() if path.name.startswith(tag)] == []
