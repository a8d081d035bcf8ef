"""When the deadline counts, and how a guard that stops in order takes its promise back (safety A13, A19, B12, B16)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.cluster.layout import HEARTBEATS, ONLY, SETTINGS
from pvc_core.guard.arming import Arming
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.facts import Facts
from pvc_core.guard.heartbeat import BACK_IN_S, Heart
from pvc_core.guard.settings import Settings, read_settings
from pvc_core.model.cluster import Settings as ClusterSettings
from pvc_core.model.node import Heartbeat
from pvc_core.schema.records import decode, encode
from pvc_core.testing.store import FakeStore, FakeStoreServer

from .conftest import HandClock


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "pvc.yaml"
    path.write_text("cluster: {coordinators: [hv1]}\nstore: {zookeeper: {}}\n")
    return read_settings(path, node="hv1", state=tmp_path)[0]


@pytest.fixture
def store() -> FakeStore:
    return FakeStoreServer(auto=True).client("guard")


def test_b12_a_cluster_that_can_have_one_node_only_is_never_armed(settings: Settings, store: FakeStore) -> None:
    store.create(HEARTBEATS.key("hv2"), encode(Heartbeat(node="hv2", incarnation="x", beat=1)))
    assert not Arming(replace(settings, alone=True)).armed(store)


def test_b12_it_is_armed_once_another_node_was_seen(settings: Settings, store: FakeStore) -> None:
    arming = Arming(settings)
    assert not arming.armed(store)
    store.create(HEARTBEATS.key("hv1"), encode(Heartbeat(node="hv1", incarnation="x", beat=1)))
    assert not any(arming.armed(store) for _ in range(20)), "its own is no other's"
    store.create(HEARTBEATS.key("hv2"), encode(Heartbeat(node="hv2", incarnation="x", beat=1)))
    assert any(arming.armed(store) for _ in range(20))
    assert arming.armed(store)


def test_b16_maintenance_disarms_and_its_end_arms_again(settings: Settings, store: FakeStore) -> None:
    arming = Arming(replace(settings, coordinators=("hv1", "hv2", "hv3")))
    assert arming.armed(store)
    store.create(SETTINGS.key(ONLY), encode(ClusterSettings(maintenance=True)))
    assert not arming.armed(store)
    store.put(SETTINGS.key(ONLY), encode(ClusterSettings()), if_version=None)
    assert arming.armed(store)
    store.put(SETTINGS.key(ONLY), b"?", if_version=None)
    assert arming.armed(store), "what cannot be read asks for nothing"


def test_a13_a_guard_that_stops_in_order_says_that_nobody_freezes_meanwhile(store: FakeStore, clock: HandClock) -> None:
    deadline = Deadline(8.0)
    heart = Heart(
        "hv1", "life-1", limit_s=8.0, clock=clock, deadline=deadline, facts=Facts, watchdog_s=lambda: 5.0,
        addresses={"cluster": "10.1.0.1"},
    )  # fmt: skip

    def said() -> Heartbeat:
        return decode(store.get(HEARTBEATS.key("hv1")).value, Heartbeat)

    heart.beat(store, armed=True, deadline_s=0.8)
    assert (said().armed, said().watchdog_s, said().back_in_s) == (True, 5.0, 0.0)
    assert said().addresses == {"cluster": "10.1.0.1"}
    clock.advance(1.0)
    heart.leave(store, deadline_s=0.8)
    assert (said().armed, said().watchdog_s, said().back_in_s) == (False, 0.0, BACK_IN_S)
    assert not deadline.armed
