"""Lists are spliced from kept bodies: they read no store, and never show what is no longer so."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx2
import msgspec
import pytest

from pvc_api_falcon.wire.vm import vm_body

from .fake_compute import definition
from .measure import ask_often, fill, tick, touch
from .rig import Api, Rig, new_rig, running

COUNT = 300


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = new_rig()
    fill(made, COUNT)
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(rig, tmp_path_factory.mktemp("bodies")) as made:
        yield made


def fresh(rig: Rig) -> object:
    """The list as it must be, made anew from the records."""
    rig.services.vms._pictures.clear()
    return msgspec.json.decode(msgspec.json.encode([vm_body(vm) for vm in rig.services.vms.list()]))


def test_a_list_reads_no_store(api: Api) -> None:
    figures = ask_often(api, "/vm", 10)
    assert figures.store_reads == 0 and figures.size_bytes > COUNT * 3000
    assert figures.p50_ms < 200
    for path in ("/status", "/node", "/vm?tag=tag0", "/vm/vm00007", "/storage/ceph/volume", "/tasks"):
        assert ask_often(api, path, 2).store_reads == 0


def test_after_every_change_the_list_is_as_made_anew(api: Api, client: httpx2.Client) -> None:
    rig, chance = api.rig, random.Random(7)
    uuids = sorted(rig.keeper.view.vm_wanted)

    def one() -> str:
        return chance.choice(uuids)

    steps = (
        lambda: touch(rig, one()),
        lambda: tick(rig),
        lambda: client.post(f"/vm/{one()}/tags", data={"action": "add", "tag": f"t{chance.randrange(10**9)}"}),
        lambda: client.post(f"/vm/{one()}/meta", data={"profile": str(chance.random())}),
        lambda: client.post("/vm", data={"xml": definition(f"new{chance.randrange(10**9)}")}),
        lambda: client.post(f"/vm/{one()}/state", data={"state": "stop"}),
    )
    for _ in range(40):
        chance.choice(steps)()
        listed = client.get("/vm").json()
        assert listed == fresh(rig)
        vm = chance.choice(listed)
        assert client.get(f"/vm/{vm['name']}").json() == [vm]
        assert client.get("/vm", params={"limit": vm["uuid"]}).json() == [vm]


def test_filters_find_what_they_say(api: Api, client: httpx2.Client) -> None:
    everything = client.get("/vm").json()
    for query, holds in (
        ({"node": "hv2"}, lambda vm: vm["node"] == "hv2"),
        ({"node": "hv2", "negate": "true"}, lambda vm: vm["node"] != "hv2"),
        ({"state": "stop"}, lambda vm: vm["state"] == "stop"),
        (
            {"tag": "tag0", "state": "start"},
            lambda vm: vm["state"] == "start" and any(t["name"] == "tag0" for t in vm["tags"]),
        ),
        ({"limit": "^vm0001"}, lambda vm: vm["name"].startswith("vm0001")),
    ):
        found = client.get("/vm", params=query).json()
        assert found == [vm for vm in everything if holds(vm)] and found
    assert client.get("/vm", params={"state": "import"}).status_code == 200
    assert client.get("/vm", params={"state": "nonsense"}).status_code == 400
