"""The conformance suite of storage fencing, asked of the fake; and what a driver without it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import Refused
from pvc_core.ids import new_uuid
from pvc_core.model.fence import NoProof, Target, Why, WriteFence
from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.contract_storage_fencing import StorageFencingContract, StorageFencingRig
from pvc_core.testing.storage import ALL_CAPABILITIES, FakeStorageDefinitions, FakeStorageWorld
from pvc_core.testing.storage_clients import Client
from pvc_core.units import MIB


class FakeFencingRig(StorageFencingRig):
    name = "storage_fake"
    pool = Pool(name="vms", driver="storage_fake", options={"shared": "true"})
    storage_ips = {"hv1": "10.2.0.11", "hv2": "10.2.0.12"}

    def __init__(self) -> None:
        can = replace(ALL_CAPABILITIES, storage_fencing=True)
        self.world = FakeStorageWorld(definitions=FakeStorageDefinitions(can))
        self.driver().ensure_pool(self.pool, deadline_s=5)
        self._nonces = count(1)

    def driver(self) -> StorageDriver:
        return self.world.driver("hv1")

    def volume(self, name: str) -> Volume:
        made = Volume(id=new_uuid(), pool="vms", name=name, size_bytes=MIB)
        self.driver().create_volume(self.pool, made, deadline_s=5)
        return made

    def connect(
        self, volume: Volume, node: str, *, incarnation: str = "boot-1", ip: str = "", watching: bool = True
    ) -> Client:
        address = f"{ip or self.storage_ips[node]}:0/{next(self._nonces)}"
        return self.world.clients.connect(node, incarnation, address, volume.id, watching=watching)

    def address(self, client: Any) -> str:
        return str(client.address)

    def writes(self, client: Any) -> bool:
        return self.world.clients.writes(client)


class TestFake(StorageFencingContract):
    @pytest.fixture
    def rig(self) -> StorageFencingRig:
        return FakeFencingRig()


def test_a_key_that_is_not_seen_revoked_proves_nothing() -> None:
    rig = FakeFencingRig()
    rig.world.clients.stubborn = True
    volume = rig.volume("a")
    lost = rig.connect(volume, "hv2")
    target = Target(node="hv2", uuid="", incarnation="boot-1", addresses={"storage": "10.2.0.12"})
    answer = rig.driver().fence_node(WriteFence(target=target, pool=rig.pool, volumes=[volume]), deadline_s=5)
    assert isinstance(answer, NoProof) and answer.why is Why.DISOBEYED
    assert rig.writes(lost)


def test_a_driver_without_the_capability_refuses() -> None:
    world = FakeStorageWorld()
    target = Target(node="hv2", uuid="", incarnation="boot-1")
    with pytest.raises(Refused):
        world.driver().fence_node(WriteFence(target=target, pool=FakeFencingRig.pool), deadline_s=5)
