"""Floating addresses between hosts on a switch: given, announced, refused when taken, taken back, also by the guard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from pvc_core.config.sections import HostNetwork
from pvc_core.errors import Permanent
from pvc_core.guard.floating import drop_overdue
from pvc_core.hostnet.floating import ANNOUNCEMENTS, Floating, Raised
from pvc_core.hostnet.held import NAME, UNTIL, Held, HeldAddress, read_held, write_held
from pvc_core.hostnet.network import ensure_network
from tests.hostnet.conftest import Host, Wire

IP, IP6 = "10.0.0.250", "fd00:1::250"


@dataclass
class Node:
    host: Host
    run: Path
    floating: Floating
    may: bool = True

    def ensure(self) -> Raised:
        return self.host.run(lambda: self.floating.ensure(lambda: self.may))

    def lower(self) -> None:
        self.host.run(self.floating.lower)

    def drop_overdue(self, now_s: float) -> list[str]:
        return self.host.run(lambda: drop_overdue(self.run, now_s))

    def held(self) -> list[str]:
        return [address for address in self.host.addresses("brupstream") if address.startswith(IP)]


def node(wire: Wire, tmp_path: Path, number: int, *floating: str) -> Node:
    host = wire.host(f"hv{number}")
    network = HostNetwork(device="eth0", address=ip_interface(f"10.0.0.1{number}/24"))
    host.run(lambda: ensure_network("upstream", network))
    run = tmp_path / f"run{number}"
    run.mkdir(exist_ok=True)
    made = Node(host, run, Floating({"upstream": ip_address(floating[0] if floating else IP)}, run))
    made.floating.extend(1000.0)
    return made


@pytest.fixture
def one(wire: Wire, tmp_path: Path) -> Node:
    return node(wire, tmp_path, 1)


@pytest.fixture
def two(wire: Wire, tmp_path: Path) -> Node:
    return node(wire, tmp_path, 2)


@pytest.fixture
def user(wire: Wire) -> Host:
    """Somebody on the same network."""
    host = wire.host("user")
    host.ip("addr add 10.0.0.50/24 dev eth0")
    host.ip("link set eth0 up")
    return host


def test_it_is_given_and_answers(one: Node, user: Host) -> None:
    assert one.ensure().held == (IP,)
    assert one.held() == [f"{IP}/32"]
    assert user.reaches(IP)


def test_again_it_gives_nothing_and_stops_announcing(one: Node) -> None:
    assert [one.ensure().announcing for _ in range(ANNOUNCEMENTS)] == [True] * (ANNOUNCEMENTS - 1) + [False]
    started = time.monotonic()
    assert one.ensure() == Raised(held=(IP,))
    assert time.monotonic() - started < 0.2  # nobody is asked whether it is free


def test_nothing_goes_out_from_it_by_itself(one: Node, wire: Wire) -> None:
    one.ensure()
    found = one.host.ip("route get 10.0.0.50")
    assert found[0]["prefsrc"] == "10.0.0.11"


def test_neighbours_that_knew_the_old_holder_reach_the_new_one_at_once(one: Node, two: Node, user: Host) -> None:
    one.ensure()
    assert user.reaches(IP)
    old = user.ip(f"neigh show {IP}")[0]["lladdr"]
    one.lower()
    two.ensure()
    started = time.monotonic()
    assert user.reaches(IP)
    assert time.monotonic() - started < 0.5  # its old entry would have been asked for seconds
    assert user.ip(f"neigh show {IP}")[0]["lladdr"] == two.host.link("brupstream")["address"] != old


def test_an_address_that_another_machine_has_is_not_taken(one: Node, two: Node) -> None:
    two.ensure()
    mac = two.host.link("brupstream")["address"]
    assert one.ensure().faults == (f"{IP} is used by the machine {mac}",)
    assert one.held() == []
    two.lower()
    assert one.ensure().held == (IP,)


def test_it_is_not_given_when_the_lease_ended_while_the_neighbours_were_asked(one: Node) -> None:
    one.may = False
    assert one.ensure().held == ()
    assert one.held() == []


def test_taken_back_it_is_gone_and_only_it(one: Node) -> None:
    one.ensure()
    one.lower()
    one.lower()
    assert one.host.addresses("brupstream") == ["10.0.0.11/24"]
    assert read_held(one.run).addresses == ()


def test_what_an_earlier_life_held_is_known_and_taken_back(one: Node) -> None:
    one.ensure()
    later = Node(one.host, one.run, Floating({"upstream": ip_address(IP)}, one.run))
    assert later.floating.held == Held(1000.0, (HeldAddress("brupstream", f"{IP}/32"),))
    later.lower()
    assert one.held() == []


def test_an_address_that_pvc_yaml_names_no_more_is_taken_back_too(one: Node) -> None:
    one.ensure()
    Node(one.host, one.run, Floating({"upstream": ip_address("10.0.0.251")}, one.run)).lower()
    assert one.held() == []


def test_a_missing_bridge_is_told(wire: Wire, tmp_path: Path) -> None:
    host = wire.host("hv9")
    raised = host.run(lambda: Floating({"storage": ip_address(IP)}, tmp_path).ensure(lambda: True))
    assert raised.faults == (f"there is no brstorage for {IP}",)


def test_without_a_word_to_the_guard_nothing_is_given(one: Node) -> None:
    one.run.rmdir()
    with pytest.raises(Permanent, match="cannot tell the guard"):
        one.ensure()
    assert one.held() == []


def test_ipv6_is_given_after_the_kernel_has_asked(wire: Wire, tmp_path: Path) -> None:
    six = node(wire, tmp_path, 3, IP6)
    assert six.ensure().pending == (IP6,)
    end = time.monotonic() + 5.0
    while (raised := six.ensure()).pending and time.monotonic() < end:
        time.sleep(0.1)
    assert raised.held == (IP6,)
    assert f"{IP6}/128" in six.host.addresses("brupstream", "inet6")
    six.lower()
    assert six.host.addresses("brupstream", "inet6") == []


def test_ipv6_that_another_machine_has_is_not_kept(wire: Wire, tmp_path: Path) -> None:
    host = wire.host("other")
    host.ip("link set eth0 up")
    host.ip(f"addr add {IP6}/64 dev eth0 nodad")
    six = node(wire, tmp_path, 3, IP6)
    end = time.monotonic() + 5.0
    while not (raised := six.ensure()).faults and time.monotonic() < end:
        time.sleep(0.1)
    assert raised.faults == (f"{IP6} is used by another machine",)
    assert raised.held == ()


class TestGuard:
    """pvcguard's half: pvcnoded may be stopped."""

    def test_before_the_end_it_drops_nothing(self, one: Node) -> None:
        one.ensure()
        assert one.drop_overdue(999.9) == []
        assert one.held() == [f"{IP}/32"]

    def test_at_the_end_it_drops_them(self, one: Node, user: Host) -> None:
        one.ensure()
        assert one.drop_overdue(1000.0) == [f"{IP}/32"]
        assert one.held() == []
        assert not user.reaches(IP, within_s=0.3)

    def test_what_comes_back_late_is_dropped_again(self, one: Node) -> None:
        """pvcnoded slept between looking at its lease and giving the address."""
        one.ensure()
        one.drop_overdue(1000.0)
        one.host.ip(f"addr add {IP}/32 dev brupstream")
        assert one.drop_overdue(1000.5) == [f"{IP}/32"]
        assert one.held() == []

    def test_a_longer_lease_counts_as_soon_as_it_is_told(self, one: Node) -> None:
        one.ensure()
        one.floating.extend(2000.0)
        assert one.drop_overdue(1500.0) == []

    def test_without_an_end_nothing_is_dropped(self, one: Node) -> None:
        """The only coordinator of a cluster."""
        one.floating.extend(None)
        one.ensure()
        assert one.drop_overdue(1e9) == []

    def test_a_renewal_writes_the_end_and_not_the_list(self, one: Node) -> None:
        """Which is long where there are many networks, and the lease is renewed every second."""
        one.floating.also("net", {f"vmgw{vni}": [f"10.1.{vni}.1/24"] for vni in range(200)})
        one.ensure()
        before = (one.run / NAME).stat().st_ino  # another file after each writing
        one.floating.extend(7000.0)
        one.ensure()
        assert read_held(one.run).until_boottime_s == 7000.0 and len(read_held(one.run).addresses) == 201
        assert (one.run / NAME).stat().st_ino == before
        one.floating.also("net", {})
        assert (one.run / NAME).stat().st_ino != before and len(read_held(one.run).addresses) == 1
        assert read_held(one.run).until_boottime_s == 7000.0

    def test_the_end_that_an_older_pvcnoded_wrote_beside_the_addresses_holds(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_text('{"until_boottime_s":9.0,"addresses":[]}')
        assert read_held(tmp_path).until_boottime_s == 9.0
        (tmp_path / UNTIL).write_text("5.0")  # left from before it was put in again
        assert read_held(tmp_path).until_boottime_s == 9.0
        (tmp_path / UNTIL).write_text("12.0")
        assert read_held(tmp_path).until_boottime_s == 12.0
        (tmp_path / UNTIL).write_text("null")
        assert read_held(tmp_path).until_boottime_s is None

    def test_ipv6(self, wire: Wire, tmp_path: Path) -> None:
        six = node(wire, tmp_path, 3, IP6)
        six.ensure()
        assert six.drop_overdue(1000.0) == [f"{IP6}/128"]
        assert six.host.addresses("brupstream", "inet6") == []

    def test_a_device_that_is_gone_does_not_keep_the_others(self, one: Node) -> None:
        one.ensure()
        write_held(one.run, Held(1.0, (HeldAddress("gone0", f"{IP}/32"), *read_held(one.run).addresses)))
        assert one.drop_overdue(1000.0) == [f"{IP}/32"]

    def test_there_may_be_no_file_and_a_broken_one_is_told(self, tmp_path: Path) -> None:
        assert drop_overdue(tmp_path, 1.0) == []
        (tmp_path / NAME).write_text("{")
        with pytest.raises(ValueError, match=r"floating\.json cannot be read"):
            drop_overdue(tmp_path, 1.0)
