# SPDX-License-Identifier: LGPL-3.0-or-later
"""A simulated cluster of several nodes on one store: what sim.py is for one node, for guests that move between them.

The first node is the only coordinator. A shared pool holds every volume; which node has a guest, and what is left of
those that moved, is looked up in the fakes themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Repository
from pvc_core.daemon.build import engines
from pvc_core.daemon.bytes import Uploads
from pvc_core.daemon.life import prepare
from pvc_core.errors import PvcError, Retry
from pvc_core.loader import Hooks
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Claim, Phase, VmSeen, VmWanted, Want
from pvc_core.reconcile.engine import Engine
from pvc_core.reconcile.ground import Ground
from pvc_core.services.all import Services, services_on
from pvc_core.services.desk import Desk
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.compute import FakeComputeWorld
from pvc_core.testing.sim_parts import (
    FakePlugin,
    MortalStore,
    QuietLog,
    SimCalls,
    SimKeeper,
    SimPermits,
)
from pvc_core.testing.sim_stage import Stage
from pvc_core.testing.storage import Crashed, FakeStorageWorld
from pvc_core.testing.store import FakeStoreServer
from pvc_core.units import GIB

POOL = "vms"
PAUSES = 0.1


@dataclass
class SimNode:
    """One node, with the pvcnoded that lives on it now."""

    sim: Nodes
    name: str
    boot: int = 0
    lives: int = 0

    def __post_init__(self) -> None:
        self.permits = SimPermits()
        self.hands: list[tuple[Engine, tuple[str, str]]] = []
        self.at: dict[str, Callable[[], object]] = {}
        """Step (Ground.moment) -> what happens when this node comes to it, once."""
        self.next_life: Callable[[], object] | None = None
        """How this node goes on when what it does now was struck: set by what happens to itself."""
        self._begin()

    @property
    def incarnation(self) -> str:
        return f"{self.name}-boot-{self.boot}"

    def restart_daemon(self) -> None:
        """kill -9 of pvcnoded, and its next life. The guests run on, and so does what their hypervisor is doing."""
        self.stage.die()
        self.keeper.stop()
        self.store.close()
        self._begin()

    def power_cycle(self) -> None:
        """Its guests are gone, its incarnation is a new one."""
        self.boot += 1
        self.stage.die()
        self.sim.world.power_off(self.name)
        self.permits = SimPermits()
        self.restart_daemon()

    def take(self) -> bool:
        for engine in self.engines:
            if len(self.hands) < 4 and (job := engine.take()) is not None:
                self.hands.append((engine, job))
        return bool(self.hands)

    def work(self) -> None:
        chance = self.sim.random
        if self.stage.busy and (not self.hands or chance.random() < 0.5):
            self.stage.move()
        elif self.hands:
            engine, job = self.hands.pop(chance.randrange(len(self.hands)))
            self.stage.begin(lambda: engine.run(job))
            self.stage.move()

    def do(self, thing: Callable[[], object]) -> None:
        try:
            thing()
        except Crashed:
            begin, self.next_life = self.next_life or self.restart_daemon, None
            begin()

    def _moment(self, step: str) -> None:
        happens = self.at.pop(step, None)
        if happens is None:
            return
        happens()
        if self.next_life is not None:
            self.stage.dead = True
            raise Crashed(f"struck at {step}")

    def _begin(self) -> None:
        sim = self.sim
        self.lives += 1
        self.hands.clear()
        self.permits.host = sim.world.host(self.name)
        self.stage = Stage(sim.random, pauses=PAUSES)
        self.store = MortalStore(sim.server, f"{self.name}-{self.lives}", self.stage)
        self.keeper, plugin = SimKeeper(self.store, sim.clock, live=True), FakePlugin()
        self.keeper.stage = self.stage
        ground = Ground(
            node=self.name,
            incarnation=self.incarnation,
            coordinators=(sim.names[0],),
            keeper=self.keeper,
            repository=Repository(self.store),
            clock=sim.clock,
            log=sim.log.bind(node=self.name),
            compute=sim.world.driver(self.name),
            definitions=plugin.compute,
            descriptions=Descriptions(plugin.compute),
            storage={"fake": sim.disks.driver(self.name)},
            plugins={"fake": plugin},
            actions={},
            permits=self.permits,
            hooks=Hooks({}, clock=sim.clock, log=sim.log, inline=True),
            calls=SimCalls(self.stage),
            inline=True,
            new_task_id=lambda: f"{sim.random.getrandbits(32):08x}",
            moment=self._moment,
        )
        facts = NodeSeen(
            name=self.name,
            incarnation=self.incarnation,
            daemon_state=DaemonState.RUN,
            cpu_count=4,
            memory_total_bytes=4 * GIB,
        )
        quick, slow = engines(
            ground,
            Uploads(),
            host_bridges={"upstream": "brupstream"},
            log=sim.log,
            facts=lambda: facts,
            health=lambda strangers: (),
        )
        keeper = self.keeper
        for engine in (quick, slow):
            keeper.subscribe(partial(_tell, engine, keeper))
        ground.compute.events(lambda uuid, event: quick.wake("vm", uuid))
        quick.wake("node", self.name)
        self.engines = (quick, slow)


class Nodes:
    """The cluster under one seed."""

    def __init__(self, seed: int, *, count: int = 3) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.clock, self.log = FakeClock(), QuietLog()
        self.world, self.disks, self.server = FakeComputeWorld(), FakeStorageWorld(), FakeStoreServer()
        self.names = tuple(f"hv{number}" for number in range(1, count + 1))
        prepare(self.server.client("init"), "sim")
        self.watcher = Repository(self.server.client("watcher"))
        self.services = self._services()
        self.nodes = {name: SimNode(self, name) for name in self.names}

    # -- what an operator does -----------------------------------------------------------------------------------------

    def ask(self, call: Callable[[Services], object]) -> str:
        """One request; "" or the error's sentence (a refusal is an answer, not a failure)."""
        self.services.desk.keeper.step()
        try:
            call(self.services)
        except PvcError as error:
            return error.message or error.code
        return ""

    def define(self, name: str, *, extra: str = "") -> str:
        """A VM with a volume of its own in the shared pool; its UUID."""
        assert self.ask(lambda pvc: pvc.storage.add_volume(POOL, f"root-{name}", 10 << 20, by="test")) == ""
        disk = f'<disk dev="vda" volume="{POOL}/root-{name}"/>'
        text = f"<domain><name>{name}</name><memory>64</memory><vcpu>1</vcpu>{disk}{extra}</domain>"
        assert self.ask(lambda pvc: pvc.vms.define(text, by="test")) == ""
        return self.services.vms.get(name).wanted.uuid

    def where(self, name: str) -> list[str]:
        """The nodes on which it executes."""
        return self.world.executing(self.services.vms.get(name).wanted.uuid)

    # -- time ----------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing of the many that could happen next."""
        node = self.nodes[self.random.choice(self.names)]
        ways: Sequence[Callable[[], object]] = (
            self.server.deliver, self.server.deliver, node.keeper.step, node.take, node.work, node.work, node.work,
            self._tick, self.world.moves.advance,
        )  # fmt: skip
        node.do(self.random.choice(ways))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            self.check()

    def settle(self, seconds: float = 400.0) -> None:
        """No faults any more: let everything come to rest."""
        end = self.clock.boottime_s() + seconds
        while self.clock.boottime_s() < end:
            moved = False
            self.world.moves.advance()
            self.server.deliver()
            self.services.desk.keeper.step()
            for node in self.nodes.values():
                node.do(node.stage.finish)
                node.do(node.keeper.step)
                if node.take():
                    node.do(node.work)
                    node.do(node.stage.finish)
                    moved = True
                self.check()
            if not moved:
                self._to_next(end)

    def _tick(self) -> None:
        self.clock.move(self.random.choice((0.05, 0.5, 2.0, 15.0)))

    def _to_next(self, end: float) -> None:
        now = self.clock.boottime_s()
        due = [at for node in self.nodes.values() for engine in node.engines if (at := engine.next_due_s()) is not None]
        self.clock.move(max(0.01, min([end - now, *(at - now for at in due)])))

    # -- what must be true ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Always: no guest ever ran twice, and whoever runs has a claim of this node's in this very life."""
        self._demand(not self.world.double, f"{self.world.double}")
        running = [
            (node, uuid)
            for node in self.names
            for uuid, guest in self.world.host(node).guests.items()
            if not guest.paused
        ]
        claims = self.watcher.all(layout.CLAIMS) if running else {}
        for node, uuid in running:
            kept = claims.get(uuid)
            claim = kept.value if kept else None
            entitled = (
                claim is not None
                and claim.holder == node
                and claim.phase in (Phase.RUN, Phase.MIGRATING)
                and claim.incarnation == self.nodes[node].incarnation
            )
            self._demand(entitled, f"{uuid} runs on {node}, its claim is {claim}")

    def check_at_rest(self) -> None:
        """In the end: each VM is where its claim says, as wanted, every request to move has its answer, and no copy is
        left anywhere.
        """
        self.settle()
        self.check()
        seen, claims = self.watcher.all(layout.VM_SEEN), self.watcher.all(layout.CLAIMS)
        for uuid, kept in self.watcher.all(layout.VM_WANTED).items():
            self._check_vm(kept.value, claims[uuid].value, seen[uuid].value if uuid in seen else None)
        for node in self.nodes.values():
            self._demand(node.keeper.differences() == [], f"the picture of {node.name} differs from the store")

    def _check_vm(self, vm: VmWanted, claim: Claim, seen: VmSeen | None) -> None:
        there = [node for node in self.names if vm.uuid in self.world.host(node).guests]
        what = f"{vm.name}: {vm.want}, move {vm.move} to {vm.target}; on {there}; {claim}; {seen}"
        failed = seen is not None and seen.failed_asked == vm.asked
        if vm.want is Want.START and not failed:
            self._demand(self.world.executing(vm.uuid) == there == [claim.holder], what)
            self._demand(claim.phase is Phase.RUN and claim.target is None, what)
        else:
            self._demand(there == [] and claim.phase is Phase.FREE, what)
        answered = vm.move == (seen.move_done if seen else 0)
        self._demand(answered, f"no answer to the last request to move; {what}")
        arrived = seen is None or bool(seen.move_reason) or vm.target in (None, claim.holder)
        self._demand(arrived, f"it was said to have moved and has not; {what}")

    def _demand(self, true: bool, otherwise: str) -> None:
        if not true:
            raise AssertionError(f"seed {self.seed}: {otherwise}\n" + "\n".join(self.log.lines[-40:]))

    # -- building ------------------------------------------------------------------------------------------------------

    def _services(self) -> Services:
        client = MortalStore(self.server, "api")
        keeper, plugin = SimKeeper(client, self.clock, live=True), FakePlugin()
        keeper.stage = Stage(self.random, pauses=0.0)
        desk = Desk(
            keeper=keeper,
            repository=Repository(client),
            clock=self.clock,
            compute=plugin.compute,
            descriptions=Descriptions(plugin.compute),
            storage={"fake": plugin.storage},
            plugins={"fake": plugin},
            checks=Hooks({}, clock=self.clock, log=self.log, inline=True),
            ask=_nobody,
            default_pool_driver="fake",
            inline=True,
            waiter=self._until,
        )
        return services_on(desk, cluster_name="sim", coordinators=(self.names[0],))

    def _until(self, true: Callable[[ClusterView], bool]) -> bool:
        for _ in range(4000):
            if true(self.services.desk.view):
                return True
            self.step()
            self.check()
            self.services.desk.keeper.step()
        return False


def cluster(seed: int, *vms: str, count: int = 3) -> Nodes:
    """A cluster at rest, with a shared pool and these VMs running."""
    sim = Nodes(seed, count=count)
    sim.settle(10)
    assert sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test", driver="fake", options={"shared": "true"})) == ""
    sim.settle(10)
    for name in vms:
        sim.define(name)
        assert sim.ask(partial(_start, name)) == ""
    sim.settle(30)
    return sim


def _tell(engine: Engine, keeper: SimKeeper, keys: Any) -> None:
    engine.changed(keeper.view, keys)


def _start(name: str, pvc: Services) -> Any:
    return pvc.vms.start(name, by="test")


def _nobody(*_: Any, **__: Any) -> Any:
    raise Retry("the simulator carries no bytes")
