"""Networks and their ACLs through the API: their life, and every bad input is one clear error that changes nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from pvc_cli.main import run

from .fake_compute import definition
from .rig import Api, Rig

LAB = {"vni": "900", "description": "lab", "nettype": "managed", "ip4_network": "10.90.0.0/24"}
SPARE = {"vni": "901", "description": "spare", "nettype": "managed", "ip4_network": "10.91.0.0/24"}
GATE = {**SPARE, "ip4_gateway": "10.91.0.1", "dhcp4": "true", "dhcp4_start": "10.91.0.10", "dhcp4_end": "10.91.0.20"}


@pytest.fixture(scope="module", autouse=True)
def lab(client: httpx2.Client) -> Iterator[None]:
    assert client.post("/network", data=LAB).status_code == 200
    nic = '<nic mac="52:54:00:00:09:01" source="vmbr900" network="900"/>'
    assert client.post("/vm", data={"xml": definition("onlab", more=nic)}).status_code == 200
    yield


@pytest.mark.parametrize(
    ("method", "path", "asked", "said"),
    [
        ("POST", "/network", {**SPARE, "vni": "900"}, "vni 900 is used by network 'lab'"),
        ("POST", "/network", {**SPARE, "vni": "16777216"}, "vni: must be a whole number between 1 and 16777215"),
        ("POST", "/network", {**SPARE, "vni": "4095", "nettype": "bridged"}, "4095 cannot be the number of a bridged"),
        ("POST", "/network", {**SPARE, "description": "lab"}, "network 900 has the description 'lab' already"),
        ("POST", "/network", {**SPARE, "ip4_network": "10.90.0.128/25"}, "overlaps 10.90.0.0/24 of network 900 (lab)"),
        ("POST", "/network", {**SPARE, "ip4_network": "10.0.0.0/8"}, "overlaps"),
        ("POST", "/network", {**SPARE, "ip4_network": "10.1.0.64/26"}, "of the hosts' cluster network"),
        ("POST", "/network", {**SPARE, "ip4_network": "999.999.999.999/24"}, "'999.999.999.999/24' is no network"),
        ("POST", "/network", {**SPARE, "mtu": "1500"}, "an MTU of 1500 does not fit network 901"),
        ("POST", "/network", {**SPARE, "nettype": "ovs"}, "no plugin makes networks of type 'ovs' here"),
        ("POST", "/network", {**GATE, "ip4_gateway": "10.92.0.1"}, "the gateway 10.92.0.1 is no address that"),
        ("POST", "/network", {**GATE, "ip4_gateway": "10.91.0.15"}, "10.91.0.15 is among the DHCP addresses"),
        ("POST", "/network", {**GATE, "ip4_gateway": "999.999.999.999"}, "the gateway '999.999.999.999' is no address"),
        ("POST", "/network", {**GATE, "dhcp4_start": "10.92.0.9"}, "the first DHCP address 10.92.0.9 is no address"),
        ("POST", "/network", {**SPARE, "option": "flavour=7"}, "flavour: Unknown field"),
        ("PUT", "/network/lab", {"mtu": "9000"}, "an MTU of 9000 does not fit network 900"),
        ("PUT", "/network/lab", {"ip4_network": "10.1.0.0/24"}, "of the hosts' cluster network"),
        ("DELETE", "/network/lab", {}, "network 900 (lab) is used by VM onlab"),
        ("POST", "/network/lab/acl", {"description": "a", "rule": "x", "direction": "up"}, "direction: "),
        ("POST", "/network/lab/acl", {"description": "a b", "rule": "drop"}, "a b"),
        ("POST", "/network/lab/acl", {"description": "a", "rule": " "}, "this is no rule"),
        ("POST", "/network/nope/acl", {"description": "a", "rule": "drop"}, "there is no network 'nope'"),
        ("DELETE", "/network/lab/acl/nope", {}, "has no ACL 'nope'"),
    ],
)
def test_bad_input_is_one_clear_error_and_changes_nothing(
    client: httpx2.Client, method: str, path: str, asked: dict[str, str], said: str
) -> None:
    before = client.get("/network").json(), client.get("/network/lab/acl").json()
    answer = client.request(method, path, data=asked or None)
    told = answer.json()
    assert answer.status_code in (400, 404, 409) and said in _text(told), told
    assert told["code"] in ("invalid", "refused", "exists", "not_found"), told
    assert (client.get("/network").json(), client.get("/network/lab/acl").json()) == before


ADD = ("add", "-d", "spare", "-p", "managed")
GATED = (*ADD, "-i", "10.91.0.0/24", "--dhcp", "--dhcp-start", "10.91.0.10", "--dhcp-end", "10.91.0.20", "-g")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((*ADD, "-i", "10.90.0.128/25", "901"), "overlaps 10.90.0.0/24 of network 900 (lab)"),
        ((*ADD, "900"), "vni 900 is used by network 'lab'"),
        ((*ADD, "-i", "999.999.999.999/24", "901"), "'999.999.999.999/24' is no network"),
        ((*GATED, "10.92.0.1", "901"), "the gateway 10.92.0.1 is no address that"),
        ((*GATED, "999.999.999.999", "901"), "the gateway '999.999.999.999' is no address"),
        ((*GATED, "10.91.0.15", "901"), "10.91.0.15 is among the DHCP addresses"),
        ((*ADD, "-m", "1500", "901"), "an MTU of 1500 does not fit network 901"),
        (("add", "-d", "spare", "-p", "ovs", "901"), "no plugin makes networks of type 'ovs' here"),
        (("remove", "-y", "lab"), "network 900 (lab) is used by VM onlab"),
        (("acl", "add", "-d", "a", "-r", "drop; accept", "lab"), "rule"),
        (("dhcp", "add", "lab", "999.999.999.999", "db", "52:54:00:00:09:02"), "gives no addresses"),
    ],
    ids=lambda words: " ".join(words)[-40:] if isinstance(words, tuple) else "",
)
def test_the_command_line_tells_the_same_in_one_line(
    api: Api, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    asked: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("PVC_API_URL", api.url)
    monkeypatch.setenv("PVC_API_KEY", api.key)
    before = client.get("/network").json(), client.get("/network/lab/acl").json()
    capfd.readouterr()
    assert run(("network", *asked)) == 1
    told = capfd.readouterr()
    assert said in told.err and not told.out and "Traceback" not in told.err, told
    assert (client.get("/network").json(), client.get("/network/lab/acl").json()) == before


@pytest.mark.parametrize(
    ("mac", "said"),
    [("52:54:00:00:09:01", "belongs to a NIC of VM onlab"), ("01:00:5e:00:00:01", "cannot be the MAC of a NIC")],
)
def test_a_mac_names_one_nic_of_the_cluster(client: httpx2.Client, mac: str, said: str) -> None:
    nic = f'<nic mac="{mac}" source="vmbr900" network="900"/>'
    answer = client.post("/vm", data={"xml": definition("second", more=nic)})
    assert answer.status_code == 400 and said in answer.text
    assert client.get("/vm/second").status_code == 404


needs_nft = pytest.mark.skipif(not shutil.which("nft") or os.geteuid() != 0, reason="nft or root is not there")


@needs_nft
def test_acls_stand_in_their_order_and_are_shown_as_given(client: httpx2.Client, rig: Rig) -> None:
    rule = "tcp  dport { 22, 80 } accept"
    for name, more in (
        ("web", {"direction": "in"}), ("last", {"direction": "in"}), ("first", {"direction": "in", "order": "0"}),
        ("out", {}), *((f"n{number}", {"direction": "in", "order": str(number)}) for number in range(3, 12)),
    ):  # fmt: skip
        answer = client.post("/network/lab/acl", data={"description": name, "rule": rule, **more})
        assert answer.status_code == 200, answer.text
    shown = client.get("/network/lab/acl?direction=in").json()
    names = ["first", "web", "last", *(f"n{number}" for number in range(3, 12))]
    assert [(one["description"], one["order"]) for one in shown] == [(name, str(at)) for at, name in enumerate(names)]
    assert client.get("/network/900/acl/out").json() == {
        "order": "0", "description": "out", "rule": rule, "direction": "out",
    }  # fmt: skip
    assert [one["description"] for one in client.get("/network/lab/acl?limit=^n1").json()] == ["n10", "n11"]
    counted = client.get("/network/lab/acl?counters=true&limit=web").json()
    assert (counted[0]["packets"], counted[0]["bytes"]) == (3, 180)
    assert client.post("/network/lab/acl/web", data={"rule": "drop"}).json()["code"] == "exists"
    for name in [*names, "out"]:
        assert client.delete(f"/network/lab/acl/{name}").status_code == 200
    assert client.get("/network/lab/acl").json() == []
    assert client.delete("/network/lab/acl/web").status_code == 404


@needs_nft
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("tcp dport 22 accept; tcp dport 23 accept", "syntax error, unexpected junk"),
        ("drop\naccept", "syntax error, unexpected junk"),
        ("drop; flush ruleset", "syntax error, unexpected junk"),
        ("tcp dprt 22 accept", "syntax error, unexpected string"),
        ("ip saddr 999.999.999.999 drop", "Could not resolve hostname"),
        ("jump elsewhere", "No such file or directory"),
        ("accept } table ip x { chain y {", "syntax error, unexpected '}'"),
    ],
)
def test_a_rule_that_is_none_gets_nfts_own_words(client: httpx2.Client, rule: str, said: str) -> None:
    answer = client.post("/network/lab/acl", data={"description": "bad", "rule": rule})
    assert answer.status_code == 400 and said in _text(answer.json()), answer.text
    assert client.get("/network/lab/acl").json() == []


def test_no_rule_is_stored_while_no_node_can_be_asked(client: httpx2.Client, rig: Rig) -> None:
    rig.node.nodes_answer = False
    try:
        answer = client.post("/network/lab/acl", data={"description": "web", "rule": "drop"})
    finally:
        rig.node.nodes_answer = True
    assert answer.status_code == 503 and "no node could be asked whether it takes the rule" in answer.text
    assert client.get("/network/lab/acl").json() == []


def _text(told: dict[str, Any]) -> str:
    """The message, which for wrong parameters is a table."""
    message = told["message"]
    words = "; ".join(f"{name}: {why}" for name, why in message.items()) if isinstance(message, dict) else message
    return re.sub(r"\s+", " ", str(words))
