"""How the core asks a rung, and what it looks after in peace time. The driver is the fake, or one that breaks its
contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.contracts.fence import always
from pvc_core.errors import NotFound, Permanent, Refused, Retry, StoreUnavailable
from pvc_core.model.fence import NoProof, Proof, ProofKind, Why
from pvc_core.model.node import NodeSeen
from pvc_core.model.storage import Pool, Volume
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, Phase
from pvc_core.reconcile.calls import ThreadCalls
from pvc_core.reconcile.fence_care import FenceCare
from pvc_core.reconcile.fencing import ask_rung, rung_tests, target_of, write_fence_of
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.fence import NAME, Behaviour, FakeFenceDefinitions, FakeFenceWorld, FakeMachine

UUIDS = {f"hv{n}": f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3)}


def seen(name: str, **more: Any) -> Kept[NodeSeen]:
    record = NodeSeen(
        name=name,
        incarnation=f"boot-{name}",
        machine_uuid=UUIDS[name],
        addresses={"storage": f"10.2.0.1{name[-1]}"},
    )
    return Kept(replace(record, **more), 0, 0)


def picture(**more: Any) -> ClusterView:
    nodes = {name: seen(name) for name in UUIDS}
    return cast(
        ClusterView, SimpleNamespace(**{"node_seen": nodes, "claims": {}, "volumes": {}, "fresh": True, **more})
    )


@dataclass
class World:
    """hv1's ground, as far as fencing needs it."""

    fences: FakeFenceWorld
    view: ClusterView = field(default_factory=picture)
    primary: bool = True

    @property
    def ground(self) -> Any:
        plugin = SimpleNamespace(fence=FakeFenceDefinitions(), storage=None)
        return SimpleNamespace(
            node="hv1",
            view=self.view,
            fence={NAME: self.fences.driver()},
            plugins={NAME: plugin},
            calls=ThreadCalls(),
            is_primary=lambda: self.primary,
        )


@pytest.fixture
def world() -> World:
    clock = FakeClock()
    machines = {name: FakeMachine(uuid) for name, uuid in UUIDS.items()}
    return World(FakeFenceWorld(machines=machines, published=set(UUIDS), clock=clock, sleep=clock.move))


# --- who is meant


def test_a_target_is_a_machine_and_a_boot(world: World) -> None:
    target = target_of(world.view, "hv2")
    assert (target.uuid, target.incarnation) == (UUIDS["hv2"], "boot-hv2")
    assert target.addresses == {"storage": "10.2.0.12"}
    assert target_of(world.view, "hv2", incarnation="earlier").incarnation == "earlier"
    with pytest.raises(NotFound):
        target_of(world.view, "hv9")


def test_a_uuid_that_two_nodes_have_is_nobodys(world: World) -> None:
    world.view.node_seen["hv3"] = seen("hv3", machine_uuid=UUIDS["hv2"])
    assert target_of(world.view, "hv2").uuid == ""
    assert target_of(world.view, "hv3").uuid == ""
    assert target_of(world.view, "hv1").uuid == UUIDS["hv1"]


# --- what an answer is worth


def ask(world: World, driver: object | None = None, *, deadline_s: float = 5.0) -> object:
    ground = world.ground
    if driver is not None:
        ground.fence = {NAME: driver}
    return ask_rung(ground, NAME, target_of(world.view, "hv2"), allowed=always, deadline_s=deadline_s)


def test_a_proof_is_handed_on(world: World) -> None:
    answer = ask(world)
    assert isinstance(answer, Proof) and answer.kind is ProofKind.OFF and not world.fences.machines["hv2"].on


def proof(**wrong: Any) -> Proof:
    right = Proof(kind=ProofKind.OFF, node="hv2", incarnation="boot-hv2", rung=NAME, seen="off", how="somehow")
    return replace(right, **wrong)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        "off",
        proof(node="hv3"),
        proof(incarnation="boot-before"),
        proof(rung="another"),
        proof(kind=ProofKind.NO_WRITE, pool="vms"),
    ],
)
def test_what_is_no_proof_of_this_incarnation_is_none(world: World, answer: object) -> None:
    found = ask(world, SimpleNamespace(fence=lambda *_, **__: answer))
    assert isinstance(found, NoProof) and found.acted


@pytest.mark.parametrize(
    ("error", "why"), [(Retry("no"), Why.UNREACHABLE), (Refused("no"), Why.FAILED), (Permanent("no"), Why.FAILED)]
)
def test_a_driver_that_raises_has_proved_nothing(world: World, error: Exception, why: Why) -> None:
    def fence(*_: object, **__: object) -> object:
        raise error

    found = ask(world, SimpleNamespace(fence=fence))
    assert isinstance(found, NoProof) and found.why is why and "no" in found.reason


def test_an_unknown_rung_has_proved_nothing(world: World) -> None:
    found = ask_rung(world.ground, "fence_nosuch", target_of(world.view, "hv2"), allowed=always, deadline_s=1)
    assert isinstance(found, NoProof) and "fence_nosuch" in found.reason


# --- what storage drivers are told


def test_a_write_fence_names_what_the_target_has_and_what_others_have(world: World) -> None:
    def volume(name: str, pool: str = "vms") -> Volume:
        return Volume(id=f"id-{name}", pool=pool, name=name, size_bytes=1)

    def claim(uuid: str, holder: str, volumes: tuple[str, ...], address: str, **more: Any) -> Kept[Claim]:
        return Kept(
            Claim(
                uuid=uuid, holder=holder, volumes=volumes, addresses=(address,),
                **{"phase": Phase.RUN, "incarnation": "i2", **more},
            ), 0, 0,
        )  # fmt: skip

    world.view = picture(
        volumes={f"{v.pool}@{v.name}": Kept(v, 0, 0) for v in map(volume, ("a", "b", "c"))},
        claims={
            "u1": claim("u1", "hv2", ("vms/a", "other/x"), "10.2.0.12:0/1"),
            "u2": claim("u2", "hv1", ("vms/b",), "10.2.0.11:0/2"),
            "u3": claim("u3", "hv1", ("vms/c",), "10.2.0.11:0/3", phase=Phase.MIGRATING, target="hv2"),
            "u4": claim("u4", "hv2", ("vms/b",), "10.2.0.12:0/4", incarnation="i3"),
            "u5": claim("u5", "hv2", ("vms/a",), "10.2.0.12:0/5", phase=Phase.MIGRATING, target="hv1"),
        },
    )
    target = target_of(world.view, "hv2", incarnation="i2")
    fence = write_fence_of(world.view, target, Pool(name="vms", driver="storage_fake"))
    assert [one.name for one in fence.volumes] == ["a", "c"]
    assert fence.noted == ["10.2.0.12:0/1", "10.2.0.12:0/5"], "while it migrates, only the source may run"
    assert fence.others == {
        "hv1": ["10.2.0.11", "10.2.0.11:0/2", "10.2.0.11:0/3"],
        "hv2": ["10.2.0.12:0/4"],  # of another life of it
        "hv3": ["10.2.0.13"],
    }


# --- in peace time


def care(world: World) -> FenceCare:
    ground = world.ground
    return FenceCare(ground, dict(ground.fence))


def test_the_primary_says_whom_it_could_not_fence(world: World) -> None:
    world.fences.published = set()
    made = care(world)
    for node in made.keys(world.view):
        made.step(node)
    assert world.fences.published == {"hv1"}
    assert [item.message for item in made.health()] == [
        f"node {node} could not be fenced: node {node} has put nothing on record" for node in ("hv2", "hv3")
    ]
    world.fences.published = set(UUIDS)
    world.fences.machines["hv3"].behaviour = Behaviour.DEAD
    outcomes = {node: made.step(node) for node in made.keys(world.view)}
    assert [item.message for item in made.health()] == [
        "node hv3 could not be fenced: the controller of node hv3 does not answer"
    ]
    assert outcomes["hv3"].sentence and not outcomes["hv2"].sentence


def test_who_is_not_primary_looks_at_nobody(world: World) -> None:
    world.primary, world.fences.published = False, set()
    made = care(world)
    for node in made.keys(world.view):
        made.step(node)
    assert list(made.health()) == [] and world.fences.published == {"hv1"}


def test_a_silent_store_says_nothing_of_how_anybody_can_be_fenced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fences.machines["hv3"].behaviour = Behaviour.DEAD
    made = care(world)
    for node in made.keys(world.view):
        made.step(node)
    known = list(made.health())
    assert len(known) == 1

    def silent(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("cannot read /pvc/plugins/fake/hv2: the store gave no answer")

    for driver in made.offered.values():
        monkeypatch.setattr(driver, "publish", silent)
        monkeypatch.setattr(driver, "status", silent)
    for node in made.keys(world.view):
        made.step(node)
    assert list(made.health()) == known


def test_a_driver_that_the_ladder_does_not_name_is_told_of(world: World) -> None:
    made = FenceCare(world.ground, {**world.ground.fence, "fence_more": world.fences.driver()})
    assert ["fencing.ladder does not name fence_more" in item.message for item in made.health()] == [True]


def test_a_node_alone_needs_no_fence(world: World) -> None:
    world.view = picture(node_seen={"hv1": seen("hv1")})
    world.fences.machines["hv1"].behaviour = Behaviour.DEAD
    made = care(world)
    made.step("hv1")
    assert list(made.health()) == []


def test_a_self_test_tells_of_each_rung_and_switches_nothing(world: World) -> None:
    (rung,) = rung_tests(world.ground, "hv2")
    assert rung.passed and rung.rung == NAME and world.fences.acts == []
    world.fences.machines["hv2"].bmc_of = "hv3"
    (rung,) = rung_tests(world.ground, "hv2")
    assert not rung.passed and rung.steps[-1].name == "identity"


def test_a_self_test_without_a_ladder_is_refused(world: World) -> None:
    ground = world.ground
    ground.fence = MappingProxyType({})
    with pytest.raises(Refused, match="no fence driver in its ladder"):
        rung_tests(ground, "hv2")
