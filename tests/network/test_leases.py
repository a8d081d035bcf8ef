"""Leases and reservations: what may be reserved, what is shown, and the wire's shape of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pvc_api_falcon.routes.lease import lease_body
from pvc_core.cluster import layout
from pvc_core.errors import Exists, Invalid, NotFound, PvcError, Refused
from pvc_core.model.network import GivenAddress
from pvc_core.model.task import TaskState
from pvc_core.reconcile.kinds.networks import KINDS
from pvc_core.reconcile.task import Job
from pvc_core.services.leases import LeaseService
from pvc_core.services.networks import NetworkWords

from .test_networks_asked import Cluster, words

MAC, OTHER = "52:54:00:00:00:02", "52:54:00:00:00:01"
GIVEN = {"address": "10.20.0.101", "mac": OTHER, "hostname": "web1", "expires_s": 1766400000}


class Net:
    """A network with DHCP, whose driver on the primary has given one address."""

    def __init__(self) -> None:
        self.cluster, self.asked = Cluster(), []
        self.cluster.service.add(100, "managed", words(), by="me")
        object.__setattr__(self.cluster.desk, "ask", self._ask)
        object.__setattr__(self.cluster.desk, "waiter", self._tasks_run)
        self.leases = LeaseService(self.cluster.desk)

    def _ask(self, node: str, question: str, args: dict[str, Any], **_: Any) -> Any:
        self.asked.append((node, question))
        return SimpleNamespace(result={"given": [GIVEN]})

    def _tasks_run(self, true: Any) -> bool:
        """As the primary does."""
        cluster = self.cluster
        for id, kept in cluster.keeper.view.tasks.items():
            job = Job(ground=cluster.reconcilers["hv1"].ground, task=kept.value, progress=lambda *_: None)
            try:
                ended = replace(kept.value, state=TaskState.SUCCESS, status=KINDS[kept.value.kind].do(job).status)
            except Refused as error:
                ended = replace(kept.value, state=TaskState.FAILURE, status=error.message, error_code=error.code)
            cluster.repository.set(layout.TASKS, id, ended, if_version=kept.version)
            cluster.keeper.settle([layout.TASKS.key(id)], inline=True)
        return bool(true(cluster.keeper.view))

    @property
    def reserved(self) -> list[tuple[str, str, str]]:
        network = self.cluster.keeper.view.networks["100"].value
        return [(one.mac, one.address, one.hostname) for one in network.reservations]


@pytest.fixture
def net() -> Net:
    return Net()


def test_reservations_and_leases_are_listed_by_address_in_the_wires_shape(net: Net) -> None:
    net.leases.reserve("lab", mac=MAC.upper(), address="10.20.0.20", hostname="db1", by="me")
    found = [lease_body(one) for one in net.leases.list("100")]
    sample = json.loads((Path(__file__).parents[1] / "api/samples.json").read_text())["GET /network/1000/lease"]["body"]
    assert [set(one) for one in found] == [set(one) for one in sample]
    assert [one["timestamp"] for one in found] == ["static", "1766400000"]
    assert found[0] == {"hostname": "db1", "ip4_address": "10.20.0.20", "mac_address": MAC, "timestamp": "static"}
    assert net.asked == [("hv1", "given_addresses")]
    assert [one.mac for one in net.leases.list("100", static=True)] == [MAC]
    assert [one.mac for one in net.leases.list("100", "web1")] == [OTHER]
    assert net.leases.show("100", "web1").address == "10.20.0.101" and net.leases.show("100", MAC).hostname == "db1"


def test_a_reservation_is_taken_back_by_mac_address_or_name(net: Net) -> None:
    for word in (MAC, "10.20.0.20", "DB1"):
        net.leases.reserve("100", mac=MAC, address="10.20.0.20", hostname="db1", by="me")
        assert "is removed" in net.leases.release("100", word, by="me")
        assert net.reserved == []


def test_a_lease_ends_at_the_primary_by_its_driver(net: Net) -> None:
    net.cluster.world.given[100] = [GivenAddress(**GIVEN), GivenAddress(**{**GIVEN, "address": "10.20.0.102"})]
    said = net.leases.release("100", OTHER, by="joe")
    assert said.startswith(f"The lease of 10.20.0.101 for {OTHER} in network 100 (lab) has ended")
    assert [one.address for one in net.cluster.world.given[100]] == ["10.20.0.102"]
    (task,) = (kept.value for kept in net.cluster.keeper.view.tasks.values())
    assert (task.kind, task.node, task.asked_by) == ("network.release", "", "joe")
    with pytest.raises(NotFound, match="no lease or reservation of nobody"):
        net.leases.release("100", "nobody", by="me")


def test_a_driver_that_ends_no_leases_says_so(net: Net) -> None:
    net.cluster.world.fault = Refused("this driver does not end leases")
    with pytest.raises(Refused, match="does not end leases"):
        net.leases.release("100", "web1", by="me")


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"mac": "nonsense"}, Invalid, "no MAC address"),
        ({"mac": "01:00:5e:00:00:01"}, Invalid, "no MAC address"),
        ({"address": "999.999.999.999"}, Invalid, "is no address"),
        ({"address": "10.21.0.5"}, Invalid, "no address that a guest in 10.20.0.0/24"),
        ({"address": "10.20.0.255"}, Invalid, "no address that a guest in 10.20.0.0/24"),
        ({"address": "10.20.0.1"}, Invalid, "is the gateway"),
        ({"hostname": "a b"}, Invalid, "no host name"),
        ({"mac": MAC}, Exists, "has 10.20.0.20 reserved"),
        ({"address": "10.20.0.20"}, Exists, "is reserved for"),
        ({"hostname": "DB1"}, Exists, "has the host name"),
    ],
)
def test_bad_reservations_are_one_clear_error_and_change_nothing(
    net: Net, given: dict[str, str], kind: type[PvcError], said: str
) -> None:
    net.leases.reserve("100", mac=MAC, address="10.20.0.20", hostname="db1", by="me")
    before = net.reserved
    with pytest.raises(kind, match=said):
        net.leases.reserve("100", **{"mac": OTHER, "address": "10.20.0.30", "hostname": "web", **given}, by="me")
    assert net.reserved == before


def test_the_smallest_network_says_what_may_be_had(net: Net) -> None:
    ip4 = {"network": "10.30.0.0/30", "gateway": "10.30.0.1", "dhcp": True} | {"dhcp_start": "10.30.0.2"}
    net.cluster.service.add(101, "managed", NetworkWords(name="small", ip4=ip4 | {"dhcp_end": "10.30.0.2"}), by="me")
    with pytest.raises(Invalid, match="is no address"):
        net.leases.reserve("101", mac=MAC, address="nowhere", by="me")


def test_no_reservations_where_no_addresses_are_given(net: Net) -> None:
    net.cluster.service.add(101, "bridged", NetworkWords(name="plain"), by="me")
    with pytest.raises(Refused, match="gives no addresses"):
        net.leases.reserve("plain", mac=MAC, address="10.20.0.20", by="me")
    assert net.leases.list("plain") == []
    with pytest.raises(NotFound, match="there is no network 'nope'"):
        net.leases.list("nope")


def test_a_network_is_not_moved_away_from_its_reservations(net: Net) -> None:
    net.leases.reserve("100", mac=MAC, address="10.20.0.20", by="me")
    moved = {"network": "10.30.0.0/24", "gateway": "10.30.0.1", "dhcp_start": "10.30.0.5", "dhcp_end": "10.30.0.9"}
    with pytest.raises(Refused, match="which is reserved for"):
        net.cluster.service.modify("100", NetworkWords(ip4=moved), by="me")
