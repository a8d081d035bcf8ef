"""A store restored, moved or made anew: nothing starts or dies before every node has said what runs there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.compute import Observation
from pvc_core.daemon.served import ServedFile
from pvc_core.errors import Retry
from pvc_core.model.cluster import Era, Level, RollCall
from pvc_core.model.node import NodeSeen
from pvc_core.model.task import Task
from pvc_core.model.vm import Claim, GuestState, Phase, VmWanted
from pvc_core.policy.standstill import Served, first_generation, goes_on, standstill
from pvc_core.reconcile.engine import Engine
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.rollcall import RollCallReconciler
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer


class Scene:
    """Era 3 of the store; hv1 and hv2 have to say what runs there."""

    def __init__(self) -> None:
        self.repository = Repository(FakeStoreServer(auto=True).client())
        self.keeper = ViewKeeper(self.repository.store, FakeClock())
        self.guests: dict[str, list[Observation]] = {"hv1": [], "hv2": []}
        self.deaf = False
        self.noted: dict[str, Served] = {}
        self.repository.add(layout.ERA, layout.ONLY, Era(era=3, cluster="c", id="new", nodes=("hv1", "hv2")))
        for name in ("hv1", "hv2"):
            self.repository.add(layout.NODE_SEEN, name, NodeSeen(name=name))
        self.repository.add(layout.VM_WANTED, "u1", VmWanted(uuid="u1", name="db", definition=""))
        self.look()

    def look(self) -> Any:
        self.keeper.settle(inline=True)
        return self.keeper.view

    def why(self, served: Served | None = None) -> str:
        return standstill(self.look(), served or Served(), level=1)

    def say(self, node: str) -> Outcome:
        self.look()

        def list_guests(*, deadline_s: float) -> list[Observation]:
            if self.deaf:
                raise Retry("libvirt does not answer")
            return self.guests[node]

        ground = SimpleNamespace(
            node=node, incarnation=f"{node}-boot", view=self.keeper.view, keeper=self.keeper, inline=True,
            repository=self.repository, compute=SimpleNamespace(list_guests=list_guests),
            calls=lambda name, what, limit_s, call: call(), log=SimpleNamespace(info=lambda *a, **k: None),
            descriptions=SimpleNamespace(of=lambda vm: SimpleNamespace(volumes=("vms/root",))),
        )  # fmt: skip
        noted = self.noted
        return RollCallReconciler(
            cast(Any, ground), lambda served: noted.__setitem__(node, served), lambda: noted.get(node, Served())
        ).step(node)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_store_begun_anew_in_the_old_ones_place_is_never_served(scene: Scene) -> None:
    scene.guests["hv1"] = [runs("u1")]
    scene.noted["hv1"] = Served(era=3, id="old")
    assert scene.say("hv1").sentence == "" and scene.noted["hv1"].id == "old"
    assert "not the one this node has served" in scene.why(scene.noted["hv1"])
    assert scene.keeper.view.claims == {}


def runs(uuid: str, guest: GuestState = GuestState.RUNNING) -> Observation:
    return Observation(uuid=uuid, guest=guest)


def test_it_waits_for_the_last_node_and_names_it(scene: Scene) -> None:
    assert "before hv1, hv2 has said what runs there" in scene.why()
    scene.say("hv1")
    assert "before hv2 has said" in scene.why()
    scene.say("hv2")
    assert scene.why() == ""
    assert scene.noted == {"hv1": Served(era=3, id="new"), "hv2": Served(era=3, id="new")}


def test_what_a_node_said_in_an_earlier_life_counts_for_nothing(scene: Scene) -> None:
    for name in ("hv1", "hv2"):
        scene.repository.add(layout.ROLL_CALLS, name, RollCall(node=name, incarnation="i", era=2, era_id="old"))
    assert "before hv1, hv2" in scene.why()
    scene.say("hv1")
    scene.say("hv2")
    assert scene.why() == ""


def test_a_node_whose_hypervisor_does_not_answer_has_said_nothing(scene: Scene) -> None:
    scene.deaf = True
    with pytest.raises(Retry):
        scene.say("hv1")
    assert "hv1" in scene.why()


def test_a_removed_node_is_waited_for_no_more(scene: Scene) -> None:
    scene.say("hv1")
    scene.repository.drop(layout.NODE_SEEN, "hv2", if_version=None)
    assert scene.why() == ""


def test_a_known_guest_that_runs_gets_its_claim_back_before_anybody_may_start_it(scene: Scene) -> None:
    scene.guests["hv2"] = [runs("u1"), runs("stranger"), runs("u-off", GuestState.OFF)]
    scene.say("hv2")
    claim = scene.repository.get(layout.CLAIMS, "u1").value
    assert (claim.holder, claim.phase, claim.incarnation) == ("hv2", Phase.RUN, "hv2-boot")
    assert claim.volumes == ("vms/root",)
    assert claim.generation >> 52 == 3
    assert scene.repository.find(layout.CLAIMS, "stranger") is None, "guests of nobody are reported, not adopted"
    assert scene.repository.get(layout.ROLL_CALLS, "hv2").value.guests == ("stranger", "u1")


def test_a_claim_that_is_there_stays_what_it_is(scene: Scene) -> None:
    kept = Claim(uuid="u1", holder="hv1", phase=Phase.RUN, generation=77)
    scene.repository.add(layout.CLAIMS, "u1", kept)
    scene.guests["hv2"] = [runs("u1")]
    scene.say("hv2")
    assert scene.repository.get(layout.CLAIMS, "u1").value == kept


def test_while_records_are_replaced_nobody_answers_and_nothing_goes_on(scene: Scene) -> None:
    kept = scene.repository.get(layout.ERA, layout.ONLY)
    scene.repository.set(layout.ERA, layout.ONLY, replace(kept.value, restoring="t1"), if_version=kept.version)
    scene.say("hv1")
    assert scene.repository.find(layout.ROLL_CALLS, "hv1") is None
    assert "are being replaced by task t1" in scene.why()


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (Served(), "before"),
        (Served(era=3, id="new"), "before"),
        (Served(era=3, id="another"), "not the one this node has served"),
        (Served(era=4, id="x"), "not the one this node has served"),
        (Served(era=2, id="x"), "before"),
    ],
)
def test_an_older_store_or_an_empty_one_made_anew_is_known_for_what_it_is(
    scene: Scene, served: Served, why: str
) -> None:
    assert why in scene.why(served)


def test_a_daemon_behind_the_clusters_level_does_nothing(scene: Scene) -> None:
    scene.repository.add(layout.LEVEL, layout.ONLY, Level(level=2))
    assert "is at level 2 and this daemon understands 1 only" in scene.why()


def test_what_a_node_has_served_outlives_its_daemon_and_is_one_clusters(tmp_path: Path) -> None:
    ServedFile(tmp_path, "c").note(Served(era=5, id="x"))
    assert ServedFile(tmp_path, "c").get() == Served(era=5, id="x")
    assert ServedFile(tmp_path, "another").get() == Served()
    (tmp_path / "served-era").write_text("torn")
    assert ServedFile(tmp_path, "c").get() == Served()


def test_generations_only_grow_over_eras_whatever_the_stores_order_begins_with(scene: Scene) -> None:
    embedded, zookeeper, anew = 900_000, (900_000 << 32) + 5, 3
    view = scene.look()
    third = [first_generation(view, stamp) for stamp in (anew, embedded, zookeeper)]
    kept = scene.repository.get(layout.ERA, layout.ONLY)
    scene.repository.set(layout.ERA, layout.ONLY, replace(kept.value, era=4), if_version=kept.version)
    assert third == sorted(third) and first_generation(scene.look(), anew) > max(third)
    assert first_generation(scene.look(), zookeeper) < 2**63, "it fits where numbers have 64 bits"


def test_the_engine_does_nothing_that_is_held_and_goes_on_afterwards(scene: Scene) -> None:
    clock, done = FakeClock(), []
    why = ["held"]
    engine = Engine([cast(Any, _Kind("vm", done)), cast(Any, _Kind("node", done))], clock, _Quiet(), held=_held(why))
    for kind in ("vm", "node"):
        engine.wake(kind, "x")
    assert _all(engine) == [Outcome("held", 2.0), Outcome("did")] and done == ["node"]
    why.clear()
    clock.move(2.0)
    assert _all(engine) == [Outcome("did")] and done == ["node", "vm"]


def test_tasks_that_end_a_standstill_go_on(scene: Scene) -> None:
    for id, kind in (("t1", "cluster.restore"), ("t2", "volume.remove"), ("t3", "node.remove")):
        scene.repository.add(layout.TASKS, id, Task(id=id, kind=kind))
    assert [goes_on(scene.look(), "task", id) for id in ("t1", "t2", "t3", "t4")] == [True, False, True, False]
    assert [goes_on(scene.look(), kind, "x") for kind in ("node", "stats", "vm", "place")] == [True, True, False, False]


class _Kind:
    def __init__(self, kind: str, done: list[str]) -> None:
        self.kind, self._done = kind, done

    def step(self, key: str) -> Outcome:
        self._done.append(self.kind)
        return Outcome("did")

    def note(self, key: str, outcome: Outcome) -> None: ...


class _Quiet:
    def info(self, *args: object, **more: object) -> None: ...


def _held(why: list[str]) -> Callable[[str, str], str]:
    return lambda kind, key: why[0] if why and kind == "vm" else ""


def _all(engine: Engine) -> list[Outcome]:
    found = []
    while (job := engine.take()) is not None:
        found.append((job[0] != "vm", engine.run(job)))
    return [outcome for _, outcome in sorted(found, key=lambda one: one[0])]
