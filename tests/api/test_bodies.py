"""Lists are spliced from kept bodies: they read no store, and never show what is no longer so."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pytest

from pvc_api_falcon.wire.vm import vm_body
from pvc_core.cluster import layout
from pvc_core.model.storage import Snapshot, Volume, VolumePhase
from pvc_core.policy.placement import loads

from .fake_compute import definition
from .measure import ask_often, fill, tick, touch
from .rig import MIB, NODE, Api, Rig, new_rig, running

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

    numbers = itertools.count()

    def one() -> str:
        return chance.choice(sorted(rig.keeper.view.vm_seen))

    steps = (
        lambda: touch(rig, one()),
        lambda: tick(rig),
        lambda: client.post(f"/vm/{one()}/tags", data={"action": "add", "tag": f"t{chance.randrange(10**9)}"}),
        lambda: client.post(f"/vm/{one()}/meta", data={"profile": str(chance.random())}),
        lambda: client.post("/vm", data={"xml": definition(f"new{chance.randrange(10**9)}")}),
        lambda: client.post(f"/vm/{one()}/state", data={"state": "stop"}),
        lambda: fail(rig, one()),
        lambda: forget(rig, one()),
        lambda: add_volume(rig, f"v{next(numbers)}", snapshots=chance.randrange(3)),
    )
    for _ in range(40):
        chance.choice(steps)()
        listed = client.get("/vm").json()
        assert listed == fresh(rig)
        vm = chance.choice(listed)
        assert client.get(f"/vm/{vm['name']}").json() == [vm]
        assert client.get("/vm", params={"limit": vm["uuid"]}).json() == [vm]
        assert_status_is_as_counted(rig, client.get("/status").json(), listed)


def assert_status_is_as_counted(rig: Rig, status: dict[str, Any], vms: list[dict[str, Any]]) -> None:
    """Counted once per change in services; here one by one, from the lists."""
    assert status["vms"] == {"total": len(vms), **Counter(vm["state"] for vm in vms)}
    assert status["detail"]["vm"] == [{key: vm[key] for key in ("uuid", "name", "state")} for vm in vms]
    told = {item["text"] for item in status["cluster_health"]["messages"] if item["id"].startswith("VM_FAILED_")}
    assert told == {f"VM {vm['name']} has failed: {vm['status']}" for vm in vms if vm["state"] == "fail"}
    volumes = [kept.value for kept in rig.keeper.view.volumes.values()]
    counted = (len(volumes), sum(len(volume.snapshots) for volume in volumes))
    assert (status["volumes"], status["snapshots"]) == counted
    load = loads(rig.keeper.view, rig.services.desk.descriptions.of)[NODE]
    memory, cpu = status["resources"]["memory"], status["resources"]["cpu"]
    assert (memory["provisioned"], memory["allocated"]) == (load.provisioned_bytes // MIB, load.allocated_bytes // MIB)
    assert cpu["allocated"] == load.vcpus


def fail(rig: Rig, uuid: str) -> None:
    """As its node says it when an attempt to start it failed."""
    wanted, seen = rig.repository.find(layout.VM_WANTED, uuid), rig.repository.find(layout.VM_SEEN, uuid)
    if wanted is not None and seen is not None:
        failed = replace(seen.value, failed_asked=wanted.value.asked, sentence="its disk is gone")
        rig.repository.set(layout.VM_SEEN, uuid, failed, if_version=None)
        rig.keeper.settle([layout.VM_SEEN.key(uuid)])


def forget(rig: Rig, uuid: str) -> None:
    kinds = (layout.VM_WANTED, layout.CLAIMS, layout.VM_SEEN)
    for kind in kinds:
        rig.repository.store.delete(kind.key(uuid), if_version=None)
    rig.keeper.settle([kind.key(uuid) for kind in kinds])


def add_volume(rig: Rig, name: str, *, snapshots: int) -> None:
    made = tuple(Snapshot(name=f"s{number}", id=f"s{number}", size_bytes=MIB) for number in range(snapshots))
    volume = Volume(id=name, pool="vms", name=name, size_bytes=MIB, phase=VolumePhase.READY, snapshots=made)
    rig.repository.add(layout.VOLUMES, layout.volume_id("vms", name), volume)
    rig.keeper.settle([layout.VOLUMES.key(layout.volume_id("vms", name))])


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
