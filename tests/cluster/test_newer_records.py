"""The gate of a rolling upgrade: what a newer PVC wrote is neither acted on nor written over, and is told by name."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository, Set, Unchanged
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Permanent, Refused
from pvc_core.model.cluster import Level
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.model.vm import Claim, VmWanted, Want
from pvc_core.reconcile.level import LevelReconciler, understood
from pvc_core.reconcile.vm import VmReconciler
from pvc_core.schema import records
from pvc_core.schema.records import ADDITIVE, NewerRecord, decode, encode
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer

KEY = layout.VM_WANTED.key("u1")
NEWER = b'{"schema":2,"uuid":"u1","name":"db","definition":"","want":"a word of the future"}'


@pytest.fixture
def repository() -> Repository:
    return Repository(FakeStoreServer(auto=True).client())


@pytest.fixture
def keeper(repository: Repository) -> ViewKeeper:
    made = ViewKeeper(repository.store, FakeClock())
    made.step()
    return made


def test_a_newer_record_is_known_for_what_it_is_also_when_it_could_be_read() -> None:
    for data in (NEWER, NEWER.replace(b"a word of the future", b"start")):
        with pytest.raises(NewerRecord, match=r"was written by a newer PVC \(schema 2, known here: 1\)"):
            decode(data, VmWanted)


@pytest.mark.parametrize("kind", [kind for kind in layout.KINDS if kind.record.__name__ in ADDITIVE])
def test_the_records_a_node_lives_by_are_read_by_every_version(kind: layout.Kind[Any]) -> None:
    assert kind.record.__name__ not in records.SCHEMA, "they keep number 1 for ever"
    assert b"NewerRecord" not in type(_decoded_or_error(b'{"schema":2}', kind)).__name__.encode()


def test_what_it_was_before_decides_nothing_any_more(repository: Repository, keeper: ViewKeeper) -> None:
    repository.add(layout.VM_WANTED, "u1", VmWanted(uuid="u1", name="db", definition="", want=Want.START))
    repository.add(layout.VM_WANTED, "u2", VmWanted(uuid="u2", name="web", definition=""))
    keeper.settle(inline=True)
    assert set(keeper.view.vm_wanted) == {"u1", "u2"}
    repository.store.put(KEY, NEWER, if_version=None)
    keeper.settle(inline=True)
    assert set(keeper.view.vm_wanted) == {"u2"}
    assert str(keeper.view.unread[KEY]) == "vm wanted u1 (schema 2, known here: 1)"
    assert keeper.differences() == []
    again = ViewKeeper(repository.store, FakeClock())
    again.step()
    assert again.view.unread == keeper.view.unread, "a daemon that begins anew sees the same"


def test_it_is_back_when_it_can_be_read_again(repository: Repository, keeper: ViewKeeper) -> None:
    repository.store.create(KEY, NEWER)
    keeper.settle(inline=True)
    assert keeper.view.unread
    repository.set(layout.VM_WANTED, "u1", VmWanted(uuid="u1", name="db", definition=""), if_version=None)
    keeper.settle(inline=True)
    assert "u1" in keeper.view.vm_wanted and not keeper.view.unread
    repository.store.put(KEY, NEWER, if_version=None)
    repository.store.delete(KEY, if_version=None)
    keeper.settle(inline=True)
    assert not keeper.view.unread


def test_an_old_daemon_writes_nothing_over_it(repository: Repository) -> None:
    """Every write carries the version of a record that was read, and this one cannot be."""
    entry = repository.store.create(KEY, NEWER)
    for attempt in (lambda: repository.get(layout.VM_WANTED, "u1"), lambda: repository.find(layout.VM_WANTED, "u1")):
        with pytest.raises(Permanent, match="written by a newer PVC"):
            attempt()
    assert repository.store.get(KEY) == entry


def test_a_guest_whose_wanted_record_is_newer_is_left_as_it_is(repository: Repository, keeper: ViewKeeper) -> None:
    repository.store.create(KEY, NEWER)
    repository.add(layout.CLAIMS, "u1", Claim(uuid="u1", holder="hv1"))
    keeper.settle(inline=True)
    ground = SimpleNamespace(
        view=keeper.view, node="hv1", keeper=keeper, repository=repository, inline=True, condemned=False
    )
    touched = SimpleNamespace()  # whoever is asked for anything fails the test
    reconciler = VmReconciler(cast(Any, ground), cast(Any, touched), cast(Any, touched), cast(Any, touched))
    outcome = reconciler.step("u1")
    assert outcome.sentence.startswith("left as it is: a newer PVC wrote vm wanted u1 (schema 2")
    assert outcome.sentence.endswith("upgrade PVC on hv1")
    reconciler.note("u1", outcome)
    assert repository.get(layout.VM_SEEN, "u1").value.sentence == outcome.sentence, "`pvc vm why` says it"


def test_a_newer_number_is_written_only_when_every_node_understands_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(records.SCHEMA, "VmWanted", 2)
    monkeypatch.setitem(records.LEVELS, ("VmWanted", 2), 2)
    monkeypatch.setitem(records.UPGRADES, ("VmWanted", 1), lambda plain: {**plain, "name": plain["name"].upper()})
    vm, level = VmWanted(uuid="u1", name="db", definition=""), [1]
    repository = Repository(FakeStoreServer(auto=True).client(), level=lambda: level[0])
    with pytest.raises(Refused, match="when every node understands it: the cluster is at level 1, this needs 2"):
        repository.add(layout.VM_WANTED, "u1", vm)
    with pytest.raises(Refused):
        repository.commit([Set(layout.VM_WANTED, "u1", vm, 0)])
    repository.add(layout.CLAIMS, "u1", Claim(uuid="u1", holder="hv1"))  # outside the gate
    level[0] = 2
    assert repository.add(layout.VM_WANTED, "u1", vm).value == vm
    assert repository.store.get(KEY).value.startswith(b'{"schema":2,')
    assert decode(b'{"schema":1,"uuid":"u","name":"db","definition":""}', VmWanted).name == "DB"


def test_the_level_is_raised_when_the_last_node_understands_it(repository: Repository, keeper: ViewKeeper) -> None:
    repository.add(layout.LEVEL, layout.ONLY, Level(level=1))
    for name, level in (("hv1", 2), ("hv2", 2), ("hv3", 1)):
        repository.add(layout.NODE_SEEN, name, NodeSeen(name=name, level=level))
    keeper.settle(inline=True)
    ground = SimpleNamespace(
        view=keeper.view, is_primary=lambda: True, lead=lambda: Unchanged(layout.NODE_SEEN, "hv1", 0),
        commit=lambda *writes: repository.commit(writes),
    )  # fmt: skip
    reconciler = LevelReconciler(cast(Any, ground))
    assert reconciler.step(layout.ONLY).sentence == "" and understood(keeper.view) == 1
    repository.set(layout.NODE_SEEN, "hv3", NodeSeen(name="hv3", level=2), if_version=None)
    keeper.settle(inline=True)
    ground.view = keeper.view
    assert reconciler.step(layout.ONLY).sentence == "every node understands level 2: the cluster is raised to it"
    assert repository.get(layout.LEVEL, layout.ONLY).value.level == 2
    fenced = replace(keeper.view.node_seen["hv3"].value, level=1, daemon_state=DaemonState.FENCED)
    repository.set(layout.NODE_SEEN, "hv3", fenced, if_version=None)
    keeper.settle(inline=True)
    assert understood(keeper.view) == 2, "who is fenced is waited for no more"


def _decoded_or_error(data: bytes, kind: layout.Kind[Any]) -> object:
    try:
        return decode(data, kind.record)
    except Permanent as error:
        return error


def test_encode_and_decode_agree() -> None:
    vm = VmWanted(uuid="u1", name="db", definition="")
    assert decode(encode(vm), VmWanted) == vm
