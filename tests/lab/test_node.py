"""A node of the lab without PVC: its walls, its first process, its units. All real: namespaces, processes, sockets."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import LabError, control, files, network, node
from lab.processes import Process
from lab.state import REPOSITORY, Lab, Plan

pytestmark = pytest.mark.system

UNITS = {
    "plain": "ExecStart=sleep 1000\nRestart=always\nRestartSec=100ms",
    "user": "User=pvc\nRuntimeDirectory=own\nStateDirectory=own\n"
    "ExecStart=sh -c 'id -un >/run/own/who; touch /var/lib/own/x; sleep 1000'",
    "ready": "Type=notify\nExecStart=python3 -c 'import os, socket, time; time.sleep(0.5); "
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    's.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"]); time.sleep(1000)\'',
    "secret": "User=pvc\nLoadCredential=word:/etc/secret\n"
    "ExecStart=sh -c 'cat ${CREDENTIALS_DIRECTORY}/word; sleep 1000'",
    "fails": "Type=oneshot\nExecStart=false\nRestart=no",
    "never": "Type=notify\nTimeoutStartSec=1s\nExecStart=sleep 1000",
    "pre": "ExecStartPre=-false\nExecStartPre=touch /run/pre\nExecStart=sleep 1000",
    "after": "ExecStart=sh -c 'test -e /run/own/who && sleep 1000'",
    "needs": "ExecStart=sleep 1000",
}
HEADS = {"after": "After=ready.service user.service", "needs": "After=fails.service\nRequires=fails.service"}


@pytest.fixture
def hv1(labs: Path) -> Iterator[tuple[Lab, Process]]:
    """A node hv1 with the units above, booted."""
    units = labs / "units"
    units.mkdir()
    for name, body in UNITS.items():
        (units / f"{name}.service").write_text(
            f"[Unit]\nDescription={name}\n{HEADS.get(name, '')}\n[Service]\n{body}\n"
        )
    lab = Lab("t")
    with lab.locked():
        plan = Plan(name="t", nodes=["hv1"])
        lab.save(plan)
        switch = node.switch_on_network(lab)
        files.make_node_files(lab, plan, "hv1")
        secret = lab.node_dir("hv1") / "etc/secret"
        secret.write_text("xyzzy\n")
        secret.chmod(0o600)
        waiting = node.prepare(lab, "hv1", sorted(units.glob("*.service")), {})
        network.plug_in(switch, waiting.process, "hv1", 1)
        yield lab, node.boot(waiting)


def settled(init: Process, unit: str, *states: str) -> dict[str, object]:
    end = time.monotonic() + 20
    while True:
        now = next(item for item in node.status(init) if item["unit"] == f"{unit}.service")
        if now["state"] in states:
            return now
        assert time.monotonic() < end, node.status(init)
        time.sleep(0.05)


def say(init: Process, *argv: str) -> str:
    return node.enter(init, argv).stdout.strip()


def test_units(hv1: tuple[Lab, Process]) -> None:
    lab, init = hv1
    log = lab.node_dir("hv1") / "var/log/pvc"
    for unit in ("plain", "user", "ready", "secret", "pre", "after"):
        settled(init, unit, "active")
    assert say(init, "cat", "/run/own/who") == "pvc"
    assert say(init, "stat", "-c", "%U", "/var/lib/own/x") == "pvc"
    assert say(init, "ls", "/run/pre") == "/run/pre"
    assert "xyzzy" in (log / "secret.service.log").read_text()
    assert "active after 0." in (log / "ready.service.log").read_text()
    assert settled(init, "fails", "failed")["why"] == "exit status 1"
    assert settled(init, "needs", "failed")["why"] == "needs fails.service"
    assert settled(init, "never", "failed")["why"] == "killed by SIGKILL"
    assert "not ready after 1 s" in (log / "never.service.log").read_text()


def test_what_is_killed_comes_back_and_what_is_stopped_does_not(hv1: tuple[Lab, Process]) -> None:
    _, init = hv1
    old = settled(init, "plain", "active")["pid"]
    assert control.ask(init, "kill", unit="plain", signal="SIGKILL") == old
    _eventually(lambda: settled(init, "plain", "active")["pid"] not in {old, 0})
    assert settled(init, "plain", "active")["restarts"] == 1
    control.ask(init, "stop", unit="plain.service")
    assert settled(init, "plain", "stopped")["pid"] == 0
    with pytest.raises(LabError, match=r"plain\.service does not run \(stopped"):
        control.ask(init, "kill", unit="plain", signal="SIGKILL")
    control.ask(init, "start", unit="plain")
    assert settled(init, "plain", "active")["pid"]
    with pytest.raises(LabError, match="no process 'nothing' in this node; it has after, fails"):
        control.ask(init, "kill", unit="nothing", signal="SIGKILL")


def test_nobody_stays_a_zombie(hv1: tuple[Lab, Process]) -> None:
    _, init = hv1
    say(init, "sh", "-c", "(sleep 0.1 &) ; exit 0")
    time.sleep(0.5)
    assert "Z" not in say(init, "ps", "-eo", "stat=")


def test_the_walls(hv1: tuple[Lab, Process]) -> None:
    _, init = hv1
    settled(init, "plain", "active")
    assert say(init, "hostname") == "hv1"
    assert node.enter(init, ["touch", "/usr/x"]).stderr.strip().endswith("Read-only file system")
    for place in ("/etc", "/var/lib", "/run", "/tmp", "/root", "/dev/shm"):
        assert node.enter(init, ["touch", f"{place}/only-in-the-node"]).returncode == 0
        assert not Path(place, "only-in-the-node").exists()
    assert say(init, "ls", "/sys/class/net").split() == [
        "eth0",
        "eth1",
        "eth2",
        "lo",
    ]
    assert not say(init, "sh", "-c", "cat /etc/shadow /etc/ssh/ssh_host*key")
    assert len(say(init, "ps", "-eo", "pid=").split()) < 20  # the machine's own processes are not seen
    assert node.enter(init, ["test", "-r", str(REPOSITORY / "lab/init.py")]).returncode == 0


def test_upstream_has_a_dhcp_server_and_the_switch_answers(hv1: tuple[Lab, Process]) -> None:
    _, init = hv1
    say(init, "ip", "link", "set", "eth0", "up")  # a bare NIC, as the lab plugs it in
    say(init, "ip", "address", "add", "10.70.0.11/24", "dev", "eth0")
    offered = "import socket; s = socket.create_connection(('10.70.0.1', 1), 2)"
    assert (
        "ConnectionRefusedError" in node.enter(init, ["python3", "-c", offered]).stderr
    )  # reachable, and nobody listens


def test_power_off_kills_everything_at_once_and_keeps_the_disk(hv1: tuple[Lab, Process]) -> None:
    lab, init = hv1
    say(init, "sh", "-c", "echo kept >/var/lib/x; echo lost >/run/x; setsid sleep 4242 >/dev/null 2>&1 &")
    started = time.monotonic()
    node.switch_off(lab, "hv1")
    assert time.monotonic() - started < 20
    assert not init.runs()
    assert "sleep 4242" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert (lab.node_dir("hv1") / "var/lib/x").read_text() == "kept\n"


def _eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("where", ["/tmp", "/var/tmp", "/root"])
def test_a_checkout_stays_in_sight_wherever_it_lies(labs: Path, where: str) -> None:
    """Also for users other than root, and behind a directory that only root may enter."""
    with tempfile.TemporaryDirectory(prefix="pvc-lab-test-", dir=where) as private:  # made with mode 0700
        checkout = Path(private) / "deep/checkout"
        checkout.mkdir(parents=True)
        (checkout / "file").write_text("here\n")
        lab = Lab("t")
        with lab.locked():
            files.make_switch_files(lab)
            waiting = node.prepare(lab, "switch", [], {}, visible=[checkout])
            init = node.boot(waiting)
            somebody = ("setpriv", "--reuid=64001", "--regid=64001", "--clear-groups")
            assert say(init, *somebody, "cat", str(checkout / "file")) == "here"
