"""Two machines with systemd as PID 1 on one bridge: installed, paired, hung, stopped, cut off, rebooted."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.booted import ALICE, MESHNODE, BootedHost, make_root_file_system, refusal
from tests.e2e.lab import Lab
from tests.e2e.lab import refusal as no_lab
from tests.e2e.machine import eventually

pytestmark = [pytest.mark.long, pytest.mark.netns, pytest.mark.timeout(600)]

FAST = "[heartbeat]\ninterval_s = 0.5\n"
WATCHED_S = 3  # instead of the unit's minute
Hosts = tuple[BootedHost, BootedHost]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts a and b, booted, with the system service installed by root from alice's environment, and paired."""
    reason = no_lab() or refusal()
    if reason:
        pytest.skip(f"no host can be booted: {reason}")
    lower = make_root_file_system()
    with Lab(("a", "b")) as lab:
        hosts: list[BootedHost] = []
        try:
            for name in lab.hosts:
                hosts.append(BootedHost(lab, name, tmp_path_factory.mktemp("hosts"), lower))
                one = hosts[-1].boot()
                one.succeed(f"mkdir /etc/meshnode && printf '{FAST}' > /etc/meshnode/config.toml")
                one.succeed(f"{MESHNODE} service install")
            a, b = hosts
            offer = a.ask("pair --no-wait")
            b.ask(f"join '{offer['url']}' --pin {offer['pin']}")
            yield a, b
        finally:
            for one in hosts:
                one.close()


@pytest.fixture
def hosts(made: Hosts) -> Hosts:
    """Both running, each seeing the other online."""
    for one in made:
        one.succeed("systemctl start meshnode")
    see_each_other(made)
    return made


def sees(one: BootedHost, other: BootedHost, status: str, reason: str | None = None) -> bool:
    """Whether the other stands in the table as paired, with this status."""
    node = one.nodes().get(other.name)
    if node is None or node["trust"] != "paired" or node["status"] != status:
        return False
    return reason is None or node["status_reason"] == reason


def see_each_other(hosts: Hosts) -> None:
    """Returns when both tables say online."""
    for one, other in (hosts, hosts[::-1]):
        eventually(lambda one=one, other=other: sees(one, other, "online"), f"{one.name} is without its peer", 60)  # type: ignore[misc]


def own_id(host: BootedHost) -> str:
    return str(host.ask("status")["node"]["id"])


def test_it_is_installed(hosts: Hosts) -> None:
    """Enabled and active, as a user without rights, and systemctl tells its name and its peers."""
    a, b = hosts
    for one, other in (hosts, hosts[::-1]):
        assert one.succeed("systemctl is-enabled meshnode").strip() == "enabled"
        assert one.property("ActiveState") == "active"
        line = f"{one.name}: 1 of 1 peers online"
        eventually(lambda one=one, line=line: one.property("StatusText") == line, f"{other.name} in the status line")  # type: ignore[misc]
    process = dict(line.split(":\t", 1) for line in a.succeed(f"cat /proc/{a.property('MainPID')}/status").splitlines())
    assert int(process["Uid"].split()[0]) > 60000
    assert int(process["CapEff"], 16) == 0
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
    assert b.property("WatchdogUSec") == "1min"
    limits = b.succeed(f"cat /proc/{b.property('MainPID')}/limits")
    assert re.search(r"(?m)^Max core file size +0 +0 ", limits)  # the private key would lie in it


def test_installing_again_changes_nothing(hosts: Hosts) -> None:
    """The same process goes on; an upgrade starts another, paired as before."""
    a, _ = hosts
    before, pid = own_id(a), a.property("MainPID")
    done = a.sh(f"{MESHNODE} service install")
    assert done.returncode == 0, done.stderr
    assert "is there" in done.stderr
    assert a.property("MainPID") == pid
    done = a.sh(f"{MESHNODE} service upgrade")
    assert done.returncode == 0, done.stderr
    assert a.property("MainPID") != pid
    assert own_id(a) == before
    see_each_other(hosts)


def test_a_plain_user_is_told_about_sudo(hosts: Hosts) -> None:
    """`meshnode pair` and `service install` end with 77; with sudo, by the name on its path, they work."""
    a, _ = hosts
    for command in ("pair", "nodes", "service install", "service uninstall"):
        done = a.run("su", "-", "alice", "-c", f"meshnode {command}")
        assert done.returncode == 77, (command, done.stderr)
        assert "sudo meshnode" in done.stderr
    a.succeed("echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice")
    done = a.run("su", "-", "alice", "-c", "sudo meshnode pair --no-wait --json")
    assert done.returncode == 0, done.stderr
    a.succeed("meshnode pair cancel")


def test_the_watchdog_kills_a_hung_node(hosts: Hosts) -> None:
    """Stopped in its tracks it is killed and started anew, without anybody's help, and is paired as before."""
    a, b = hosts
    try:
        a.succeed(f"mkdir -p /run/systemd/system/meshnode.service.d && printf '[Service]\\nWatchdogSec={WATCHED_S}\\n"
                  "RestartSec=10\\n' > /run/systemd/system/meshnode.service.d/test.conf"
                  " && systemctl daemon-reload")  # fmt: skip
        a.succeed("systemctl restart meshnode")
        see_each_other(hosts)
        pid = a.property("MainPID")
        time.sleep(2 * WATCHED_S)  # fed, it lives longer than the limit
        assert a.property("MainPID") == pid
        a.succeed(f"kill -STOP {pid}")
        eventually(lambda: sees(b, a, "offline", "silent"), "the hung node is not missed")
        eventually(lambda: a.property("NRestarts") == "1" and a.property("ActiveState") == "active", "no restart", 30)
        see_each_other(hosts)
        said = a.succeed("journalctl -u meshnode -o cat --no-pager")
        assert "Watchdog timeout" in said
        assert "Fatal Python error: Aborted" in said
    finally:
        a.succeed("rm -r /run/systemd/system/meshnode.service.d; systemctl daemon-reload; systemctl restart meshnode")


def test_a_killed_node_comes_back(hosts: Hosts) -> None:
    """kill -9 is a failure like another; exit 78 is not repeated."""
    a, _ = hosts
    pid = a.property("MainPID")
    a.succeed(f"kill -9 {pid}")
    eventually(lambda: a.property("MainPID") not in ("0", pid) and a.property("ActiveState") == "active", "gone", 30)
    see_each_other(hosts)
    a.succeed("mv /etc/meshnode/config.toml /etc/meshnode/right; echo 'nonsense = 1' > /etc/meshnode/config.toml")
    try:
        assert a.sh("systemctl restart meshnode").returncode != 0
        eventually(lambda: a.property("ActiveState") == "failed", "it is tried again", 10)
        assert a.property("ExecMainStatus") == "78"
        done = a.sh(f"{MESHNODE} service install")
        assert done.returncode == 1
        assert "nonsense" in done.stderr
    finally:
        a.succeed("mv /etc/meshnode/right /etc/meshnode/config.toml")


def test_stopping_says_goodbye(hosts: Hosts) -> None:
    """`systemctl stop`: the peer shows "left" at once, and it took a fraction of the time systemd allows."""
    a, b = hosts
    before = time.monotonic()
    a.succeed("systemctl stop meshnode")
    assert time.monotonic() - before < 6
    assert eventually(lambda: sees(b, a, "offline", "left"), "the peer was not told", 3)
    assert (a.property("Result"), a.property("ExecMainStatus")) == ("success", "0")


def test_stopping_beside_a_hung_peer_stays_within_the_limit(hosts: Hosts) -> None:
    """A peer that accepts and never answers delays the stop by its two seconds, not to SIGKILL."""
    a, b = hosts
    pid = b.property("MainPID")
    b.succeed(f"kill -STOP {pid}")
    try:
        before = time.monotonic()
        a.succeed("systemctl stop meshnode")
        assert time.monotonic() - before < 12
        assert a.property("Result") == "success"
    finally:
        b.succeed(f"kill -CONT {pid}")


def test_the_sandbox_holds(hosts: Hosts) -> None:
    """In its own view nothing but the state directory can be written; and it has written nothing else."""
    a, _ = hosts
    pid = a.property("MainPID")
    look = f"nsenter -t {pid} -m --"
    folders = "/ /etc /etc/meshnode /usr /usr/local/bin /opt/meshnode /opt/meshnode/bin /var /var/lib /var/log /boot"
    for folder in folders.split():
        done = a.sh(f"{look} touch {folder}/written")
        assert "Read-only file system" in done.stderr, (folder, done.stderr)
    assert a.sh(f"{look} ls {ALICE}").returncode != 0
    assert a.succeed(f"{look} ls -A /home /root /tmp /var/tmp").split() == ["/home:", "/root:", "/tmp:", "/var/tmp:"]
    assert a.sh(f"{look} sh -c 'ls /dev/sda /dev/vda /dev/kmsg /dev/mem'").returncode != 0
    a.succeed(f"{look} touch /var/lib/meshnode/written && rm /var/lib/private/meshnode/written")
    uid = a.succeed(f"stat -c %u /proc/{pid}").strip()
    owned = a.succeed(f"find / -xdev -uid {uid} -not -path '/proc/*' 2>/dev/null || true").split()
    assert owned
    outside = [path for path in owned if not path.startswith("/var/lib/private/meshnode")]
    assert outside == []
    assert a.succeed("stat -c '%a %a' /var/lib/private/meshnode").split() == ["700", "700"]
    assert a.succeed("find /var/lib/private/meshnode -type f -perm /077") == ""


@pytest.mark.parametrize("how", ["shut_down", "cut_power"])
def test_a_reboot_keeps_everything(hosts: Hosts, how: str) -> None:
    """The same node, the same pairings, running before anybody logs in; after a power cut too."""
    a, b = hosts
    before, peers = own_id(a), a.nodes().keys()
    getattr(a, how)()
    reason = "left" if how == "shut_down" else "silent"
    eventually(lambda: sees(b, a, "offline", reason), "the peer does not see that it is gone")
    a.boot()
    eventually(lambda: a.property("ActiveState") == "active", "it does not start by itself", 30)
    assert own_id(a) == before
    assert a.nodes().keys() == peers
    see_each_other(hosts)


def test_root_restores_and_resets_the_stopped_node(hosts: Hosts) -> None:
    """With plain sudo: what it writes belongs to the unit's user, which starts with it; the peer sees the same node."""
    a, _ = hosts
    before = own_id(a)
    with_passphrase = "--passphrase-file /root/passphrase"
    a.succeed("echo correct horse battery > /root/passphrase; rm -f /root/backup")
    a.succeed(f"meshnode backup /root/backup {with_passphrase}")
    restore = f"meshnode restore /root/backup {with_passphrase}"
    for command in (f"{restore} --force", "meshnode identity reset --yes"):
        assert a.sh(command).returncode == 75, command  # it runs
    try:
        a.succeed("systemctl stop meshnode")
        for command, code in (("identity reset --yes", 77), ("restore /etc/hostname", 77), ("nodes", 69)):
            done = a.run("su", "-", "alice", "-c", f"meshnode {command}")
            assert (done.returncode, "sudo" in done.stderr) == (code, True), (command, done.stderr)
        a.succeed("meshnode identity reset --yes")
        assert foreign_files(a) == ""
        a.succeed("systemctl start meshnode")
        assert own_id(a) != before
        a.succeed("systemctl stop meshnode")
        assert a.sh(restore).returncode == 1  # there is a node
    finally:
        a.succeed("systemctl stop meshnode")
        a.succeed(f"{restore} --force")
        assert foreign_files(a) == ""
        a.succeed("systemctl start meshnode")
    assert own_id(a) == before
    see_each_other(hosts)
    a.succeed("rm -r /root/backup /root/passphrase")


def foreign_files(host: BootedHost) -> str:
    """What in the data directory is not its owner's alone."""
    data = "/var/lib/private/meshnode"
    return host.succeed(f"find {data} ! -uid $(stat -c %u {data}) -o ! -gid $(stat -c %g {data}) -o -perm /077")


def test_uninstalling_leaves_the_data(hosts: Hosts) -> None:
    """Unit, program and link go; identity and pairings stay, and are the same node when installed again."""
    a, _ = hosts
    before = own_id(a)
    try:
        done = a.sh("meshnode service uninstall")
        assert done.returncode == 0, done.stderr
        assert "/var/lib/meshnode" in done.stderr
        assert a.sh("ls -d /opt/meshnode /etc/systemd/system/meshnode.service /usr/local/bin/meshnode").stdout == ""
        assert ":6969" not in a.succeed("ss -tln")
        a.succeed("test -s /var/lib/meshnode/node_identity.json")
        assert a.sh(f"{MESHNODE} service uninstall").returncode == 0
        for command in ("nodes", "identity show"):  # nobody is sent to a node that is gone
            done = a.run("su", "-", "alice", "-c", f"{MESHNODE} {command}")
            assert (done.returncode, "sudo" in done.stderr) == (69, False), (command, done.stderr)
    finally:
        a.succeed(f"{MESHNODE} service install")
    assert own_id(a) == before
    see_each_other(hosts)


def test_a_user_s_own_service(hosts: Hosts, tmp_path: Path) -> None:
    """`--user`: from her own environment, beside no system node, on through a reboot once lingering is enabled."""
    _, b = hosts
    done = b.run("su", "-", "alice", "-c", f"{MESHNODE} service install --user")
    assert done.returncode == 2
    assert "/etc/systemd/system/meshnode.service" in done.stderr
    b.succeed("meshnode service uninstall")
    try:
        b.succeed("loginctl enable-linger alice")
        done = b.run("su", "-", "alice", "-c", f"{MESHNODE} service install --user && {MESHNODE} status")
        assert done.returncode == 0, done.stderr
        assert f"{ALICE}/.local/share/meshnode" in done.stderr
        alone = "su - alice -c 'XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user show meshnode -P "
        assert b.succeed(f"{alone}StatusText'").strip() == f"{b.name}: no peers yet"
        b.shut_down()
        b.boot()
        eventually(lambda: b.sh(f"{alone}ActiveState'").stdout.strip() == "active", "not started at boot", 30)
        done = b.run("su", "-", "alice", "-c", f"{MESHNODE} service uninstall --user")
        assert done.returncode == 0, done.stderr
        b.succeed(f"test -s {ALICE}/.local/share/meshnode/node_identity.json")
    finally:
        b.succeed(f"loginctl disable-linger alice; {MESHNODE} service install")
    see_each_other(hosts)
