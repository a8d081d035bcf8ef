"""What managed networks are for, with guests that are real virtual machines on real nodes: they get addresses by DHCP
and router advertisements, find each other by name, know who they are, talk over VXLAN while an ACL comes and goes,
while the primary dies and while one of them moves; another network is apart.

Each guest runs its user data: rounds in which it tells on its console whom it reached. The two that talk are on the
nodes that are not primary; no node is fenced meanwhile (tests/lab/test_failover.py does that). `script/soak --networks`
plays it alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from fault_watch import all_well, primary

from lab import LabError
from lab.api import ApiError
from lab.guest_xml import mac_of

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VNI, OTHER = "100", "101"
ONE, FAR = "10.50.0.60", "10.51.0.60"
GATEWAY, FAR_GATEWAY = "10.50.0.1", "10.51.0.1"
WAIT_S = 300.0
"""Guests without KVM on a machine that does other work as well."""
TALKS = """#!/bin/sh
say() {{ printf '\\r\\n%s\\r\\n' "$1"; }}
asks() {{ ping -c 2 -W 4 "$2" >/dev/null 2>&1 && heard="$heard $1"; }}
named() {{ nslookup {peer}.lab.test 2>/dev/null | sed -n '/^Name/,$s/^Address[^0-9]*//p' | sed -n 1p; }}
say "I am $(wget -q -O - http://169.254.169.254/latest/meta-data/local-hostname), a guest of PVC"
until address=$(named) && [ -n "$address" ]; do sleep 1; done
say "{peer} is $address in DNS"
until ip -o -6 addr show dev eth0 scope global | grep -q fd50; do sleep 1; done
say "by advertisement:$(ip -o -6 addr show dev eth0 scope global | awk '{{printf " %s", $4}}')"
while :; do
    n=$((n + 1)) heard=
    asks peer "$address"
    asks six {peer_six}
    asks gateway {gateway}
    case $heard in *gateway*) [ "$(named)" = "$address" ] && heard="$heard name" ;; esac
    say "round $n heard:$heard."
    sleep 1
done
"""
FAR_TALKS = """#!/bin/sh
while :; do
    n=$((n + 1)) heard=
    ping -c 1 -W 1 {gateway} >/dev/null 2>&1 && heard="$heard gateway"
    ping -c 1 -W 1 {peer} >/dev/null 2>&1 && heard="$heard peer"
    printf '\\r\\n%s\\r\\n' "round $n heard:$heard."
    sleep 1
done
"""


@dataclass(frozen=True)
class Talk:
    """One on node `at_one` and two on `at_two` talk to each other; far, on `at_one`, is in the other network."""

    lab: RunningLab
    primary: str
    at_one: str
    at_two: str

    def says(self, guest: str, words: str) -> None:
        self._waits(guest, lambda: re.search(words, self.console(guest)), f"{guest} says {words!r}")

    def hears(self, guest: str, *wanted: str, not_: str = "", since: int = 0) -> None:
        """In one of its last rounds, which are after `since`, it reached all of `wanted`, and not `not_`."""

        def does() -> bool:
            rounds = [heard for number, heard in self.rounds(guest) if number > since]
            return any({*wanted} <= heard and not_ not in heard for heard in rounds[-3:])

        self._waits(guest, does, f"{guest} hears {wanted}, not {not_ or 'any less'}")

    def never_parted(self, guest: str, since: int) -> None:
        """It reached its peer, by both families, in one of any three rounds on end. Each that fails is ten seconds of
        silence: much less than a node needs to come back, much more than a busy machine lets a guest wait.
        """
        rounds = self.rounds(guest)
        numbers = [number for number, _ in rounds]  # one may be missing: the kernel had a word in its line
        assert numbers == sorted({*numbers}), f"{guest} began anew: {rounds}"
        lost = {number for number, heard in rounds if number > since and not {"peer", "six"} <= heard}
        on_end = [number for number in lost if {number + 1, number + 2} <= lost]
        assert not on_end, f"{guest} lost its peer in rounds {lost}: {rounds[-30:]}"

    def rounds(self, guest: str) -> list[tuple[int, set[str]]]:
        told = re.findall(r"^round (\d+) heard:(.*)\.\r?$", self.console(guest), re.MULTILINE)
        return [(int(number), {*words.split()}) for number, words in told]

    def last_round(self, guest: str) -> int:
        """Asked again while the API moves with the primary."""
        found: list[int] = []

        def asked() -> bool:
            found[:] = [number for number, _ in self.rounds(guest)]
            return bool(found)

        self.lab.eventually(asked, f"{guest} makes rounds", deadline_s=WAIT_S)
        return found[-1]

    def moves(self, guest: str, node: str) -> None:
        """Asked again where it was called off: a busy machine may make a migration take too long."""

        def there() -> bool:
            (vm,) = self.lab.api.get(f"/vm/{guest}")
            if vm["state"] == "start" and vm["node"] != node:
                with contextlib.suppress(ApiError):
                    self.lab.api.post(f"/vm/{guest}/node", action="move", node=node, wait="true")
            return bool(vm["state"] == "start" and vm["node"] == node)

        try:
            self.lab.eventually(there, f"{guest} moves to {node}", deadline_s=WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.lab.api.get(f'/vm/{guest}')[0]['status']}") from None

    def acting(self) -> str:
        """As the API says: also while a node is off."""
        acting = [one["name"] for one in self.lab.api.get("/node") if one["coordinator_state"] == "primary"]
        return str(acting[0]) if acting else self.primary

    def _waits(self, guest: str, true: Callable[[], object], what: str) -> None:
        try:
            self.lab.eventually(true, what, deadline_s=WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; its console ends {self.console(guest)[-600:]!r}") from None

    def console(self, guest: str) -> str:
        return str(self.lab.api.get(f"/vm/{guest}/console", lines=20_000)["data"])


@pytest.fixture(scope="module")
def talk(lab3: RunningLab) -> Iterator[Talk]:
    all_well(lab3)
    acting = primary(lab3)
    at_one, at_two = (node for node in lab3.nodes if node != acting)
    try:
        _networks(lab3)
        for guest, node, peer in (("one", at_one, "two"), ("two", at_two, "one")):
            data = TALKS.format(peer=peer, peer_six=_six(peer), gateway=GATEWAY)
            lab3.begin_guest(guest, node=node, network=VNI, flavour="cloud", user_data=data)
        far = FAR_TALKS.format(gateway=FAR_GATEWAY, peer=ONE)
        lab3.begin_guest("far", node=at_one, network=OTHER, flavour="cloud", user_data=far)
        yield Talk(lab3, acting, at_one, at_two)
    finally:
        for guest in ("one", "two", "far"):
            lab3.remove_guest(guest)
        lab3.eventually(partial(_removed, lab3), "both networks are gone", deadline_s=WAIT_S)
    for node in lab3.nodes:
        assert "vmbr" not in lab3.exec(node, "ip", "-o", "link")


def test_guests_know_their_addresses_names_and_themselves(talk: Talk) -> None:
    for guest, peer in (("one", "two"), ("two", "one")):
        talk.says(guest, rf"I am {guest}\.lab\.test, a guest of PVC")
        talk.says(guest, rf"{peer} is 10\.50\.0\.\d+ in DNS")
        talk.says(guest, f"by advertisement: .*{_six(guest)}/64")
    leases = talk.lab.api.get(f"/network/{VNI}/lease")
    two = next(one["ip4_address"] for one in leases if one["mac_address"] == mac_of("two"))
    assert f"two is {two} in DNS" in talk.console("one")
    assert f"one is {ONE} in DNS" in talk.console("two")  # reserved


def test_they_talk_over_vxlan_in_both_families_and_the_other_network_is_apart(talk: Talk) -> None:
    for guest in ("one", "two"):
        talk.hears(guest, "peer", "six", "gateway", "name")
    talk.hears("far", "gateway", not_="peer")
    assert not [number for number, heard in talk.rounds("far") if "peer" in heard]
    answer = talk.lab.pvc("network", "remove", "-y", "lab")
    assert answer.returncode == 1 and "is used by VM one, two" in answer.stderr


def test_an_acl_holds_while_they_talk(talk: Talk) -> None:
    lab = talk.lab
    lab.api.post(f"/network/{VNI}/acl", description="quiet", rule="icmp type echo-request drop", direction="in")
    talk.hears("one", "six", "gateway", not_="peer", since=talk.last_round("one"))
    assert lab.api.get(f"/network/{VNI}/acl")[0]["rule"] == "icmp type echo-request drop"
    lab.eventually(lambda: lab.api.get(f"/network/{VNI}/acl?counters=true")[0]["packets"], "what it drops is counted")
    refused = lab.pvc("network", "acl", "add", "-d", "two", "-r", "drop; accept", VNI)
    assert refused.returncode == 1 and "syntax error" in refused.stderr
    lab.api.delete(f"/network/{VNI}/acl/quiet")
    for guest in ("one", "two"):
        talk.hears(guest, "peer", since=talk.last_round(guest))


def test_they_talk_while_the_primary_dies_and_have_their_gateway_again(talk: Talk) -> None:
    lab = talk.lab
    began = {guest: talk.last_round(guest) for guest in ("one", "two")}
    with lab.unfenced():
        lab.power_off(talk.primary)
        try:
            lab.eventually(lambda: talk.acting() != talk.primary, "another is primary", deadline_s=WAIT_S)
            for guest in began:
                talk.hears(guest, "peer", "six", "gateway", "name", since=talk.last_round(guest))
        finally:
            lab.power_on(talk.primary)
            all_well(lab, deadline_s=WAIT_S)
    for guest, since in began.items():
        talk.never_parted(guest, since)


def test_they_talk_while_one_of_them_moves(talk: Talk) -> None:
    began = {guest: talk.last_round(guest) for guest in ("one", "two")}
    talk.moves("two", talk.primary)
    for guest, since in began.items():
        talk.hears(guest, "peer", "six", "gateway", "name", since=talk.last_round(guest))
        talk.never_parted(guest, since)


def _networks(lab: RunningLab) -> None:
    lab.api.post(
        "/network", vni=VNI, description="lab", nettype="managed", domain="lab.test", ip4_network="10.50.0.0/24",
        ip4_gateway=GATEWAY, dhcp4="true", dhcp4_start="10.50.0.100", dhcp4_end="10.50.0.199",
        ip6_network="fd50::/64", ip6_gateway="fd50::1",
    )  # fmt: skip
    lab.api.post(
        "/network", vni=OTHER, description="apart", nettype="managed", ip4_network="10.51.0.0/24",
        ip4_gateway=FAR_GATEWAY, dhcp4="true", dhcp4_start="10.51.0.100", dhcp4_end="10.51.0.199",
    )  # fmt: skip
    for vni, guest, address in ((VNI, "one", ONE), (OTHER, "far", FAR)):
        lab.api.post(f"/network/{vni}/lease", macaddress=mac_of(guest), ipaddress=address, hostname=guest)
        try:
            lab.eventually(partial(_usable, lab, vni), f"network {vni} is usable", deadline_s=WAIT_S)
        except AssertionError as error:
            raise LabError(f"{error}; it says {lab.api.get(f'/network/{vni}')[0]['status']}") from None


def _removed(lab: RunningLab) -> bool:
    """One is refused while its last guest is on the way out."""
    for network in lab.api.get("/network"):
        with contextlib.suppress(ApiError):
            lab.api.delete(f"/network/{network['vni']}")
    return not lab.api.get("/network")


def _usable(lab: RunningLab, vni: str) -> bool:
    return str(lab.api.get(f"/network/{vni}")[0]["status"]) == "usable on all nodes"


def _six(guest: str) -> str:
    """What it makes of the advertised prefix and its MAC (RFC 4291 A)."""
    plain = bytes.fromhex(mac_of(guest).replace(":", ""))
    whole = bytes([plain[0] ^ 2, *plain[1:3], 0xFF, 0xFE, *plain[3:]]).hex()
    return "fd50::" + ":".join(f"{int(whole[at : at + 4], 16):x}" for at in range(0, 16, 4))
