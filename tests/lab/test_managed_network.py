"""Guests on two real nodes in one managed network: they get addresses over VXLAN and answer, another VNI is apart, an
ACL holds from the moment it is there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VNI, OTHER = "100", "101"


def test_guests_of_two_nodes_are_in_one_network_and_apart_from_another(lab3: RunningLab) -> None:
    try:
        for vni, name in ((VNI, "lab"), (OTHER, "apart")):
            lab3.api.post("/network", vni=vni, description=name, nettype="managed")
        for vni in (VNI, OTHER):
            lab3.eventually(lambda vni=vni: _status(lab3, vni) == "usable on all nodes", f"{vni} works", deadline_s=120)
        _serve_dhcp(lab3)
        for guest, node, vni in (("one", "hv1", VNI), ("two", "hv2", VNI), ("far", "hv1", OTHER)):
            lab3.guest(guest, node=node, network=vni)
        addresses = {}
        for guest in ("one", "two"):
            lab3.eventually(lambda guest=guest: _address(lab3, guest), f"{guest} has an address", deadline_s=120)
            addresses[guest] = _address(lab3, guest)
        lab3.exec("hv1", "ip", "addr", "replace", "10.50.0.1/24", "dev", f"vmbr{VNI}")
        lab3.exec("hv1", "busybox", "ping", "-c", "1", "-W", "5", addresses["two"])  # from hv1 to a guest on hv2
        lab3.exec("hv3", "busybox", "ping", "-c", "1", "-W", "5", addresses["one"])
        assert not _address(lab3, "far")  # the same addresses are served next door
        _acl_holds_while_they_talk(lab3, addresses["two"])
        answer = lab3.pvc("network", "remove", "-y", "lab")
        assert answer.returncode == 1 and "is used by VM one, two" in answer.stderr
    finally:
        _clean(lab3)
    lab3.eventually(lambda: not lab3.api.get("/network"), "both networks are gone", deadline_s=60)
    for node in lab3.nodes:
        assert "vmbr" not in lab3.exec(node, "ip", "-o", "link")


def _acl_holds_while_they_talk(lab: RunningLab, address: str) -> None:
    """From hv1 to the guest on hv2."""
    ping = ("sh", "-c", f"busybox ping -c 1 -W 2 {address} >/dev/null && echo yes || echo no")
    lab.api.post(f"/network/{VNI}/acl", description="quiet", rule="icmp type echo-request drop", direction="in")
    lab.eventually(lambda: lab.exec("hv1", *ping).strip() == "no", "the ACL holds", deadline_s=60)
    counted = lab.api.get(f"/network/{VNI}/acl?counters=true")
    assert counted[0]["rule"] == "icmp type echo-request drop" and counted[0]["packets"] > 0
    refused = lab.pvc("network", "acl", "add", "-d", "two", "-r", "drop; accept", VNI)
    assert refused.returncode == 1 and "syntax error" in refused.stderr
    lab.api.delete(f"/network/{VNI}/acl/quiet")
    lab.eventually(lambda: lab.exec("hv1", *ping).strip() == "yes", "without it they talk again", deadline_s=60)


def _serve_dhcp(lab: RunningLab) -> None:
    """A stand-in for a gateway, on a node where none of the guests is."""
    lab.exec("hv3", "ip", "addr", "replace", "10.50.0.3/24", "dev", f"vmbr{VNI}")
    lab.exec(
        "hv3", "dnsmasq", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", f"--interface=vmbr{VNI}",
        "--dhcp-range=10.50.0.50,10.50.0.99,255.255.255.0,1h", "--dhcp-authoritative", "--no-ping", "--user=root",
        "--dhcp-leasefile=/run/lab-leases", "--pid-file=/run/lab-dhcp.pid",
    )  # fmt: skip


def _clean(lab: RunningLab) -> None:
    for guest in ("one", "two", "far"):
        lab.remove_guest(guest)
    lab.exec("hv3", "sh", "-c", "[ ! -e /run/lab-dhcp.pid ] || kill $(cat /run/lab-dhcp.pid)")
    for network in lab.api.get("/network"):
        lab.api.delete(f"/network/{network['vni']}")


def _status(lab: RunningLab, vni: str) -> str:
    return str(lab.api.get(f"/network/{vni}")[0]["status"])


def _address(lab: RunningLab, guest: str) -> str:
    found = re.search(r"eth0: (10\.50\.0\.\d+)/24", lab.console(guest))
    return found[1] if found else ""
