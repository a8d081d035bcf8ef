"""What managed networks are for, with guests that are real virtual machines on real nodes: they get addresses by DHCP
and router advertisements, find each other by name, know who they are, talk over VXLAN while an ACL comes and goes,
while the primary dies and while one of them moves; another network is apart.

Each guest runs its user data: a round every second, in which it tells on its console whom it reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from fault_watch import all_well, primary

from lab.guest_xml import mac_of

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VNI, OTHER = "100", "101"
ONE, FAR = "10.50.0.60", "10.51.0.60"
GATEWAYS = {"one": "10.50.0.1", "two": "10.50.0.1", "far": "10.51.0.1"}
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
say() {{ printf '\\r\\n%s\\r\\n' "$1"; }}
while :; do
    n=$((n + 1)) heard=
    ping -c 1 -W 1 {gateway} >/dev/null 2>&1 && heard="$heard gateway"
    ping -c 1 -W 1 {peer} >/dev/null 2>&1 && heard="$heard peer"
    say "round $n heard:$heard."
    sleep 1
done
"""


def six(guest: str) -> str:
    """What it makes of the advertised prefix and its MAC (RFC 4291 A)."""
    plain = bytes.fromhex(mac_of(guest).replace(":", ""))
    whole = bytes([plain[0] ^ 2, *plain[1:3], 0xFF, 0xFE, *plain[3:]]).hex()
    return "fd50::" + ":".join(f"{int(whole[at : at + 4], 16):x}" for at in range(0, 16, 4))


@pytest.fixture(scope="module")
def talking(lab3: RunningLab) -> Iterator[RunningLab]:
    """One on hv1 and two on hv2 talk to each other, far is in the other network; hv3 is primary."""
    try:
        _networks(lab3)
        lab3.pvc("node", "primary", "hv3")
        lab3.eventually(lambda: primary(lab3) == "hv3", "hv3 is primary")
        for guest, node, peer in (("one", "hv1", "two"), ("two", "hv2", "one")):
            data = TALKS.format(peer=peer, peer_six=six(peer), gateway=GATEWAYS[guest])
            lab3.guest(guest, node=node, network=VNI, flavour="cloud", user_data=data)
        far = FAR_TALKS.format(gateway=GATEWAYS["far"], peer=ONE)
        lab3.guest("far", node="hv1", network=OTHER, flavour="cloud", user_data=far)
        yield lab3
    finally:
        for guest in ("one", "two", "far"):
            lab3.remove_guest(guest)
        for network in lab3.api.get("/network"):
            lab3.api.delete(f"/network/{network['vni']}")
    lab3.eventually(lambda: not lab3.api.get("/network"), "both networks are gone", deadline_s=60)
    for node in lab3.nodes:
        assert "vmbr" not in lab3.exec(node, "ip", "-o", "link")


def test_guests_know_their_addresses_names_and_themselves(talking: RunningLab) -> None:
    for guest, peer in (("one", "two"), ("two", "one")):
        _says(talking, guest, f"I am {guest}, a guest of PVC")
        _says(talking, guest, rf"{peer} is 10\.50\.0\.\d+ in DNS")
        _says(talking, guest, f"by advertisement: .*{six(guest)}/64")
    assert f"two is {_leased(talking, 'two')} in DNS" in talking.console("one")
    assert f"one is {ONE} in DNS" in talking.console("two")  # reserved


def test_they_talk_over_vxlan_in_both_families_and_the_other_network_is_apart(talking: RunningLab) -> None:
    for guest in ("one", "two"):
        _hears(talking, guest, {"peer", "six", "gateway", "name"})
    _hears(talking, "far", {"gateway"})
    assert {"peer"} not in [heard & {"peer"} for _, heard in _rounds(talking, "far")]
    answer = talking.pvc("network", "remove", "-y", "lab")
    assert answer.returncode == 1 and "is used by VM one, two" in answer.stderr


def test_an_acl_holds_while_they_talk(talking: RunningLab) -> None:
    talking.api.post(f"/network/{VNI}/acl", description="quiet", rule="icmp type echo-request drop", direction="in")
    _hears(talking, "one", {"six", "gateway"}, {"peer"})
    counted = talking.api.get(f"/network/{VNI}/acl?counters=true")
    assert counted[0]["rule"] == "icmp type echo-request drop" and counted[0]["packets"] > 0
    refused = talking.pvc("network", "acl", "add", "-d", "two", "-r", "drop; accept", VNI)
    assert refused.returncode == 1 and "syntax error" in refused.stderr
    talking.api.delete(f"/network/{VNI}/acl/quiet")
    for guest in ("one", "two"):
        _hears(talking, guest, {"peer"})


def test_they_talk_while_the_primary_dies_and_have_their_gateway_again(talking: RunningLab) -> None:
    began = {guest: _round(talking, guest) for guest in ("one", "two")}
    talking.power_off("hv3")
    try:
        talking.eventually(lambda: primary(talking) in ("hv1", "hv2"), "another is primary", deadline_s=90)
        for guest, since in began.items():
            _hears(talking, guest, {"peer", "six", "gateway", "name"}, since=_round(talking, guest))
            _never_lost(talking, guest, since)
    finally:
        talking.power_on("hv3")
        all_well(talking)


def test_they_talk_while_one_of_them_moves(talking: RunningLab) -> None:
    began = {guest: _round(talking, guest) for guest in ("one", "two")}
    talking.api.post("/vm/two/node", action="move", node="hv3", wait="true")
    assert talking.api.get("/vm/two")[0]["node"] == "hv3"
    for guest, since in began.items():
        _hears(talking, guest, {"peer", "six", "gateway", "name"}, since=_round(talking, guest))
        _never_lost(talking, guest, since)
    assert talking.console("two").count("I am two") == 1  # it never began anew


def _networks(lab: RunningLab) -> None:
    lab.api.post(
        "/network", vni=VNI, description="lab", nettype="managed", domain="lab.test", ip4_network="10.50.0.0/24",
        ip4_gateway=GATEWAYS["one"], dhcp4="true", dhcp4_start="10.50.0.100", dhcp4_end="10.50.0.199",
        ip6_network="fd50::/64", ip6_gateway="fd50::1",
    )  # fmt: skip
    lab.api.post(
        "/network", vni=OTHER, description="apart", nettype="managed", ip4_network="10.51.0.0/24",
        ip4_gateway=GATEWAYS["far"], dhcp4="true", dhcp4_start="10.51.0.100", dhcp4_end="10.51.0.199",
    )  # fmt: skip
    for vni, guest, address in ((VNI, "one", ONE), (OTHER, "far", FAR)):
        lab.api.post(f"/network/{vni}/lease", macaddress=mac_of(guest), ipaddress=address, hostname=guest)
        lab.eventually(lambda vni=vni: _status(lab, vni) == "usable on all nodes", f"{vni} works", deadline_s=120)


def _says(lab: RunningLab, guest: str, words: str) -> None:
    lab.eventually(lambda: re.search(words, lab.console(guest)), f"{guest} says {words!r}", deadline_s=120)


def _hears(lab: RunningLab, guest: str, wanted: set[str], unwanted: frozenset[str] | set[str] = frozenset(), *,
           since: int = 0) -> None:  # fmt: skip
    """In one round after `since` it reached all of `wanted` and none of `unwanted`."""

    def does() -> bool:
        rounds = [heard for number, heard in _rounds(lab, guest) if number > since]
        return any(wanted <= heard and not heard & unwanted for heard in rounds[-3:])

    lab.eventually(does, f"{guest} hears {wanted} and not {unwanted or 'anything else'}", deadline_s=120)


def _never_lost(lab: RunningLab, guest: str, since: int) -> None:
    lost = [number for number, heard in _rounds(lab, guest) if number > since and not {"peer", "six"} <= heard]
    assert not lost, f"{guest} did not reach its peer in rounds {lost} after {since}: {_rounds(lab, guest)[-20:]}"


def _rounds(lab: RunningLab, guest: str) -> list[tuple[int, set[str]]]:
    told = re.findall(r"^round (\d+) heard:(.*)\.\r?$", lab.console(guest), re.MULTILINE)
    return [(int(number), {*words.split()}) for number, words in told]


def _round(lab: RunningLab, guest: str) -> int:
    return _rounds(lab, guest)[-1][0]


def _leased(lab: RunningLab, guest: str) -> str:
    leases = lab.api.get(f"/network/{VNI}/lease")
    return next(one["ip4_address"] for one in leases if one["mac_address"] == mac_of(guest))


def _status(lab: RunningLab, vni: str) -> str:
    return str(lab.api.get(f"/network/{vni}")[0]["status"])
