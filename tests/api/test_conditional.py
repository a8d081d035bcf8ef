"""Lost updates, requests sent twice, and parts of lists."""

from __future__ import annotations

import threading
from typing import Any

import httpx2
import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import Refused

from .fake_compute import definition
from .rig import Rig

VOLUME = "/storage/ceph/volume/vms/cond"
SNAPSHOT = "/storage/ceph/snapshot/vms/cond/before"


@pytest.fixture(scope="module", autouse=True)
def objects(client: httpx2.Client, rig: Rig) -> None:
    client.post("/vm", data={"xml": definition("cond")}).raise_for_status()
    client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "cond", "size": "1G"}).raise_for_status()
    client.post(SNAPSHOT).raise_for_status()
    rig.services.keys.add("cond", "operator")
    client.post("/node/hv1/domain-state", data={"state": "ready"})


CHANGES = [
    ("/vm/cond", "POST", "/vm/cond/tags", {"action": "add", "tag": "one"}),
    ("/vm/cond/meta", "POST", "/vm/cond/meta", {"autostart": "true"}),
    ("/vm/cond", "PUT", "/vm/cond", {"xml": definition("cond", memory_mib=1024)}),
    ("/vm/cond/state", "POST", "/vm/cond/state", {"state": "start"}),
    (VOLUME, "PUT", VOLUME, {"new_size": "2G"}),
    (SNAPSHOT, "PUT", SNAPSHOT, {"new_name": "after"}),
    ("/storage/ceph/pool/vms", "POST", "/storage/ceph/volume/vms/more", {"size": "1G"}),
    ("/key/cond", "DELETE", "/key/cond", {}),
]


@pytest.mark.parametrize(("read", "method", "path", "data"), CHANGES, ids=lambda value: str(value)[:40])
def test_what_changed_meanwhile_is_not_written_over(
    client: httpx2.Client, read: str, method: str, path: str, data: dict[str, str]
) -> None:
    etag = client.get(read).headers["ETag"]
    if path != "/storage/ceph/volume/vms/more":  # whose own record is not there yet
        answer = client.request(method, path, data=data, headers={"If-Match": '"1"'})
        assert answer.status_code == 412 and answer.json()["code"] == "changed_meanwhile"
    answer = client.request(method, path, data=data, headers={"If-Match": f'"1", {etag}'})
    assert answer.status_code == 200, answer.text


def test_the_commit_itself_holds_it(rig: Rig) -> None:
    """Somebody writes between the look and the commit: the commit of something else fails all the same."""
    desk = rig.services.desk
    kept = desk.need_vm("cond")
    volume = desk.view.volume("vms/cond")
    assert volume is not None
    rig.repository.set(layout.VM_WANTED, kept.value.uuid, kept.value, if_version=kept.version)
    same = Set(layout.VOLUMES, "vms@cond", volume.value, volume.version)
    with pytest.raises(Refused), desk.expecting(layout.VM_WANTED, kept.value.uuid, kept.version):
        desk.commit(same)
    desk.commit(same)  # nothing of it is left over


def test_a_node_of_which_nothing_was_asked_yet(client: httpx2.Client, rig: Rig) -> None:
    rig.repository.drop(layout.NODE_WANTED, "hv1", if_version=None)
    rig.keeper.settle()
    etag = client.get("/node/hv1").headers["ETag"]
    for tag, status in (('"1"', 412), (etag, 200), (etag, 412)):
        answer = client.post("/node/hv1/domain-state", data={"state": "ready"}, headers={"If-Match": tag})
        assert answer.status_code == status, answer.text
    assert client.get("/node/hv1").headers["ETag"] != etag


def test_a_name_in_nothing(client: httpx2.Client) -> None:
    assert client.delete("/key/nobody", headers={"If-Match": '"1"'}).status_code == 404
    tag = {"action": "add", "tag": "any"}
    assert client.post("/vm/cond/tags", data=tag, headers={"If-Match": "*"}).status_code == 200


def test_a_request_sent_twice_is_done_once(client: httpx2.Client) -> None:
    first = client.post("/vm", data={"xml": definition("twice")}, headers={"Idempotency-Key": "k1"})
    again = client.post("/vm", data={"xml": definition("twice")}, headers={"Idempotency-Key": "k1"})
    assert first.status_code == again.status_code == 200 and first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    other = client.post("/vm", data={"xml": definition("other")}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 400 and "Idempotency-Key" in other.json()["message"]
    assert client.get("/vm/other").status_code == 404
    failed = client.post("/vm", data={"xml": definition("twice")}, headers={"Idempotency-Key": "k2"})
    assert failed.status_code == 400 and "Idempotent-Replayed" not in failed.headers
    for bad in ("x" * 256, ""):
        assert client.post("/vm", data={"xml": definition("x")}, headers={"Idempotency-Key": bad}).status_code == 400


def test_many_at_once_make_one(client: httpx2.Client) -> None:
    answers: list[Any] = []

    def send() -> None:
        answers.append(client.post("/vm", data={"xml": definition("once")}, headers={"Idempotency-Key": "k3"}))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 409} and 200 in {one.status_code for one in answers}


def test_pages_and_fields(client: httpx2.Client) -> None:
    for number in range(7):
        client.post("/vm", data={"xml": definition(f"page{number}")})
    whole = [vm["name"] for vm in client.get("/vm", params={"limit": "^page"}).json()]
    assert len(whole) == 7
    names, params = [], {"limit": "^page", "per_page": "3", "page": "1", "fields": "name,state"}
    for page in range(1, 4):
        answer = client.get("/vm", params={**params, "page": str(page)})
        assert answer.headers["X-Total-Count"] == "7"
        assert ('rel="next"' in answer.headers["Link"]) is (page < 3)
        assert all(list(vm) == ["name", "state"] for vm in answer.json())
        names += [vm["name"] for vm in answer.json()]
    assert names == whole
    assert client.get("/vm", params={"per_page": "3", "page": "900"}).json() == []
    assert len(client.get("/vm", params={"limit": "^page", "page": "1"}).json()) == 7
    assert list(client.get("/vm/page1", params={"fields": "uuid"}).json()[0]) == ["uuid"]
    assert list(client.get("/status", params={"fields": "maintenance"}).json()) == ["maintenance"]
    for wrong in ({"page": "0"}, {"per_page": "x"}, {"fields": "nonsense"}, {"page": ["1", "2"]}):
        assert client.get("/vm", params=wrong).status_code == 400, wrong


def test_the_link_leads_on(client: httpx2.Client) -> None:
    for number in range(1, 6):
        client.post("/vm", data={"xml": definition(f"link{number}")})
    answer = client.get("/vm", params={"limit": "^link", "per_page": "2"})
    link = next(part for part in answer.headers["Link"].split(", ") if 'rel="next"' in part)
    target = link.partition(">")[0].lstrip("<").removeprefix("/api/v1")
    assert [vm["name"] for vm in client.get(target).json()] == ["link3", "link4"]
