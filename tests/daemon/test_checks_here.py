"""What a node finds about itself: real certificates, real files, real sockets on loopback."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from pvc_core.clock import SystemClock
from pvc_core.config import load
from pvc_core.daemon.checks import here, probe
from pvc_core.daemon.checks.quorum import read_srvr
from pvc_core.daemon.checks.resolving import resolve, unknown
from pvc_core.founding.pki import LOOPBACK, Place, ensure_ca, ensure_node
from pvc_core.founding.standing import standing
from pvc_core.guard.answers import Answers, goes_by
from pvc_core.guard.client import SOCKET
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.permits import Permits
from pvc_core.guard.settings import read_settings
from pvc_core.peer import PeerServer


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "pki")
    ensure_ca(made, "c")
    ensure_node(made, "hv1", LOOPBACK)
    return made


def test_a_good_certificate_has_no_fault_and_ten_years(place: Place) -> None:
    state = standing(place.directory, "hv1")
    assert state.faults == () and state.days_left > 3600


def test_a_certificate_of_another_authority_or_node_or_key_is_told_apart(place: Place, tmp_path: Path) -> None:
    foreign = Place(tmp_path / "foreign")
    ensure_ca(foreign, "c")
    ensure_node(foreign, "hv1", LOOPBACK)
    assert standing(place.directory, "hv2").faults == ("its certificate is for hv1, not for hv2",)
    place.node_crt.write_text(foreign.node_crt.read_text())
    faults = standing(place.directory, "hv1").faults
    assert faults[0] == "its certificate is not of the cluster's authority"
    assert "node.key is not the key of" in faults[1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Latency...\nOutstanding: 3\nZxid: 0x1\nMode: leader\n", {"mode": "leader", "outstanding": "3"}),
        ("This ZooKeeper instance is not currently serving requests\n", {"error": "it is there but has no majority"}),
        ("", {"error": "no usable answer"}),
        ("HTTP/1.1 400 Bad Request\r\n", {"error": "no usable answer"}),
    ],
)
def test_what_a_server_says_of_itself(text: str, found: dict[str, str]) -> None:
    assert read_srvr(text) == found


def test_a_host_that_was_renamed_is_named_with_both_names(tmp_path: Path) -> None:
    """The node keeps its name; nothing is taken for another node's."""
    host = socket.gethostname().partition(".")[0]
    found = here._name(SimpleNamespace(node="another"))  # type: ignore[arg-type]  # asked for its node's name only
    assert not found.ok and host in found.text and "another" in found.text and "another" in found.remedy
    assert here._name(SimpleNamespace(node=host)).ok


def test_names_that_are_not_known_resolve_to_nothing() -> None:
    found = resolve(["no-such-host.invalid", "127.0.0.1"], deadline_s=30)
    assert found == {"no-such-host.invalid": (), "127.0.0.1": ("127.0.0.1",)}


def test_a_name_server_that_is_silent_holds_up_neither_the_check_nor_other_names() -> None:
    silent = threading.Event()

    def look_up(name: str) -> tuple[str, ...]:
        if name == "hv3":
            silent.wait(30)
        return ("10.0.0.2",)

    found = resolve(["hv2", "hv3"], deadline_s=1, look_up=look_up)
    assert not silent.is_set() and found == {"hv2": ("10.0.0.2",), "hv3": None}
    assert unknown("hv3", found["hv3"]) == "the name hv3 is not known here: no name server answers"
    silent.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_full_packets_arrive_on_loopback_and_larger_ones_than_its_mtu_do_not() -> None:
    assert probe.reach("127.0.0.1", "127.0.0.1", 1500) == ""
    mtu = int(Path("/sys/class/net/lo/mtu").read_text())
    too_long = "this node itself cannot send packets of 65536 bytes: Message too long"
    assert probe.reach("127.0.0.1", "127.0.0.1", mtu) in ("", too_long)


def test_the_internet_checksum() -> None:
    assert probe.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D, "the example of RFC 1071"


def test_a_guard_that_was_not_restarted_after_a_change_of_its_file_is_named(tmp_path: Path) -> None:
    """Restarting pvcnoded alone leaves it with the promises of before: with the old majority, the old limit."""
    path, run, clock = tmp_path / "pvc.yaml", tmp_path / "run", SystemClock()
    run.mkdir()
    text = "cluster: {name: c1, coordinators: [hv1]}\nstore: {zookeeper: {}}\nplugins: {}\n"
    text += f"paths: {{run: {run}}}\n"
    path.write_text(text)
    began, _ = read_settings(path, node="hv1", state=tmp_path)
    deadline = Deadline(began.self_fence_s, last_sent_s=clock.boottime_s())
    answers = Answers(
        "hv1", "a", deadline, Permits(run, clock, deadline), clock, list, goes_by(began.coordinators, began)
    )
    server = PeerServer(run / SOCKET, answers.handlers(), mode=0o600, max_connections=2, name="guard")
    server.start()
    try:
        assert here._guard(load(path, node="hv1")).ok
        path.write_text(text.replace("[hv1]", "[hv1, hv2, hv3]") + "intervals: {profile: fast}\n")
        line = here._guard(load(path, node="hv1"))
    finally:
        server.stop()
    assert not line.ok and "restart pvcguard" in line.remedy
    assert line.text == (
        "pvcguard goes by an older pvc.yaml: cluster.coordinators hv1, not hv1, hv2, hv3; "
        "intervals.heartbeat_s 1, not 0.5; intervals.self_fence_s 8, not 5; intervals.promise_s 3, not 1.5"
    )


def test_a_file_that_breaks_several_inequalities_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "pvc.yaml"
    text = "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\nplugins: {}\n"
    path.write_text(text)
    config = load(path, node="hv1")
    path.write_text(text + "intervals: {heartbeat_s: 60}\n")
    line = here._file(config)
    assert not line.ok and "\n" not in line.text
    assert f"{path} cannot be used any more: {path}:4:" in line.text
    assert ": intervals.promise_s: found promise_s 3 (its default) with heartbeat_s 60; " in line.text
    assert line.text.endswith("(and 3 more)")
