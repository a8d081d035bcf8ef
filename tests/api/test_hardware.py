"""CPUs, memory, disks and NICs of a VM are changed by the server, which loses nobody's change between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from .fake_compute import definition
from .rig import FUNCTIONS, Api, FunctionsPlugin, Rig

MAC = "52:54:00:00:77:01"
SUBNET = {"ip4_network": "10.88.0.0/24", "ip4_gateway": "10.88.0.1"}


@pytest.fixture(scope="module", autouse=True)
def objects(client: httpx2.Client) -> None:
    made = {"vni": "88", "description": "net88", "nettype": "managed", **SUBNET}
    client.post("/network", data=made).raise_for_status()
    for volume in ("hard_a", "hard_b"):
        client.post("/storage/ceph/volume", data={"pool": "vms", "volume": volume, "size": "1G"}).raise_for_status()


@pytest.fixture
def vm(client: httpx2.Client) -> Any:
    client.post("/vm", data={"xml": definition("hard", disk="vms/hard_a")}).raise_for_status()
    yield lambda: client.get("/vm/hard").json()[0]
    client.delete("/vm/hard")


Shown = Callable[[], dict[str, Any]]


def test_cpus_and_memory(client: httpx2.Client, vm: Shown) -> None:
    answer = client.put("/vm/hard/vcpu", data={"vcpus": "6", "topology": "1,3,2"})
    assert answer.status_code == 200 and answer.json()["device"] == "" and answer.headers["ETag"]
    assert client.put("/vm/hard/memory", json={"memory": 768}).status_code == 200
    assert (vm()["vcpu"], vm()["memory"]) == (6, 768)
    for path, form in (
        ("vcpu", {"vcpus": "0"}), ("vcpu", {"vcpus": "4", "topology": "1,3,1"}),
        ("vcpu", {"vcpus": "4", "topology": "4"}),
        ("memory", {"memory": "1G"}), ("memory", {}),
    ):  # fmt: skip
        assert client.put(f"/vm/hard/{path}", data=form).status_code == 400, form
    assert (vm()["vcpu"], vm()["memory"]) == (6, 768)


def test_disks(client: httpx2.Client, vm: Shown) -> None:
    answer = client.post("/vm/hard/volume", data={"volume": "vms/hard_b"})
    assert answer.status_code == 200 and "vms/hard_b" in answer.json()["device"]
    assert [disk["name"] for disk in vm()["disks"]] == ["vms/hard_a", "vms/hard_b"]
    assert client.post("/vm/hard/volume", data={"volume": "vms/nope"}).status_code == 400
    gone = client.request("DELETE", "/vm/hard/volume", data={"volume": "vms/hard_a"})
    assert gone.status_code == 200 and "vms/hard_a" in gone.json()["device"]
    assert [disk["name"] for disk in vm()["disks"]] == ["vms/hard_b"]
    again = client.request("DELETE", "/vm/hard/volume", data={"volume": "vms/hard_a"})
    assert (again.status_code, again.json()["code"]) == (400, "not_found")


def test_network_cards(client: httpx2.Client, vm: Shown) -> None:
    for network in ("net88", "88", "upstream"):
        assert client.post("/vm/hard/network", data={"network": network}).status_code == 200
    assert client.post("/vm/hard/network", data={"network": "88", "macaddr": MAC.upper()}).status_code == 200
    assert [nic["vni"] for nic in vm()["networks"]] == ["88", "88", "upstream", "88"]
    several = client.request("DELETE", "/vm/hard/network", data={"network": "net88"})
    assert several.status_code == 400 and MAC in several.json()["help"]
    gone = client.request("DELETE", "/vm/hard/network", data={"network": "88", "macaddr": MAC})
    assert gone.status_code == 200 and MAC in gone.json()["device"]
    assert client.request("DELETE", "/vm/hard/network", data={"network": "upstream"}).status_code == 200
    assert [nic["vni"] for nic in vm()["networks"]] == ["88", "88"]
    for method, form in (
        ("POST", {"network": "nope"}), ("POST", {}), ("POST", {"network": "88", "macaddr": "zz"}), ("DELETE", {}),
        ("POST", {"network": "88", "macaddr": "01:00:5e:00:00:01"}), ("DELETE", {"network": "upstream"}),
    ):  # fmt: skip
        assert client.request(method, "/vm/hard/network", data=form).status_code == 400, form


def test_a_function_of_the_vms_node(client: httpx2.Client, api: Api, vm: Shown) -> None:
    api.rig.plugins["net_fake"] = FunctionsPlugin({})
    api.rig.node.actions |= FUNCTIONS
    try:
        form = {"network": "ens1f0v0", "sriov": "true", "sriov_mode": "hostdev"}
        answer = client.post("/vm/hard/network", data=form)
        assert answer.status_code == 200 and "'bus': '65'" in answer.json()["device"], answer.text
        assert client.post("/vm/hard/network", data={**form, "network": "nope"}).json()["code"] == "not_found"
    finally:
        del api.rig.plugins["net_fake"]


def test_what_reaches_outside_needs_an_admin(api: Api, rig: Rig, vm: Shown) -> None:
    key = rig.services.keys.add("hard-op", "operator")
    with api.client(key=key) as operator:
        answer = operator.post("/vm/hard/volume", data={"volume": "/etc/passwd"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert operator.put("/vm/hard/memory", data={"memory": "512"}).status_code == 200
    assert [disk["name"] for disk in vm()["disks"]] == ["vms/hard_a"]


def test_nobodys_change_is_lost(api: Api, client: httpx2.Client, vm: Shown) -> None:
    """Of two who change at once, each is in the definition or was told no."""
    told: dict[str, bool] = {}

    def add(number: int) -> None:
        mac = f"52:54:00:00:88:{number:02x}"
        with api.client() as own:
            answer = own.post("/vm/hard/network", data={"network": "88", "macaddr": mac})
            assert answer.status_code in (200, 400, 409), answer.text
            told[mac] = answer.status_code == 200

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 12 and any(told.values())
    assert {nic["mac"] for nic in vm()["networks"]} == {mac for mac, done in told.items() if done}
    stale = client.put("/vm/hard/memory", data={"memory": "99"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412 and vm()["memory"] != 99
