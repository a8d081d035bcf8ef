# SPDX-License-Identifier: LGPL-3.0-or-later
"""A simulated cluster with several coordinators: the real leadership, judge, ladder, recovery and reconcilers on a
store, machines, networks and clocks of pretence, in an order a seed decides.

What must be true is sim_ha_checks.py's, what happens is sim_ha_story.py's or a scenario's (sim_scenario.py).
"""

from __future__ import annotations

import heapq
import os
import random
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.leadership import Leadership
from pvc_core.cluster.repository import Repository
from pvc_core.contracts.fence import FenceDefinitions
from pvc_core.daemon.availability import availability
from pvc_core.daemon.build import engines
from pvc_core.daemon.bytes import Uploads
from pvc_core.daemon.life import prepare
from pvc_core.errors import PvcError, Retry
from pvc_core.guard.incarnation import end as end_life
from pvc_core.loader import Hooks
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.model.view import ClusterView
from pvc_core.policy.suspicion import Patience
from pvc_core.reconcile.docket import Docket
from pvc_core.reconcile.engine import Engine
from pvc_core.reconcile.faults import FaultsReconciler
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.ladder import Ladder
from pvc_core.services.all import Services, services_on
from pvc_core.services.desk import Desk
from pvc_core.testing.clock import FakeClock, OwnClock
from pvc_core.testing.compute import FakeComputeWorld, FakeHost
from pvc_core.testing.fence import NAME as POWER
from pvc_core.testing.fence import FakeFenceWorld, FakeMachine
from pvc_core.testing.sim_fencing import SimWriteFence
from pvc_core.testing.sim_guard import SimGuard, questions
from pvc_core.testing.sim_ha_checks import HaWatcher
from pvc_core.testing.sim_net import SimNet
from pvc_core.testing.sim_parts import FakePlugin, MortalStore, QuietLog, SimCalls, SimKeeper
from pvc_core.testing.sim_stage import Stage
from pvc_core.testing.storage import Crashed, FakeStorageDefinitions
from pvc_core.testing.store import FakeStoreServer
from pvc_core.units import GIB, MIB

POOL, STORAGE = "vms", "fake"
IN_MEMORY = "/dev/shm"
"""Where what a guard keeps in /run is kept: half of a seed's time went into files on a disk."""
BUSY, QUIET = (0.02, 0.1, 0.2, 0.25), (0.2, 0.25, 0.4)
"""Seconds from one turn to the next, while things happen and while nothing does: half of a seed is rest."""
POST_S = 40.0
DAEMON_S = 2.0
"""What a service manager takes to start a daemon again."""
RESYNC_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an operator configured."""

    nodes: int = 3
    coordinators: int = 3
    memory_bytes: int = 4 * GIB
    power: bool = True
    storage: bool = False
    proof: str = "one"
    armed: bool = True
    limit_s: float = 8.0
    patience: Patience = field(default_factory=Patience)
    rates: tuple[float, ...] = (1.0,)
    stops: float = 0.02
    """How often a job is done on a thread of its own, which stops at its calls as chance will have it."""
    pauses: float = 0.3


class FencePlugin(FakePlugin):
    """The ladder's definitions."""

    def __init__(self, fence: FenceDefinitions, storage: FakeStorageDefinitions) -> None:
        super().__init__()
        self._fence, self._storage = fence, storage

    @property
    def fence(self) -> FenceDefinitions:
        return self._fence


@dataclass
class HaNode:
    """One machine: its power, its guard, its pvcnoded."""

    sim: HaCluster
    name: str
    clock: OwnClock
    boots: int = 0
    lives: int = 0
    power: bool = False
    crashed: bool = False
    """The kernel stands still: power reads on, nothing executes."""
    guard_away_until_s: float = 0.0
    """True time; so are the next two. The guard is dead or stopped until then."""
    daemon_away_until_s: float = 0.0
    daemon_asleep_until_s: float = 0.0
    store_cut: bool = False
    """Its connections to the store alone are gone."""
    boot_until_s: float = 0.0

    def __post_init__(self) -> None:
        self.running = False
        self.lead_at_s = self.resync_at_s = 0.0
        self.run = self.sim.directory / self.name
        """Its /run/pvc."""

    @property
    def incarnation(self) -> str:
        return f"{self.name}.{self.boots}"

    @property
    def host(self) -> FakeHost:
        return self.sim.world.host(self.name)

    @property
    def up(self) -> bool:
        return self.power and not self.crashed and self.boots > 0 and self.sim.now_s >= self.boot_until_s

    @property
    def acts(self) -> bool:
        """Whether its pvcnoded, asleep or not, would act as primary at this moment."""
        return self.running and self.up and self.ground.is_primary()

    @property
    def guard_away(self) -> bool:
        return not self.up or self.sim.now_s < self.guard_away_until_s

    # -- power ---------------------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """All that was in memory is gone."""
        if not self.power:
            return
        self.sim.log.info("power off", node=self.name)
        self.power = self.crashed = False
        self._fall()

    def crash(self) -> None:
        """The kernel stops: no guest of it executes, its power reads on."""
        self.sim.log.info("kernel crash", node=self.name)
        self.crashed = True
        self._fall()

    def power_on(self, post_s: float = POST_S) -> None:
        """It boots, and is there after `post_s`."""
        if self.power and not self.crashed:
            return
        self.power, self.crashed = True, False
        self.sim.fences.machines[self.name].on = True
        self.sim.fences.machines[self.name].lied = False
        self.boot_until_s = self.sim.now_s + post_s
        shutil.rmtree(self.run, ignore_errors=True)
        self.sim.log.info("power on", node=self.name)
        self.begin_anew()

    def begin_anew(self, over: str | None = None) -> None:
        """A new life: by a boot, or after all guests of a condemned one (`over`) are gone."""
        if over is not None and (over != self.incarnation or not self.up):
            return
        if over is not None:
            self.kill_daemon()
            end_life(self.run)
        self.run.mkdir(exist_ok=True)
        self.boots += 1
        self.guard_store = MortalStore(self.sim.server, f"{self.name}-guard-{self.boots}")
        self.guard = SimGuard(self, armed=self.sim.setting.armed and len(self.sim.names) > 1)
        self.guard_away_until_s = 0.0
        self.daemon_away_until_s = max(self.boot_until_s, self.sim.now_s) + DAEMON_S
        self.sim.connect()

    def open_guard_store(self) -> MortalStore:
        """A client of the guard's own, which reaches the store if this node does."""
        self.guard_store.close()
        self.guard_store = MortalStore(self.sim.server, f"{self.name}-guard-{self.boots}")
        if not self.sim.has_store(self):
            self.guard_store.cut()
        return self.guard_store

    def _fall(self) -> None:
        self.kill_daemon()
        self.sim.world.power_off(self.name)
        self.guard_store.cut()
        self.sim.fences.machines[self.name].on = self.power
        self.sim.connect()

    # -- its processes -------------------------------------------------------------------------------------------------

    def kill_daemon(self) -> None:
        """kill -9; the service manager begins another."""
        if self.running:
            self.running = False
            self.stage.die()
            self.keeper.stop()
            for store in (self.store, self.lease_store):
                store.close()
        self.daemon_away_until_s = self.sim.now_s + DAEMON_S

    def kill_guard(self) -> None:
        """kill -9: what it had in memory is gone; it is back a moment later."""
        self.guard_away_until_s = self.sim.now_s + 1.0
        self.sim.later(1.0, self._guard_again, self.guard)

    def _guard_again(self, guard: SimGuard) -> None:
        if guard is self.guard:
            guard.begin()

    def live(self) -> None:
        """What is due on this machine now."""
        if not self.up:
            return
        if not self.guard_away:
            self.guard.tick()
        if not self.up or self.sim.now_s < max(self.daemon_away_until_s, self.daemon_asleep_until_s):
            return
        if not self.running:
            self._begin()
        try:
            self._live()
        except Crashed:
            self.kill_daemon()

    def _live(self) -> None:
        chance = self.sim.random
        if self.leadership is not None and self.clock.boottime_s() >= self.lead_at_s:
            self.lead_at_s = self.clock.boottime_s() + self.leadership.tick()
            self.leadership._expire()
        if chance.random() < 0.7:
            self.keeper.step()
        if self.clock.boottime_s() >= self.resync_at_s:
            self.resync_at_s = self.clock.boottime_s() + RESYNC_S
            self._wake_all()
        for _ in range(60):
            if not self._work():
                return

    def _work(self) -> bool:
        """One job, to its end or to where it stops; False when nothing is due."""
        chance, stage = self.sim.random, self.stage
        self.sim.stage = stage
        if stage.busy and chance.random() < 0.5:
            stage.move()
            return chance.random() < 0.9
        for engine in self.engines:
            if (job := engine.take()) is not None:
                if (job[0] == "ladder" and job[1].endswith(POWER)) or chance.random() < self.sim.setting.stops:
                    stage.begin(partial(engine.run, job))
                    stage.move()
                else:
                    engine.run(job)
                return True
        if stage.busy:
            stage.move()
        return False

    def _wake_all(self) -> None:
        for engine in self.engines:
            engine.wake_all(self.keeper.view)

    # -- a new pvcnoded ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        sim = self.sim
        self.lives += 1
        self.running = True
        self.stage = Stage(sim.random, pauses=sim.setting.pauses)
        self.store = MortalStore(sim.server, f"{self.name}-{self.lives}", self.stage)
        self.lease_store = MortalStore(sim.server, f"{self.name}-lease-{self.lives}", self.stage)
        coordinator = self.name in sim.coordinators
        self.keeper = SimKeeper(self.store, self.clock, live=coordinator)
        self.keeper.stage = self.stage
        ground = self._ground()
        facts = NodeSeen(
            name=self.name,
            incarnation=self.incarnation,
            daemon_state=DaemonState.RUN,
            cpu_count=8,
            memory_total_bytes=sim.setting.memory_bytes,
            machine_uuid=sim.fences.machines[self.name].uuid,
            addresses={"storage": f"10.2.0.{sim.names.index(self.name) + 1}"},
        )
        docket = Docket(self.clock)
        quick, slow = engines(
            ground, Uploads(), host_bridges={"upstream": "brupstream"}, log=ground.log, facts=lambda: facts,
            health=lambda strangers: (), more=(FaultsReconciler(ground, lambda: docket.silent),),
        )  # fmt: skip
        care = availability(
            ground, questions(self), sim.ladder(self.name), proof=sim.setting.proof, patience=sim.setting.patience,
            serving=lambda: frozenset(n for n in sim.coordinators if sim.nodes[n].up and n not in sim.servers_down),
            log=ground.log, docket=docket,
        )  # fmt: skip
        self.engines, self.ground = (care, quick, slow), ground
        self.leadership = ground.leadership
        self.lead_at_s = self.resync_at_s = 0.0
        if self.leadership is not None:
            self.leadership.changed = self._wake_all
        keeper = self.keeper
        for engine in self.engines:
            keeper.subscribe(partial(self._changed, engine))
        ground.compute.events(lambda uuid, event: quick.wake("vm", uuid))
        sim.connect()

    def _changed(self, engine: Engine, keys: frozenset[str] | None) -> None:
        if self.sim.now_s >= self.sim.wakes_lost_until_s:
            engine.changed(self.keeper.view, keys)

    def _ground(self) -> Ground:
        sim = self.sim
        plugin, log = FencePlugin(sim.fences.definitions, sim.disks.definitions), sim.log.bind(node=self.name)
        lead = None
        if self.name in sim.coordinators and len(sim.coordinators) > 1:
            lead = Leadership(
                node=self.name, incarnation=self.incarnation, coordinators=sim.coordinators, store=self.lease_store,
                clock=self.clock, log=log, view=lambda: self.keeper.view,
            )  # fmt: skip
        return Ground(
            node=self.name,
            incarnation=self.incarnation,
            coordinators=sim.coordinators,
            keeper=self.keeper,
            repository=Repository(self.store),
            clock=self.clock,
            log=log,
            compute=sim.world.driver(self.name),
            definitions=plugin.compute,
            descriptions=Descriptions(plugin.compute),
            storage={STORAGE: sim.disks.driver(self.name)},
            plugins={"fake": plugin, POWER: plugin},
            actions={},
            fence={POWER: sim.fences.driver(self.name)} if sim.setting.power else {},
            permits=self,
            hooks=Hooks(sim.listeners, clock=self.clock, log=log, inline=True),
            calls=SimCalls(self.stage, lambda what: sim.about_to(self, what)),
            leadership=lead,
            inline=True,
            new_task_id=sim.new_id,
        )

    def permit(
        self, uuid: str, *, generation: int, kind: Literal["start", "incoming"] = "start", for_s: float = 30.0
    ) -> float:
        return self.guard.permit(uuid, generation=generation, kind=kind, for_s=for_s)

    def revoke(self, uuid: str) -> bool:
        return self.guard.revoke(uuid)


class HaCluster:
    """The whole of it under one seed. All times are true seconds since the beginning unless they say otherwise."""

    def __init__(
        self, seed: int, setting: Setting | None = None, listeners: Mapping[str, object] | None = None
    ) -> None:
        """`listeners`: by name, objects with hooks, loaded on every node."""
        self.seed, self.random = seed, random.Random(seed)
        self.listeners = dict(listeners or {})
        self.setting = setting or Setting()
        self.clock, self.log = FakeClock(), TimedLog()
        self.log.clock = self.clock
        self.world = FakeComputeWorld()
        self.server = FakeStoreServer()
        self.stage = Stage(self.random, pauses=0.0)
        self.names = tuple(f"hv{number}" for number in range(1, self.setting.nodes + 1))
        self.coordinators = self.names[: self.setting.coordinators]
        self.servers_down: set[str] = set()
        self.wakes_lost_until_s = 0.0
        """Until then what changes in the store wakes nobody."""
        self.struck_before: tuple[str, Callable[[], None]] | None = None
        """(pattern, what happens, once): right before a node asks a driver for what matches."""
        self.here = ""
        """The node that a scenario's step waited for last."""
        self._later: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._ways: object = None
        self.fences = FakeFenceWorld(clock=self.clock, sleep=self._sleep, switched=self._switched)
        self.disks = SimWriteFence(self)
        self.net = SimNet(
            self.names, self.coordinators, lambda name: self.nodes[name].up, lambda name: name not in self.servers_down
        )
        self.directory = Path(tempfile.mkdtemp(prefix="pvc-sim-", dir=IN_MEMORY if os.path.isdir(IN_MEMORY) else None))
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        self.nodes: dict[str, HaNode] = {}
        prepare(self.server.client("init"), "sim")
        for number, name in enumerate(self.names, start=1):
            self.fences.machines[name] = FakeMachine(uuid=f"00000000-0000-4000-8000-{number:012}", on=False)
            self.fences.published.add(name)
            rate = self.random.choice(self.setting.rates)
            self.nodes[name] = HaNode(self, name, OwnClock(self.clock, rate=rate, began_s=1000.0 * number))
        self.checks = HaWatcher(self)
        self.services = self._services()
        for node in self.nodes.values():
            node.power_on(post_s=0.0)

    @property
    def now_s(self) -> float:
        return self.clock.boottime_s()

    # -- time ----------------------------------------------------------------------------------------------------------

    def run(self, seconds: float, moments: tuple[float, ...] = BUSY) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.turn(moments)

    def turn(self, moments: tuple[float, ...] = BUSY) -> None:
        """One of `moments` later: who has something to do does it, in an order by chance."""
        self.clock.move(self.random.choice(moments))
        while self._later and self._later[0][0] <= self.now_s:
            _, _, call, args = heapq.heappop(self._later)
            call(*args)
        self.fences.pass_time()
        self.connect()
        self.server.deliver()
        if self.random.random() < 0.3:
            self.world.moves.advance()
        for name in self.random.sample(self.names, len(self.names)):
            self.nodes[name].live()
            self.server.deliver()
        self.checks.always()

    def about_to(self, node: HaNode, what: str) -> None:
        """This node's daemon is about to ask one of its drivers."""
        if self.struck_before is None or not re.search(self.struck_before[0], f"{node.name} {what}"):
            return
        (_, happens), self.struck_before, self.here = self.struck_before, None, node.name
        stage = node.stage
        if not stage.acting:
            happens()
            return
        over: list[bool] = []

        def done() -> None:  # nobody can end the thread on which he stands: between two turns it is done
            happens()
            over.append(True)

        self.later(0.0, done)
        stage.wait(lambda: bool(over))

    def later(self, in_s: float, call: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._later, (self.now_s + in_s, self._count, call, args))

    def connect(self) -> None:
        """Each client has the store exactly while its node reaches it."""
        ways = (
            tuple((node.up, node.lives, node.boots, node.store_cut) for node in self.nodes.values()),
            frozenset(self.net.cuts), frozenset(self.servers_down), self.now_s < self.net.electing_until_s,
        )  # fmt: skip
        if ways == self._ways:
            return
        self._ways = ways
        for node in self.nodes.values():
            if not node.boots:
                continue
            there = self.has_store(node)
            stores = (node.guard_store, node.store, node.lease_store) if node.running else (node.guard_store,)
            for store in stores:
                if there and not store._reachable:
                    store.mend()
                elif not there and store._reachable:
                    store.cut()
        cut = {name for one in self.net.cuts for name in one[:2] if one[2] == "cluster"}
        self.world.moves.broken = cut | {name for name, node in self.nodes.items() if not node.up}

    def has_store(self, node: HaNode) -> bool:
        return not node.store_cut and self.net.has_store(node.name, self.now_s)

    # -- operators -----------------------------------------------------------------------------------------------------

    def ask(self, call: Callable[[Services], object]) -> str:
        """One request; "" or the error's sentence."""
        self.services.desk.keeper.step()
        try:
            call(self.services)
        except PvcError as error:
            return error.message or error.code
        return ""

    def define(self, name: str, *, memory_mib: int = 64, extra: str = "", disk: bool = True) -> str:
        """A VM, with a volume of its own in the shared pool; its UUID."""
        volume = ""
        if disk:
            assert self.ask(lambda pvc: pvc.storage.add_volume(POOL, f"root-{name}", 10 * MIB, by="test")) == ""
            volume = f'<disk dev="vda" volume="{POOL}/root-{name}"/>'
        text = f"<domain><name>{name}</name><memory>{memory_mib}</memory><vcpu>1</vcpu>{volume}{extra}</domain>"
        said = self.ask(lambda pvc: pvc.vms.define(text, by="test"))
        assert said == "", said
        return self.services.vms.get(name).wanted.uuid

    def where(self, name: str) -> list[str]:
        """The nodes on which it executes."""
        return self.world.executing(self.services.vms.get(name).wanted.uuid)

    @property
    def primary(self) -> str:
        return next((name for name, node in self.nodes.items() if node.acts), "")

    # -- building ------------------------------------------------------------------------------------------------------

    def ladder(self, node: str) -> Ladder:
        storage = {STORAGE: self.disks.driver(node)} if self.setting.storage else {}
        return Ladder(power={POWER: 5.0} if self.setting.power else {}, storage=storage)

    def new_id(self) -> str:
        return f"{self.random.getrandbits(32):08x}"

    def _new_uuid(self) -> str:
        text = f"{self.random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _sleep(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        self.stage.wait(lambda: self.now_s >= until_s)

    def _switched(self, name: str, on: bool) -> None:
        if on:
            self.nodes[name].power_on()
        else:
            self.nodes[name].power_off()

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
            storage={STORAGE: plugin.storage},
            plugins={"fake": plugin},
            checks=Hooks({}, clock=self.clock, log=self.log, inline=True),
            ask=_nobody,
            default_pool_driver=STORAGE,
            inline=True,
            waiter=self._until,
            new_uuid=self._new_uuid,
            new_task_id=self.new_id,
        )
        return services_on(desk, cluster_name="sim", coordinators=self.coordinators)

    def _until(self, true: Callable[[ClusterView], bool]) -> bool:
        for _ in range(300):
            if true(self.services.desk.view):
                return True
            self.turn()
            self.services.desk.keeper.step()
        return False


class TimedLog(QuietLog):
    """What was said, when, and by which node."""

    clock: FakeClock
    began_s = 1000.0

    def __init__(self, lines: list[str] | None = None, node: str = "", clock: FakeClock | None = None) -> None:
        self.lines = [] if lines is None else lines
        self._node = node
        if clock is not None:
            self.clock = clock

    def _say(self, text: str, **fields: object) -> None:
        who = str(fields.pop("node", self._node))
        what = f" [{fields['object']}]" if fields.get("object") else ""
        self.lines.append(f"{self.clock.boottime_s() - self.began_s:8.2f} {who:4} {text}{what}")

    def exception(self, text: str, **fields: object) -> None:
        super().exception(text, **fields)

    info = warning = error = debug = _say

    def bind(self, **fields: object) -> TimedLog:
        return TimedLog(self.lines, str(fields.get("node", self._node)), self.clock)


def cluster(
    seed: int, *vms: str, setting: Setting | None = None, listeners: Mapping[str, object] | None = None
) -> HaCluster:
    """A cluster at rest, with a shared pool and these VMs running."""
    sim = HaCluster(seed, setting, listeners)
    sim.run(12, QUIET)
    said = sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test", driver=STORAGE, options={"shared": "true"}))
    assert said == "", said
    sim.run(5, QUIET)
    for name in vms:
        sim.define(name, disk=not name.startswith("live"))
        assert sim.ask(partial(_start, name)) == ""
    sim.run(12, QUIET)
    return sim


def _start(name: str, pvc: Services) -> Any:
    return pvc.vms.start(name, by="test")


def _nobody(*_: Any, **__: Any) -> Any:
    raise Retry("the simulator carries no bytes")
