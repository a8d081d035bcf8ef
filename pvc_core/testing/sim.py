# SPDX-License-Identifier: LGPL-3.0-or-later
"""A simulated node: the real services and reconcilers on fake drivers and a fake store, in an order a seed decides.

Daemons are killed between and inside calls, their threads stop anywhere, guests crash, sessions are lost, answers get
lost, nodes lose their power; time is a number. What operators ask and what goes wrong is sim_story.py's, what must be
true is sim_checks.py's, what the daemon stands on sim_parts.py's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Repository
from pvc_core.daemon.build import engines
from pvc_core.daemon.bytes import Bytes, Uploads
from pvc_core.daemon.life import prepare
from pvc_core.daemon.ring import LogRing
from pvc_core.errors import PvcError, Retry
from pvc_core.loader import Hooks
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.model.view import ClusterView
from pvc_core.peer import Answer
from pvc_core.reconcile.engine import Engine
from pvc_core.reconcile.ground import Ground
from pvc_core.services.all import Services, services_on
from pvc_core.services.desk import Desk
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.compute import FakeComputeWorld
from pvc_core.testing.sim_checks import Watcher
from pvc_core.testing.sim_parts import (
    FakePlugin,
    Moody,
    MortalStore,
    QuietLog,
    SimCalls,
    SimDisks,
    SimKeeper,
    SimPermits,
    open_volumes,
)
from pvc_core.testing.sim_stage import Stage
from pvc_core.testing.storage import Crashed
from pvc_core.testing.store import FakeStoreServer
from pvc_core.units import GIB

NODE, POOL = "hv1", "vms"
PAUSES = 0.15
"""How often a thread stops at a moment at which it may."""
AT_ONCE_MAX = 500


@dataclass
class Brain:
    """One pvcnoded of one node: dies and is built anew; store, hypervisor and disks outlive it."""

    store: MortalStore
    stage: Stage
    keeper: SimKeeper
    ground: Ground
    bytes: Bytes
    quick: Engine
    slow: Engine
    hands: list[tuple[Engine, tuple[str, str]]] = field(default_factory=list)
    """Jobs that a thread has taken and not begun."""


@dataclass
class Sim:
    """One node's cluster under one seed."""

    seed: int
    random: random.Random = field(init=False)
    clock: FakeClock = field(default_factory=FakeClock)
    log: QuietLog = field(default_factory=QuietLog)
    world: FakeComputeWorld = field(default_factory=FakeComputeWorld)
    server: FakeStoreServer = field(default_factory=FakeStoreServer)
    moody: float = 0.0
    """How often a plugin's hook objects or fails."""
    pauses: float = PAUSES
    boots: int = 0
    power_cycles: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.disks = SimDisks(lambda: set(open_volumes(self.world.host(NODE))))
        self.permits = SimPermits()
        prepare(self.server.client("init"), "sim")
        self.services = self._services()
        self.brain = self._boot()
        self.watcher = Watcher(self)

    # -- what an operator does -----------------------------------------------------------------------------------------

    def ask(self, call: Callable[[Services], object]) -> str:
        """One request through the services; "" or the error's sentence (a refusal is an answer, not a failure).

        A request that waits lets the cluster go on meanwhile, faults and all, for a while.
        """
        try:
            self.request(call)
        except PvcError as error:
            return error.message or error.code
        return ""

    def request(self, call: Callable[[Services], object]) -> object:
        """The same, raising its error."""
        self.services.desk.keeper.step()
        return call(self.services)

    def _until(self, true: Callable[[ClusterView], bool]) -> bool:
        for _ in range(200):
            if true(self.services.desk.view):
                return True
            self.step()
            self.check()
            self.services.desk.keeper.step()
        return False

    # -- time ----------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing of the many that could happen next."""
        brain = self.brain
        choices: list[Callable[[], object]] = [
            self.server.deliver, brain.keeper.step, self._take, self._take, self._work, self._work, self._tick,
        ]  # fmt: skip
        self._do(self.random.choice(choices))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            self.check()

    def settle(self, seconds: float = 400.0) -> None:
        """No faults any more: let everything come to rest."""
        end = self.clock.boottime_s() + seconds
        self._do(self._finish)
        while self.clock.boottime_s() < end:
            self.server.deliver()
            self._do(self.brain.keeper.step)
            self.services.desk.keeper.step()
            for _ in self._until_nothing_is_due():
                self._do(self._work)
                self._do(self._finish)
                self.server.deliver()
                self._do(self.brain.keeper.step)
                self.check()
            self._to_next(end)

    def restart_daemon(self) -> None:
        """kill -9 of pvcnoded, and its next life. The guests run on."""
        self.brain.stage.die()
        self.brain.keeper.stop()
        self.brain.store.close()
        self.brain = self._boot()

    def power_cycle(self) -> None:
        """The node loses its power and boots again: its guests are gone, its incarnation is a new one."""
        self.power_cycles += 1
        self.brain.stage.die()
        self.world.power_off(NODE)
        self.disks.attached.clear()
        self.permits = SimPermits()
        self.restart_daemon()

    def check(self) -> None:
        """What must always be true."""
        self.watcher.always()

    def check_at_rest(self) -> None:
        """What must be true in the end."""
        self.settle()
        self.watcher.at_rest()

    def _until_nothing_is_due(self) -> Iterator[None]:
        """While time stands still."""
        for _ in range(AT_ONCE_MAX):
            if not self._take():
                return
            yield
        self.watcher.demand(False, f"{AT_ONCE_MAX} steps at one moment: something spins")

    # -- one thing -----------------------------------------------------------------------------------------------------

    def _do(self, thing: Callable[[], object]) -> None:
        try:
            thing()
        except Crashed:
            self.restart_daemon()

    def _take(self) -> bool:
        """A thread of the daemon takes the next job that is due."""
        brain = self.brain
        for engine in (brain.quick, brain.slow):
            if len(brain.hands) < 8 and (job := engine.take()) is not None:
                brain.hands.append((engine, job))
        return bool(brain.hands)

    def _work(self) -> None:
        """One of the jobs taken begins, or one that stands at a pause goes on."""
        brain = self.brain
        if brain.stage.busy and (not brain.hands or self.random.random() < 0.5):
            brain.stage.move()
        elif brain.hands:
            engine, job = brain.hands.pop(self.random.randrange(len(brain.hands)))
            if self.random.random() < 0.5:
                brain.stage.begin(lambda: engine.run(job))
                brain.stage.move()
            else:
                engine.run(job)

    def _finish(self) -> None:
        self.brain.stage.finish()

    def _tick(self) -> None:
        self.clock.move(self.random.choice((0.05, 0.5, 2.0, 15.0)))

    def _to_next(self, end: float) -> None:
        now = self.clock.boottime_s()
        due = [at for engine in (self.brain.quick, self.brain.slow) if (at := engine.next_due_s()) is not None]
        self.clock.move(max(0.01, min([end - now, *(at - now for at in due)])))

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _ask(
        self,
        node: str,
        question: str,
        args: Mapping[str, Any],
        *,
        body: Iterable[bytes] | None = None,
        deadline_s: float = 10.0,
    ) -> Carried:
        """The peer channel to the daemon that lives now; it breaks when that dies."""
        brain = self.brain
        try:
            return Carried(brain.bytes.handlers()[question](args, self._sent(brain, body or ())))
        except Crashed:
            if self.brain is brain:
                self.restart_daemon()
            raise Retry(f"the connection to node {node} broke") from None

    def _sent(self, brain: Brain, body: Iterable[bytes]) -> Iterator[bytes]:
        for piece in body:
            yield piece
            for _ in range(self.random.randrange(6)):
                self.step()
                self.check()
            if self.brain is not brain:
                raise Crashed("the daemon that took these bytes is dead")

    # -- building ------------------------------------------------------------------------------------------------------

    def _boot(self) -> Brain:
        self.boots += 1
        self.permits.host = self.world.host(NODE)
        stage = Stage(self.random, pauses=self.pauses)
        store = MortalStore(self.server, f"node-{self.boots}", stage)
        keeper, plugin = SimKeeper(store, self.clock, live=True), FakePlugin()
        keeper.stage = stage
        incarnation = f"boot-{self.power_cycles}"
        ground = Ground(
            node=NODE,
            incarnation=incarnation,
            coordinators=(NODE,),
            keeper=keeper,
            repository=Repository(store),
            clock=self.clock,
            log=self.log,
            compute=self.world.driver(NODE),
            definitions=plugin.compute,
            descriptions=Descriptions(plugin.compute),
            storage={"fake": self.disks.driver(NODE)},
            plugins={"fake": plugin},
            actions={},
            permits=self.permits,
            hooks=self._hooks(),
            calls=SimCalls(stage),
            inline=True,
            new_task_id=self._new_id,
        )
        uploads = Uploads()
        facts = NodeSeen(
            name=NODE, incarnation=incarnation, daemon_state=DaemonState.RUN, cpu_count=4, memory_total_bytes=4 * GIB
        )
        quick, slow = engines(
            ground,
            uploads,
            host_bridges={"upstream": "brupstream"},
            log=self.log,
            facts=lambda: facts,
            health=lambda strangers: (),
        )
        keeper.subscribe(lambda keys: quick.changed(keeper.view, keys))
        keeper.subscribe(lambda keys: slow.changed(keeper.view, keys))
        ground.compute.events(lambda uuid, event: quick.wake("vm", uuid))
        quick.wake("node", NODE)
        carried = Bytes(ground, uploads, LogRing())
        carried.ended = lambda task_id: slow.wake("task", task_id)
        return Brain(store, stage, keeper, ground, carried, quick, slow)

    def _services(self) -> Services:
        self.client = MortalStore(self.server, "api")
        keeper, plugin = SimKeeper(self.client, self.clock, live=True), FakePlugin()
        keeper.stage = Stage(self.random, pauses=0.0)
        desk = Desk(
            keeper=keeper,
            repository=Repository(self.client),
            clock=self.clock,
            compute=plugin.compute,
            descriptions=Descriptions(plugin.compute),
            storage={"fake": plugin.storage},
            plugins={"fake": plugin},
            checks=self._hooks(),
            ask=self._ask,
            default_pool_driver="fake",
            inline=True,
            waiter=self._until,
            new_uuid=self._new_uuid,
            new_task_id=self._new_id,
        )
        return services_on(desk, cluster_name="sim", coordinators=(NODE,))

    def _hooks(self) -> Hooks:
        moody = Moody(lambda: self.random.random() < self.moody)
        return Hooks({"moody": moody}, clock=self.clock, log=self.log, inline=True)

    def _new_uuid(self) -> str:
        """The seed's own, so that one seed is one run."""
        text = f"{self.random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _new_id(self) -> str:
        return f"{self.random.getrandbits(32):08x}"


class Carried:
    """A node's answer, as peer.Reply."""

    def __init__(self, answer: Answer) -> None:
        self.result: Mapping[str, Any] = answer.result
        self.body: Iterable[bytes] = answer.body or ()

    def ticking(self, tick_s: float) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        """Nothing is held."""


def definition(name: str, *volumes: str, extra: str = "") -> str:
    """A small VM's text."""
    disks = "".join(f'<disk dev="vd{chr(97 + index)}" volume="{ref}"/>' for index, ref in enumerate(volumes))
    return f"<domain><name>{name}</name><memory>64</memory><vcpu>1</vcpu>{disks}{extra}</domain>"
