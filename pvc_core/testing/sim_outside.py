# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a simulated guard (sim_guard.py) finds outside itself: processes that are guests of a FakeHost, datagrams over a
SimNet, and its log as the simulator's.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pvc_core.clock import Clock
from pvc_core.guard.asking import Asker, Heard
from pvc_core.guard.datagram import Question, key_from, new_nonce, open_answer, open_question, seal
from pvc_core.guard.permits import NAME as PERMITS
from pvc_core.guard.permits import is_valid
from pvc_core.guard.processes import Guest, Processes, Standing
from pvc_core.testing.compute import FakeComputeWorld, FakeGuest, FakeHost
from pvc_core.testing.sim_net import NETWORKS

if TYPE_CHECKING:
    from pvc_core.testing.sim_ha import HaNode

KEY = key_from("simulated")


def addresses_of(index: int) -> dict[str, str]:
    """Of the node with that index: 10.NETWORK.0.NODE."""
    return {network: f"10.{number}.0.{index + 1}" for number, network in enumerate(NETWORKS)}


class PermitFiles(dict[str, int]):
    """What the hypervisor's hook sees: the guard's own files, as long as they hold."""

    def __init__(self, run: Path, clock: Clock) -> None:
        super().__init__()
        self._directory, self._clock = run / PERMITS, clock

    def __contains__(self, uuid: object) -> bool:
        return is_valid(self._directory / str(uuid), self._clock.boottime_s())


class SimProcesses(Processes):
    """/proc of one node. Guests have no network devices here."""

    def __init__(self, world: FakeComputeWorld, host: FakeHost) -> None:
        self._world, self._host = world, host
        self._known: dict[str, tuple[FakeGuest, Guest]] = {}
        self._last = 0

    def guests(self) -> list[Guest]:
        return [self._process(uuid, guest) for uuid, guest in self._host.guests.items()]

    def send(self, guest: Guest, number: signal.Signals) -> None:
        there = self._there(guest)
        if there is None:
            return
        if number == signal.SIGKILL:
            self._world.end(self._host.node, guest.uuid, "killed")
            return
        there.frozen = number == signal.SIGSTOP
        self._world.note_execution(guest.uuid)

    def standing(self, guest: Guest) -> Standing:
        there = self._there(guest)
        if there is None:
            return Standing.GONE
        return Standing.STOPPED if there.frozen else Standing.RUNNING

    def taps(self, guest: Guest) -> list[str]:
        return []

    def _there(self, guest: Guest) -> FakeGuest | None:
        found = self._host.guests.get(guest.uuid)
        return found if found is not None and self._process(guest.uuid, found) == guest else None

    def _process(self, uuid: str, guest: FakeGuest) -> Guest:
        if uuid not in self._known or self._known[uuid][0] is not guest:
            self._last += 1
            self._known[uuid] = (guest, Guest(self._last, self._last, uuid))
        return self._known[uuid][1]


class SimAsker(Asker):
    """A question arrives where the way there is open, its answer where the way back is."""

    def __init__(self, node: HaNode) -> None:
        self._from = node

    def ask(
        self,
        what: Literal["alive", "promise", "release"],
        targets: Mapping[str, Sequence[str]],
        *,
        wait_s: float,
        incarnation: str = "",
        why: str = "",
    ) -> list[Heard]:
        heard = []
        for name, addresses in targets.items():
            question = Question(
                ask=what, asker=self._from.name, node=name, nonce=new_nonce(), incarnation=incarnation, why=why
            )
            for address in addresses:
                answer = self._carried(seal(KEY, question), address)
                if answer is not None:
                    heard.append(answer)
        return heard

    def _carried(self, datagram: bytes, address: str) -> Heard | None:
        sim, asker = self._from.sim, self._from.name
        _, network, _, number = (int(part) for part in address.split("."))
        other = sim.nodes[sim.names[number - 1]]
        question = open_question(KEY, datagram)
        there = sim.net.reaches(asker, other.name, NETWORKS[network]) and not other.guard_away
        if question is None or question.node != other.name or not there:
            return None
        answer = open_answer(KEY, seal(KEY, other.guard.answer(question)))
        back = answer is not None and sim.net.reaches(other.name, asker, NETWORKS[network])
        return Heard(address, answer) if answer is not None and back else None


class Told(logging.Handler):
    """A guard's lines in the simulator's log; a bug in it is one there, too."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        bug = error is not None and not isinstance(error, OSError)
        self._log.info(record.getMessage() + (f" internal error: {error!r}" if bug else ""))
