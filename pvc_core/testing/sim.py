# SPDX-License-Identifier: LGPL-3.0-or-later
"""A simulated cluster: the real services and reconcilers on fake drivers and a fake store, in an order a seed decides.

Daemons are killed between and inside calls, guests crash, sessions are lost, answers get lost; time is a number. What
must
always be true is checked after every step, what must be true in the end after the faults have stopped.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.plugin import Plugin
from pvc_core.daemon.build import engines
from pvc_core.daemon.bytes import Uploads
from pvc_core.daemon.life import prepare
from pvc_core.errors import PvcError
from pvc_core.loader import Hooks
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import GuestState, Phase, Want
from pvc_core.reconcile.calls import DirectCalls
from pvc_core.reconcile.engine import Engine
from pvc_core.reconcile.ground import Ground
from pvc_core.services.all import Services, services_on
from pvc_core.services.desk import Desk
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.compute import FakeComputeWorld, FakePermits
from pvc_core.testing.compute_text import FakeComputeDefinitions
from pvc_core.testing.storage import Crashed, FakeStorageDefinitions, FakeStorageWorld
from pvc_core.testing.store import FakeStore, FakeStoreServer
from pvc_core.units import GIB

NODE, POOL = "hv1", "vms"


class QuietLog:
    """Keeps what was said, for the message of a failed run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, text: str, **fields: object) -> None:
        self.lines.append(f"{text} {fields}")

    def exception(self, text: str, **fields: object) -> None:
        self.lines.append(f"{text} {fields}\n{traceback.format_exc()}")

    info = warning = error = debug = _say

    def bind(self, **_: object) -> QuietLog:
        return self


class FakePlugin(Plugin):
    """The definitions halves of the fakes, as one plugin."""

    name = "fake"

    def __init__(self) -> None:
        super().__init__({})
        self._compute, self._storage = FakeComputeDefinitions(), FakeStorageDefinitions()

    @property
    def compute(self) -> FakeComputeDefinitions:
        return self._compute

    @property
    def storage(self) -> FakeStorageDefinitions:
        return self._storage


@dataclass
class Brain:
    """One pvcnoded of one node: dies and is built anew; store, hypervisor and disks outlive it."""

    store: FakeStore
    keeper: ViewKeeper
    quick: Engine
    slow: Engine

    def steps(self) -> list[Callable[[], object]]:
        """What it could do next: read what changed, or one step of either engine."""
        return [self.keeper.step, partial(_work, self.quick), partial(_work, self.quick), partial(_work, self.slow)]


@dataclass
class Sim:
    """One node's cluster under one seed."""

    seed: int
    random: random.Random = field(init=False)
    clock: FakeClock = field(default_factory=FakeClock)
    log: QuietLog = field(default_factory=QuietLog)
    world: FakeComputeWorld = field(default_factory=FakeComputeWorld)
    disks: FakeStorageWorld = field(default_factory=FakeStorageWorld)
    server: FakeStoreServer = field(default_factory=FakeStoreServer)
    boots: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        prepare(self.server.client("init"), "sim")
        self.services = self._services()
        self.brain = self._boot()

    # -- what an operator does ---------------------------------------------------------------------------------------

    def ask(self, call: Callable[[Services], object]) -> str:
        """One request through the services; "" or the error's sentence (a refusal is an answer, not a failure).

        A request that waits lets the cluster go on meanwhile, faults and all, for a while.
        """
        self.services.desk.keeper.step()
        try:
            call(self.services)
        except PvcError as error:
            return error.message or error.code
        return ""

    def _until(self, true: Callable[[ClusterView], bool]) -> bool:
        for _ in range(200):
            if true(self.services.desk.view):
                return True
            self.step()
            self.check()
            self.services.desk.keeper.step()
        return False

    # -- time --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing of the many that could happen next."""
        chosen = self.random.choice([self.server.deliver, *self.brain.steps(), self._tick])
        try:
            chosen()
        except Crashed:
            self.restart_daemon()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            self.check()

    def settle(self, rounds: int = 400) -> None:
        """No faults any more: let everything come to rest."""
        for _ in range(rounds):
            self.server.deliver()
            self.brain.keeper.step()
            self.services.desk.keeper.step()
            moved = False
            for engine in (self.brain.quick, self.brain.slow):
                while (job := engine.take()) is not None:
                    engine.run(job)
                    self.server.deliver()
                    self.brain.keeper.step()
                    self.check()
                    moved = True
            if not moved:
                self.clock.move(1.0)

    def restart_daemon(self) -> None:
        """kill -9 of pvcnoded, and its next life. The guests run on."""
        self.brain.keeper.stop()
        self.brain.store.close()
        self.brain = self._boot()

    # -- what must be true -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Always: no guest ever ran twice, and whoever runs has a claim that says so (or had one until its end is
        seen).
        """
        assert not self.world.double, f"seed {self.seed}: {self.world.double}"
        claims = Repository(self.services.desk.repository.store).all(layout.CLAIMS)
        for uuid, guest in self.world.host(NODE).guests.items():
            claim = claims.get(uuid)
            assert claim is not None and claim.value.phase is Phase.RUN, (
                f"seed {self.seed}: {guest.name} runs, its claim is {claim}\n" + "\n".join(self.log.lines[-20:])
            )

    def check_at_rest(self) -> None:
        """In the end: every VM is as wanted, no task hangs, no debris, the picture equals the store."""
        self.settle()
        view = self.brain.keeper.view
        where = f"seed {self.seed}\n" + "\n".join(self.log.lines[-30:])
        assert self.brain.keeper.differences() == [], where
        for uuid, kept in view.vm_wanted.items():
            seen = view.vm_seen.get(uuid)
            runs = uuid in self.world.host(NODE).guests
            failed = seen is not None and seen.value.failed_asked == kept.value.asked
            missing = any(view.volume(ref) is None for ref in self.brain_volumes(uuid))
            assert kept.value.want is not Want.REMOVE, f"{kept.value.name} was never removed; {where}"
            if kept.value.want is Want.START and not missing:
                assert runs or failed, f"{kept.value.name} should run ({seen}); {where}"
            if kept.value.want is not Want.START:
                assert not runs, f"{kept.value.name} should be off; {where}"
                assert seen is None or seen.value.guest is GuestState.OFF, where
                assert view.claims[uuid].value.phase is Phase.FREE, f"{view.claims[uuid]}; {where}"
        hanging = [kept.value for kept in view.tasks.values() if not kept.value.ended]
        assert not hanging, f"{hanging}; {where}"
        recorded = {kept.value.id for kept in view.volumes.values()}
        pool = view.pools[POOL].value
        there = {found.id for found in self.disks.driver(NODE).list_volumes(pool, deadline_s=5.0)}
        assert recorded == there, f"volumes on record {recorded}, on disk {there}; {where}"

    def brain_volumes(self, uuid: str) -> Sequence[str]:
        kept = self.brain.keeper.view.vm_wanted[uuid]
        return self.services.desk.descriptions.of(kept.value).volumes

    # -- building ----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.clock.move(self.random.choice((0.05, 0.5, 2.0, 15.0)))

    def _boot(self) -> Brain:
        self.boots += 1
        store = self.server.client(f"node-{self.boots}")
        keeper = ViewKeeper(store, self.clock, live=True)
        plugin = FakePlugin()
        hooks = Hooks({}, clock=self.clock, log=self.log, inline=True)
        ground = Ground(
            node=NODE,
            incarnation="boot-1",
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
            permits=FakePermits(self.world.host(NODE)),
            hooks=hooks,
            calls=DirectCalls(),
            inline=True,
        )
        facts = NodeSeen(
            name=NODE, incarnation="boot-1", daemon_state=DaemonState.RUN, cpu_count=4, memory_total_bytes=4 * GIB
        )
        quick, slow = engines(
            ground,
            Uploads(),
            host_bridges={"upstream": "brupstream"},
            log=self.log,
            facts=lambda: facts,
            health=lambda strangers: (),
        )
        keeper.subscribe(lambda keys: quick.changed(keeper.view, keys))
        keeper.subscribe(lambda keys: slow.changed(keeper.view, keys))
        ground.compute.events(lambda uuid, event: quick.wake("vm", uuid))
        quick.wake("node", NODE)
        return Brain(store, keeper, quick, slow)

    def _services(self) -> Services:
        store = self.server.client("api")
        keeper, plugin = ViewKeeper(store, self.clock, live=True), FakePlugin()
        desk = Desk(
            keeper=keeper,
            repository=Repository(store),
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
        return services_on(desk, cluster_name="sim", coordinators=(NODE,))


def _work(engine: Engine) -> None:
    if (job := engine.take()) is not None:
        engine.run(job)


def _nobody(*_: Any, **__: Any) -> Any:
    raise PvcError("the simulator carries no bytes")


def definition(name: str, *volumes: str, extra: str = "") -> str:
    """A small VM's text."""
    disks = "".join(f'<disk dev="vd{chr(97 + index)}" volume="{ref}"/>' for index, ref in enumerate(volumes))
    return f"<domain><name>{name}</name><memory>64</memory><vcpu>1</vcpu>{disks}{extra}</domain>"
