# SPDX-License-Identifier: LGPL-3.0-or-later
"""A simulated node's guard: the real one (pvc_core/guard/body.py), every part of it, on pretended processes, datagrams
and store.

What the real one keeps in /run it keeps in a directory of the node's own, so it may be killed and begins anew from
there. What lies outside it is sim_outside.py's; when its threads would come round is told here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pvc_core.daemon.asking import GuardQuestions
from pvc_core.errors import Refused, Retry
from pvc_core.guard import body, incarnation
from pvc_core.guard.datagram import Answer, Question
from pvc_core.guard.facts import Facts
from pvc_core.guard.main import last_words
from pvc_core.guard.settings import Settings
from pvc_core.testing.sim_outside import KEY, PermitFiles, SimAsker, SimProcesses, Told, addresses_of

if TYPE_CHECKING:
    from pvc_core.testing.sim_ha import HaNode

LOG = logging.getLogger("pvcguard")
BEAT_S, SOON_S, HOLD_S, AGAIN_S = 1.0, 0.25, 0.5, 0.5
"""h; after a miss; between two looks whether promises are needed; until a life that is over has a successor."""


@dataclass
class SimGuard:
    """The guard of one incarnation, with all the processes it has in it."""

    node: HaNode
    armed: bool = True
    processes: SimProcesses = field(init=False)

    def __post_init__(self) -> None:
        self.processes = SimProcesses(self.node.sim.world, self.node.host)
        self._told = Told(self.node.sim.log.bind(node=self.node.name))
        self.begin()

    def begin(self) -> None:
        """A new process: of the one before it is known what it left in /run."""
        node, sim = self.node, self.node.sim
        incarnation.write_whole(node.run / incarnation.NAME, f"{node.incarnation}\n".encode())
        settings = Settings(
            node=node.name, hosts="", alone=not self.armed, coordinators=sim.coordinators,
            heartbeat_s=BEAT_S, self_fence_s=sim.setting.limit_s, promise_s=3.0, reset=False,
            addresses=addresses_of(sim.names.index(node.name)), guard_port=0, watchdog=None,
            run=node.run, secrets=node.run, authority=None,
        )  # fmt: skip
        outside = body.Outside(
            life=node.incarnation, processes=self.processes, facts=Facts, open_store=node.open_guard_store,
            asker=lambda: SimAsker(node), key=lambda: KEY,
        )  # fmt: skip
        with self._process():
            self.body = body.build_on(outside, settings, node.clock)
        node.host.permits = PermitFiles(node.run, node.clock)
        self._over = False
        self._beat_at_s = self._hold_at_s = node.clock.boottime_s()

    # -- time goes by --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Each of its threads whose time has come."""
        with self._process():
            self._watch()
            now_s = self.node.clock.boottime_s()
            if not self._over and now_s >= self._beat_at_s:
                self._beat_at_s = now_s + (BEAT_S if self.body.pulse.tick() else SOON_S)
            if not self._over and now_s >= self._hold_at_s:
                self._hold_at_s = now_s + HOLD_S
                self.body.holding.turn()
            self._watch()

    def _watch(self) -> None:
        if self._over:
            return
        self.body.watch.tick()
        if self.body.fence.over:
            self._over = True
            self.body.pulse.last_words = last_words(self.node.name, self.body.life, self.body.fence, self.node.clock)
            self.body.pulse.end()
            self.node.sim.later(AGAIN_S, self.node.begin_anew, self.body.life)

    @contextmanager
    def _process(self) -> Iterator[None]:
        """What it logs meanwhile is this node's."""
        before, propagate = LOG.handlers, LOG.propagate
        LOG.handlers, LOG.propagate = [self._told], False
        try:
            yield
        finally:
            LOG.handlers, LOG.propagate = before, propagate

    # -- what it is asked ----------------------------------------------------------------------------------------------

    def permit(self, uuid: str, *, generation: int, kind: Literal["start", "incoming"], for_s: float) -> float:
        self._demand_presence()
        return self.body.permits.give(uuid, generation, kind, for_s).deadline_boottime_s

    def revoke(self, uuid: str) -> bool:
        self._demand_presence()
        return self.body.permits.revoke(uuid)

    def answer(self, question: Question) -> Answer:
        with self._process():
            return self.body.replies.answer(question)

    def _demand_presence(self) -> None:
        if self.node.guard_away:
            raise Retry("the guard does not answer", again_in_s=1.0)
        if self._over:
            raise Refused("this incarnation is over")


def questions(node: HaNode) -> GuardQuestions:
    """The judge's, in pvcnoded of `node`."""
    return GuardQuestions(lambda: SimAsker(node), lambda: node.ground.view)
