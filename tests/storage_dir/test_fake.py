"""The fake's faults happen as asked, once, and leave the state that they say they leave."""

from __future__ import annotations

import pytest

from pvc_core.errors import NotFound, Refused, Retry
from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.storage import Crashed, FakeStorage, FakeStorageWorld
from pvc_core.units import GIB, MIB

POOL = Pool(name="vms", driver="fake")
VOLUME = Volume(id="id-a", pool="vms", name="a", size_bytes=GIB, home="hv1")
S = 5.0


@pytest.fixture
def world() -> FakeStorageWorld:
    world = FakeStorageWorld()
    world.driver().ensure_pool(POOL, deadline_s=S)
    return world


def names(driver: FakeStorage) -> list[str]:
    return [found.name for found in driver.list_volumes(POOL, deadline_s=S)]


def test_a_failure_before_has_no_effect_and_happens_once(world: FakeStorageWorld) -> None:
    driver = world.driver()
    world.faults.before["create_volume"] = Refused("no")
    with pytest.raises(Refused):
        driver.create_volume(POOL, VOLUME, deadline_s=S)
    assert names(driver) == []
    driver.create_volume(POOL, VOLUME, deadline_s=S)
    assert names(driver) == ["a"]


def test_a_failure_after_has_all_its_effect(world: FakeStorageWorld) -> None:
    driver = world.driver()
    world.faults.after["create_volume"] = Retry("the answer was lost")
    with pytest.raises(Retry):
        driver.create_volume(POOL, VOLUME, deadline_s=S)
    assert names(driver) == ["a"]


def test_a_delay_passes_on_the_given_clock_and_the_deadline_holds(world: FakeStorageWorld) -> None:
    slept: list[float] = []
    world.sleep = slept.append
    world.faults.delays_s.update(create_volume=3.0, pool_usage=90.0)
    driver = world.driver()
    driver.create_volume(POOL, VOLUME, deadline_s=S)
    with pytest.raises(Retry):
        driver.pool_usage(POOL, deadline_s=S)
    assert slept == [3.0, S]


def test_a_crash_leaves_either_nothing_or_the_whole(world: FakeStorageWorld) -> None:
    outcomes = []
    for step in range(3):
        world.faults.crash_at = step
        with pytest.raises(Crashed):
            world.driver().create_volume(POOL, VOLUME, deadline_s=S)
        outcomes.append(names(world.driver()))
        world.driver().remove_volume(POOL, VOLUME, deadline_s=S)
    assert outcomes == [[], [], ["a"]]


def test_nodes_share_only_what_is_shared(world: FakeStorageWorld) -> None:
    one, other = world.driver("hv1"), world.driver("hv2")
    other.ensure_pool(POOL, deadline_s=S)
    one.create_volume(POOL, VOLUME, deadline_s=S)
    with pytest.raises(Refused):
        other.attach(POOL, VOLUME, vm_uuid="u", read_only=False, deadline_s=S)
    shared = Pool(name="nfs", driver="fake", options={"shared": "true"})
    for driver in (one, other):
        driver.ensure_pool(shared, deadline_s=S)
    one.create_volume(shared, VOLUME, deadline_s=S)
    assert other.attach(shared, VOLUME, vm_uuid="u", read_only=False, deadline_s=S)


def test_a_guest_finds_what_attach_returned(world: FakeStorageWorld) -> None:
    driver = world.driver()
    driver.create_volume(POOL, VOLUME, deadline_s=S)
    source = driver.attach(POOL, VOLUME, vm_uuid="u", read_only=False, deadline_s=S)
    world.guest_writes(source, 3, b"text")
    assert world.content_of(source).content.data == b"\0\0\0text"
    driver.remove_volume(POOL, VOLUME, deadline_s=S)
    with pytest.raises(NotFound):
        world.content_of(source)


def test_a_full_pool_refuses(world: FakeStorageWorld) -> None:
    world.capacity_bytes = MIB
    driver = world.driver()
    with pytest.raises(Refused):
        driver.create_volume(POOL, VOLUME, deadline_s=S)
    assert names(driver) == []
