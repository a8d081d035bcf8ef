"""/faults as PVC's clients know it: the same bodies, acknowledged and deleted one by one or all."""

from __future__ import annotations

import httpx2
import pytest

from pvc_core.cluster import layout
from pvc_core.model.fault import Fault

from .rig import Rig, samples, shape


@pytest.fixture(autouse=True)
def faults(rig: Rig) -> None:
    for id in list(rig.keeper.view.faults):
        rig.repository.drop(layout.FAULTS, id, if_version=None)
    for number, weight in ((1, 10), (2, 25)):
        fault = Fault(id=f"FAULT_{number}", weight=weight, message=f"no {number}", first_s=1e9 + number, last_s=2e9)
        rig.repository.add(layout.FAULTS, fault.id, fault)
    rig.keeper.settle()


@pytest.mark.parametrize(
    ("path", "sample"),
    [
        ("/faults?sort_key=last_reported", "GET /faults?sort_key=last_reported"),
        ("/faults", "GET /faults?sort_key=last_reported"),
        ("/faults/FAULT_1", "GET /faults/FAULT_ID"),
    ],
)
def test_bodies_have_the_keys_and_types_of_pvc(client: httpx2.Client, path: str, sample: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert shape(answer.json()[0]) == shape(samples()[sample]["body"][0])


def test_they_are_sorted_as_asked(client: httpx2.Client) -> None:
    assert [one["id"] for one in client.get("/faults").json()] == ["FAULT_2", "FAULT_1"]
    assert [one["id"] for one in client.get("/faults?sort_key=message").json()] == ["FAULT_1", "FAULT_2"]
    assert client.get("/faults?sort_key=colour").status_code == 400


def test_health_counts_what_nobody_acknowledged(client: httpx2.Client) -> None:
    before = client.get("/status").json()["cluster_health"]["health"]
    assert client.put("/faults/FAULT_2").status_code == 200
    one = client.get("/faults/FAULT_2").json()[0]
    assert (one["status"], one["health_delta"], bool(one["acknowledged_at"])) == ("ack", 0, True)
    status = client.get("/status").json()
    assert status["cluster_health"]["health"] == before + 25
    assert {fault["id"] for fault in status["detail"]["faults"]} == {"FAULT_1", "FAULT_2"}


def test_all_at_once(client: httpx2.Client) -> None:
    assert "2 faults" in client.put("/faults").json()["message"]
    assert {one["status"] for one in client.get("/faults").json()} == {"ack"}
    assert "2 faults" in client.delete("/faults").json()["message"]
    assert client.get("/faults").json() == []


def test_one_that_is_deleted_is_not_there(client: httpx2.Client) -> None:
    assert client.delete("/faults/FAULT_1").status_code == 200
    assert client.get("/faults/FAULT_1").status_code == 404
