# SPDX-License-Identifier: LGPL-3.0-or-later
"""What can happen to a simulated cluster, each under the word a scenario uses for it.

An action takes the cluster and keyword arguments that stand in the scenario; a node may be named "@primary", "@free"
(one that is not primary), "@here" (whose step was waited for) or "@VM" (where that VM executes).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.errors import Exists
from pvc_core.model.node import DomainState
from pvc_core.model.verdict import Vouch, life_id
from pvc_core.services.all import Services
from pvc_core.testing.fence import Behaviour
from pvc_core.testing.sim_ha import HaCluster, HaNode
from pvc_core.testing.sim_net import NETWORKS

Action = Callable[..., None]
ACTIONS: dict[str, Action] = {}


def action(call: Action) -> Action:
    ACTIONS[call.__name__] = call
    return call


def named(sim: HaCluster, name: str) -> str:
    """The node that is meant now; "" when there is none."""
    if not name.startswith("@"):
        return name
    if name == "@here":
        return sim.here
    if name in ("@primary", "@free"):
        primary = sim.primary
        others = [one for one in sim.names if one != primary and sim.nodes[one].up]
        return primary if name == "@primary" else others[-1] if others else ""
    where = sim.where(name[1:])
    return where[0] if where else ""


# -- machines ----------------------------------------------------------------------------------------------------------


@action
def power_off(sim: HaCluster, node: str, with_bmc: bool = False) -> None:
    """The plug is pulled. `with_bmc`: its management controller dies with it."""
    if with_bmc:
        sim.fences.machines[node].behaviour = Behaviour.DEAD
    sim.nodes[node].power_off()


@action
def power_on(sim: HaCluster, node: str, post_s: float = 40.0) -> None:
    sim.nodes[node].power_on(post_s)


@action
def crash(sim: HaCluster, node: str) -> None:
    """Its kernel stops; power reads on."""
    if sim.nodes[node].up:
        sim.nodes[node].crash()


@action
def bmc(sim: HaCluster, node: str, behaviour: Literal["ok", "dead", "denies", "disobeys", "lies", "late"]) -> None:
    """ok, dead, denies, disobeys, lies, late."""
    sim.fences.machines[node].behaviour = Behaviour(behaviour)


@action
def bmc_wired(sim: HaCluster, node: str, to: str, says: Literal["right", "own"] = "right") -> None:
    """Its controller's cable leads to `to`, which says the right UUID all the same ("right"), or its own ("own")."""
    machine = sim.fences.machines[node]
    machine.bmc_of = to
    sim.checks.cross_wired |= says == "right"
    machine.bmc_uuid = machine.uuid if says == "right" else ""


@action
def disks_cannot_fence(sim: HaCluster, broken: bool = True) -> None:
    sim.disks.broken = broken


# -- networks ----------------------------------------------------------------------------------------------------------


@action
def cut(
    sim: HaCluster,
    node: str,
    networks: Literal["all", "upstream", "cluster", "storage"] = "all",
    ways: Literal["both", "out", "in"] = "both",
    others: str = "all",
) -> None:
    """`networks`: all, upstream, cluster, storage; `ways`: both, out, in; `others`: all, or names ("hv1 hv2")."""
    from_whom = [name for name in sim.names if name != node] if others == "all" else others.split()
    sim.net.cut(node, from_whom, NETWORKS if networks == "all" else (networks,), ways=ways)


@action
def cut_all(sim: HaCluster) -> None:
    """The switches are off."""
    for name in sim.names:
        sim.net.cut(name, [other for other in sim.names if other != name])


@action
def heal(sim: HaCluster) -> None:
    sim.net.heal()
    for node in sim.nodes.values():
        node.store_cut = False


# -- the store ---------------------------------------------------------------------------------------------------------


@action
def store_cut(sim: HaCluster, node: str, away: bool = True) -> None:
    """It reaches no store server, and everybody else."""
    sim.nodes[node].store_cut = away


@action
def server_down(sim: HaCluster, node: str) -> None:
    sim.servers_down.add(node)


@action
def servers_down(sim: HaCluster) -> None:
    sim.servers_down.update(sim.coordinators)


@action
def servers_up(sim: HaCluster) -> None:
    sim.servers_down.clear()


@action
def elect(sim: HaCluster, seconds: float = 4.0) -> None:
    """The ensemble has no leader for so long."""
    sim.net.electing_until_s = sim.now_s + seconds


@action
def expire(sim: HaCluster, node: str) -> None:
    one = sim.nodes[node]
    for store in (one.guard_store, *((one.store, one.lease_store) if one.running else ())):
        store.expire()


@action
def lose_answer(sim: HaCluster, node: str, of: Literal["noded", "guard", "lease"] = "noded") -> None:
    """The next write of its noded, guard or lease happens, and nobody tells it."""
    one = sim.nodes[node]
    if of == "guard":
        one.guard_store.lose_next_answer()
    elif one.running:
        (one.lease_store if of == "lease" else one.store).lose_next_answer()


@action
def lose_wakes(sim: HaCluster, seconds: float) -> None:
    """For so long no change in the store wakes anybody: only the clock does."""
    sim.wakes_lost_until_s = sim.now_s + seconds


# -- processes ---------------------------------------------------------------------------------------------------------


@action
def kill_daemon(sim: HaCluster, node: str) -> None:
    if sim.nodes[node].up:
        sim.nodes[node].kill_daemon()


@action
def kill_at_write(sim: HaCluster, node: str, after: int = 0) -> None:
    """Its pvcnoded is killed around its next write but `after`."""
    if sim.nodes[node].running:
        sim.nodes[node].store.dies_in = after


@action
def stop_daemon(sim: HaCluster, node: str, seconds: float) -> None:
    """SIGSTOP, and SIGCONT so much later."""
    sim.nodes[node].daemon_asleep_until_s = sim.now_s + seconds


@action
def kill_guard(sim: HaCluster, node: str) -> None:
    if sim.nodes[node].up:
        sim.nodes[node].kill_guard()


@action
def stop_guard(sim: HaCluster, node: str, seconds: float) -> None:
    sim.nodes[node].guard_away_until_s = sim.now_s + seconds


@action
def hypervisor_hangs(sim: HaCluster, node: str, away: bool = True) -> None:
    sim.nodes[node].host.away = away


@action
def crash_guest(sim: HaCluster, vm: str) -> None:
    for node in sim.where(vm):
        sim.world.end(node, sim.services.vms.get(vm).wanted.uuid, "crashed")


# -- what must be so at this moment ------------------------------------------------------------------------------------


@action
def must_execute(sim: HaCluster, vm: str, on: str = "") -> None:
    where = sim.where(vm)
    sim.checks.demand(bool(where) and on in ("", *where), f"{vm} should execute {on} now, and does on {where}")


@action
def must_stand_still(sim: HaCluster, vm: str) -> None:
    sim.checks.demand(not sim.where(vm), f"{vm} should execute nowhere now, and does on {sim.where(vm)}")


@action
def unbroken(sim: HaCluster, vm: str, on: bool = True) -> None:
    """From now on (until `on` is false) it must execute all the time."""
    (sim.checks.unbroken.add if on else sim.checks.unbroken.discard)(sim.services.vms.get(vm).wanted.uuid)


# -- operators ---------------------------------------------------------------------------------------------------------


def _ask(sim: HaCluster, call: Callable[[Services], object]) -> None:
    said = sim.ask(call)
    if said:
        sim.log.info(f"refused: {said}", node="--")


@action
def start(sim: HaCluster, vm: str) -> None:
    sim.checks.asked[sim.services.vms.get(vm).wanted.uuid] = None
    _ask(sim, lambda pvc: pvc.vms.start(vm, by="test"))


@action
def stop(sim: HaCluster, vm: str) -> None:
    sim.checks.asked[sim.services.vms.get(vm).wanted.uuid] = None
    _ask(sim, lambda pvc: pvc.vms.stop(vm, by="test"))


@action
def move(sim: HaCluster, vm: str, node: str | None = None) -> None:
    _ask(sim, lambda pvc: pvc.vms.move(vm, by="test", node=node))


@action
def flush(sim: HaCluster, node: str) -> None:
    _ask(sim, lambda pvc: pvc.nodes.flush(node, by="test"))


@action
def ready(sim: HaCluster, node: str) -> None:
    _ask(sim, lambda pvc: pvc.nodes.ready(node, by="test"))


@action
def primary(sim: HaCluster, node: str) -> None:
    _ask(sim, lambda pvc: pvc.nodes.set_coordinator_state(node, "primary", by="test"))


@action
def maintenance(sim: HaCluster, on: bool = True) -> None:
    _ask(sim, lambda pvc: pvc.cluster.set_maintenance(on, by="test"))


@action
def vouch(sim: HaCluster, node: str) -> None:
    """A person has pulled the plug of a node that is silent, and says so."""
    one: HaNode = sim.nodes[node]
    seen = Repository(sim.server.client("person")).find(layout.NODE_SEEN, node)
    if one.up or seen is None:
        return
    one.power_off()
    life = life_id(node, seen.value.incarnation)
    said = Vouch(node=node, incarnation=seen.value.incarnation, by="test", words="its plug is pulled")
    try:
        Repository(sim.server.client("person")).add(layout.VOUCHES, life, said)
    except Exists:
        pass


def calm(sim: HaCluster) -> None:
    """Everything is mended that a person mends; machines that are off stay off."""
    heal(sim)
    servers_up(sim)
    sim.disks.broken = False
    sim.net.electing_until_s = sim.wakes_lost_until_s = 0.0
    for name, machine in sim.fences.machines.items():
        machine.behaviour, machine.bmc_of, machine.bmc_uuid, machine.lied = Behaviour.OK, "", "", False
        machine.off_at_s = None
        node = sim.nodes[name]
        node.daemon_asleep_until_s = 0.0
        node.guard_away_until_s = min(node.guard_away_until_s, sim.now_s + 1.0)
        node.host.away = False
        if node.running:
            node.store.forget_faults()
        _ask(sim, partial(_ready, name=name))
    maintenance(sim, False)


def _ready(pvc: Services, *, name: str) -> Any:
    kept = pvc.desk.view.node_wanted.get(name)
    if kept is not None and kept.value.domain_state is not DomainState.READY:
        pvc.nodes.ready(name, by="test")
