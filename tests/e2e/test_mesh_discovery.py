"""Nodes find each other by real multicast, and foreign mDNS programs read what they say."""

import re
import signal
import socket
import subprocess
import time
from typing import Any

import pytest
from zeroconf import DNSOutgoing, DNSQuestion, const

from tests.e2e.lab import Avahi, Lab
from tests.e2e.machine import Machine, eventually, in_namespace

pytestmark = pytest.mark.netns

Hosts = dict[str, Machine]
TYPE = "_meshnode._tcp"


def in_sight(machine: Machine) -> dict[str, dict[str, Any]]:
    return {node["id"]: node for node in machine.api("discovered")["nodes"]}


def names(machine: Machine) -> list[str]:
    return [node["name"] for node in machine.api("discovered")["nodes"]]


def ids(*machines: Machine) -> set[str]:
    return {machine.id for machine in machines}


def wait_for_sight(machine: Machine, *others: Machine) -> None:
    eventually(lambda: in_sight(machine).keys() == ids(*others), f"{machine.folder.name} sees the wrong nodes")


def wait_for_offer(machine: Machine, host: Machine, is_open: bool) -> None:
    def is_told() -> bool:
        return in_sight(machine).get(host.id, {}).get("pairing_open") is is_open

    eventually(is_told, f"pairing_open is not {is_open}")


def test_three_hosts_find_each_other(lab: Lab, hosts: Hosts) -> None:
    """Each sees the two others and not itself, at the address and port where they are reached."""
    a, b, c = (machine.start() for machine in hosts.values())
    for one, others in ((a, (b, c)), (b, (a, c)), (c, (a, b))):
        wait_for_sight(one, *others)
    (found,) = (node for node in a.ask("discover")["nodes"] if node["id"] == b.id)
    assert found == {"id": b.id, "name": "host-b", "host": lab.address("b"), "port": 6969, "pairing_open": False}
    listed = a.run("discover")
    assert f"{lab.address('b')}:6969" in listed.stdout
    assert listed.stdout.splitlines()[0].split() == ["NAME", "ADDRESS", "ID"]


def test_an_open_offer_is_told_and_its_end_too(hosts: Hosts) -> None:
    """`pairing_open` is true exactly while `pair` is open."""
    a, b = hosts["a"].start(), hosts["b"].start()
    wait_for_offer(a, b, is_open=False)
    pair = b.popen("pair", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pair:
        wait_for_offer(a, b, is_open=True)
        pair.send_signal(signal.SIGINT)
        _, told = pair.communicate(timeout=10)
    assert pair.returncode == 130, told
    wait_for_offer(a, b, is_open=False)
    b.offer()
    wait_for_offer(a, b, is_open=True)
    assert b.run("pair", "cancel").returncode == 0
    wait_for_offer(a, b, is_open=False)


def ask_the_link(lab: Lab, host: str) -> None:
    """Twice for nodes, as browsers of other hosts do; the second answer has to wait for a second after the first."""
    question = DNSOutgoing(const._FLAGS_QR_QUERY)
    question.add_question(DNSQuestion(f"{TYPE}.local.", const._TYPE_PTR, const._CLASS_IN))
    (packet,) = question.packets()

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.bind((lab.address(host), 5353))  # from any other port it would be answered alone
            for number in range(2):  # one packet twice would pass for an echo
                asking.sendto(number.to_bytes(2) + packet[2:], ("224.0.0.251", 5353))
                time.sleep(0.2)

    in_namespace(lab.namespace(host), ask)


def offers_told(machine: Machine, host: Machine, for_s: float) -> list[bool]:
    """What it sees of the host, ten times a second."""
    told, until = [], time.monotonic() + for_s
    while time.monotonic() < until:
        told.append(in_sight(machine)[host.id]["pairing_open"])
        time.sleep(0.1)
    return told


def test_an_answer_made_before_a_change_is_not_the_last_word(lab: Lab, hosts: Hosts) -> None:
    """Answers may leave 1.3 s after they were made; the others would believe the outdated record for hours."""
    a, b = hosts["a"].start(), hosts["b"].start()
    wait_for_offer(a, b, is_open=False)
    assert not any(offers_told(a, b, 2.0))
    ask_the_link(lab, "c")
    b.offer()
    told = offers_told(a, b, 4.0)
    assert told[-1], f"{told}"


def test_a_renamed_node_is_in_sight_once(lab: Lab, hosts: Hosts) -> None:
    """By its new name; an answer about the former one that was still to be sent is not."""
    a, b = hosts["a"].start(), hosts["b"].start()
    wait_for_offer(a, b, is_open=False)
    assert not any(offers_told(a, b, 2.0))
    ask_the_link(lab, "c")
    assert b.run("identity", "rename", "Attic").returncode == 0
    eventually(lambda: names(a) == ["Attic"], "the new name is not in sight alone")
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        assert names(a) == ["Attic"]
        time.sleep(0.1)


def test_a_name_that_another_host_has_is_not_taken(lab: Lab, hosts: Hosts) -> None:
    """The node adds something to its own, and is found all the same."""
    a, b = hosts["a"].start(), hosts["b"].start()
    a.stop()
    with lab.avahi("c", "foreign") as avahi:
        avahi.popen("avahi-publish-service", f"host-a ({a.id[-4:]})", TYPE, "6969", stdout=subprocess.DEVNULL)
        eventually(lambda: f"host-a ({a.id[-4:]})" in browse(avahi), "the foreign service is not up")
        a.start()
        wait_for_sight(b, a)
        pattern = re.compile(rf"host-a \({a.id[-4:]} [0-9a-f]{{4}}\)")
        eventually(lambda: any(pattern.fullmatch(name) for name in browse(avahi)), "it has no name of its own")
    assert names(b) == ["host-a"]
    assert a.ask("status")["degraded"] == []


def test_a_clean_stop_says_goodbye(hosts: Hosts) -> None:
    """After SIGTERM the node is out of sight at once, not when its records run out."""
    a, b = hosts["a"].start(), hosts["b"].start()
    wait_for_sight(a, b)
    assert b.stop() == 0
    eventually(lambda: not in_sight(a), "the stopped node is still in sight", timeout_s=8)


def test_the_goodbye_is_the_last_word(lab: Lab, hosts: Hosts) -> None:
    """An answer made before it leaves after it; then the goodbye said again must not pass for an echo."""
    a, b = hosts["a"].start(), hosts["b"].start()
    wait_for_offer(a, b, is_open=False)
    assert not any(offers_told(a, b, 2.0))
    ask_the_link(lab, "c")
    assert not any(offers_told(a, b, 0.75))  # the second answer is 0.1 s ahead then
    assert b.stop() == 0
    eventually(lambda: not in_sight(a), "the stopped node is still in sight", timeout_s=8)


def test_who_listens_anew_sees_who_is_still_there(hosts: Hosts) -> None:
    """Whoever left while nobody listened said goodbye to nobody."""
    a, b, c = hosts["a"].start(), hosts["b"].start(), hosts["c"].start()
    wait_for_sight(a, b, c)
    b.stop(signal.SIGKILL)
    assert a.run("identity", "rename", "Attic").returncode == 0  # takes new sockets
    wait_for_sight(a, c)


def test_a_node_without_mdns_is_unseen_and_joined_by_url(hosts: Hosts) -> None:
    """--no-mdns: nothing announced, nothing seen; the invite works."""
    a, b, c = hosts["a"].start("--no-mdns"), hosts["b"].start(), hosts["c"].start()
    wait_for_sight(b, c)
    assert a.ask("discover") == {"nodes": []}
    a.pair_with(b)
    assert b.sees(a, "online")
    assert in_sight(b).keys() == ids(c)


def browse(avahi: Avahi) -> dict[str, list[str]]:
    """What `avahi-browse` resolves of our type: fields by instance name."""
    done = avahi.run("avahi-browse", "-rtp", TYPE)
    resolved = (line.split(";", 9) for line in done.stdout.splitlines() if line.startswith("="))
    return {re.sub(r"\\(\d{3})", lambda m: chr(int(m[1])), fields[3]): fields for fields in resolved}


def test_avahi_reads_the_service(lab: Lab, hosts: Hosts) -> None:
    """A foreign client sees the instance name, the SRV target and port, and a short TXT record without a secret."""
    a = hosts["a"].start()
    with lab.avahi("b", "foreign") as avahi:
        fields = eventually(lambda: browse(avahi), "avahi sees no meshnode")[f"host-a ({a.id[-4:]})"]
        assert fields[4:6] == [TYPE, "local"]
        assert fields[6:9] == [f"{a.id}.local", lab.address("a"), "6969"] or (
            fields[6] == f"{a.id}.local" and fields[7].startswith(("fd77:", "fe80:")) and fields[8] == "6969"
        )
        strings = re.findall(r'"([^"]*)"', fields[9])
        txt = dict(string.split("=", 1) for string in strings)
        assert txt.keys() == {"txtvers", "id", "v", "cv", "pair"}
        assert (txt["txtvers"], txt["id"], txt["v"], txt["pair"]) == ("1", a.id, "1", "0")
        assert sum(len(string) + 1 for string in strings) <= 200
        offer = a.offer()
        told = eventually(
            lambda: next((f for f in browse(avahi).values() if '"pair=1"' in f[9]), None), "pair=1 is not announced"
        )
        assert offer["pin"] not in told[9]
        assert offer["code"] not in told[9]


GARBAGE = (
    [],
    ["txtvers=1", "id=node-", "v=1", "cv=x", "pair=1"],
    ["txtvers=1", "id=\x1b[2J\u202e", "v=99999999999999999999", "pair=1"],
    ["x" * 250, "=", "id", "id=" + "n" * 200],
)


def test_garbage_of_our_type_does_no_harm(lab: Lab, hosts: Hosts) -> None:
    """A stranger's services with senseless names and TXT records are not shown, and honest nodes still are."""
    a, b = hosts["a"].start(), hosts["b"].start()
    with lab.avahi("c", "stranger") as avahi:
        for number, txt in enumerate(GARBAGE):
            avahi.popen(
                *("avahi-publish-service", f"Cuckoo \x07 {number}", TYPE, "6969", *txt),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        def published() -> int:
            return len({name for name in browse(avahi) if "Cuckoo" in name})

        eventually(lambda: published() == len(GARBAGE), "the stranger's services are not up")
        wait_for_sight(a, b)
        wait_for_offer(a, b, is_open=False)
        b.offer()
        wait_for_offer(a, b, is_open=True)
        assert in_sight(a).keys() == ids(b)
        assert a.ask("status")["degraded"] == []
    for machine in (a, b):
        assert '"level":"error"' not in machine.log.read_text()
        assert '"exception"' not in machine.log.read_text()
