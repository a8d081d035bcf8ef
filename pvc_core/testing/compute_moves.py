# SPDX-License-Identifier: LGPL-3.0-or-later
"""Live migration between fake hypervisors, one stage at a time, so that anything may happen between two of them.

The stages are those of libvirt's peer-to-peer protocol (version 3) with the copy left paused: prepare, perform, finish,
confirm. The source's hypervisor drives; no daemon of PVC's takes part once it has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvc_core.contracts.compute import GuestEvent, RenderRequest

if TYPE_CHECKING:
    from pvc_core.testing.compute import FakeComputeWorld, FakeGuest, FakeHost

PREPARE, COPY, SWITCH, FINISH, CONFIRM = range(5)


@dataclass
class FakeMove:
    """One guest on its way from `source`; `ticket` is what the target's driver gave."""

    uuid: str
    source: str
    target: str
    request: RenderRequest
    stage: int = PREPARE
    passes: int = 0
    """How often it has gone through the guest's memory."""


class FakeMoves:
    """All migrations under way. `broken` holds the nodes that no other node reaches now."""

    def __init__(self, world: FakeComputeWorld) -> None:
        self._world = world
        self._under_way: dict[str, FakeMove] = {}
        self._failures: dict[str, str] = {}
        self._tickets: dict[str, tuple[str, RenderRequest]] = {}
        self.broken: set[str] = set()
        self.endless: set[str] = set()
        """UUIDs of guests that write their memory faster than it is carried."""

    def ticket(self, node: str, request: RenderRequest) -> str:
        ticket = f"{node}/{len(self._tickets)}"
        self._tickets[ticket] = (node, request)
        return ticket

    def begin(self, uuid: str, source: str, ticket: str) -> None:
        if uuid not in self._under_way:
            target, request = self._tickets[ticket]
            self._failures.pop(uuid, None)
            self._under_way[uuid] = FakeMove(uuid=uuid, source=source, target=target, request=request)

    def of(self, uuid: str, source: str) -> FakeMove | None:
        move = self._under_way.get(uuid)
        return move if move is not None and move.source == source else None

    def failure(self, uuid: str) -> str:
        return self._failures.get(uuid, "")

    def call_off(self, uuid: str) -> None:
        move = self._under_way.get(uuid)
        if move is not None and move.stage < CONFIRM:
            self._fail(move, "it was called off", copy_stays=False)

    def power_off(self, node: str) -> None:
        """What the node's hypervisor drove is over with it: a copy that was not whole goes, one that was stays."""
        for move in [move for move in self._under_way.values() if move.source == node]:
            self._end(move, "")
            copy = self._copy(move)
            if copy is not None and copy.incoming:
                del self._world.host(move.target).guests[move.uuid]

    def advance(self) -> None:
        """Each of them by one stage."""
        for move in list(self._under_way.values()):
            if not self._world.host(move.source).away:
                self._advance(move)

    def _advance(self, move: FakeMove) -> None:
        guest = self._world.host(move.source).guests.get(move.uuid)
        cut_off = self._world.host(move.target).away or bool({move.source, move.target} & self.broken)
        if guest is None:
            self._fail(move, "the guest ended", copy_stays=False)
        elif guest.frozen:
            return  # its process stands still, and what it would send with it
        elif move.stage == CONFIRM:
            self._confirm(move)
        elif cut_off:
            # What the target was asked last may happen there yet: its copy stays, and is paused (schedule X4).
            self._fail(move, f"{move.target} does not answer", copy_stays=True)
        elif move.stage == PREPARE:
            self._prepare(move, guest)
        elif self._copy(move) is None:
            self._fail(move, f"the copy on {move.target} is gone", copy_stays=False)
        else:
            self._copied(move, guest)

    def _prepare(self, move: FakeMove, guest: FakeGuest) -> None:
        host = self._world.host(move.target)
        if self._world.check_permits and move.uuid not in host.permits:
            self._fail(move, f"there is no launch permit for {move.uuid}", copy_stays=True)
        elif move.uuid in host.guests:
            self._fail(move, "there is a guest of that name", copy_stays=True)
        else:
            host.guests[move.uuid] = self._world.copy_of(guest, move.request)
            move.stage = COPY

    def _copied(self, move: FakeMove, guest: FakeGuest) -> None:
        copy = self._copy(move)
        assert copy is not None
        move.passes += 1
        if move.stage == COPY and move.uuid in self.endless:
            return
        if move.stage == SWITCH:
            guest.paused = True
        if move.stage == FINISH:
            copy.incoming = False
            copy.console = guest.console
        move.stage += 1

    def _confirm(self, move: FakeMove) -> None:
        self._end(move, "")
        self._world.end(move.source, move.uuid, "migrated")

    def _fail(self, move: FakeMove, reason: str, *, copy_stays: bool) -> None:
        """The source's hypervisor lets its guest run on: it is allowed to, whatever became of the copy."""
        self._end(move, reason)
        host, copy = self._world.host(move.source), self._copy(move)
        guest = host.guests.get(move.uuid)
        if copy is not None and copy_stays and move.stage > PREPARE:
            copy.incoming = False
        elif copy is not None and move.stage > PREPARE and (copy.incoming or guest is not None):
            del self._world.host(move.target).guests[move.uuid]
        if guest is not None and guest.paused:
            guest.paused = False
            self._world.note_execution(move.uuid)
        self._tell(host, move.uuid)

    def _end(self, move: FakeMove, reason: str) -> None:
        self._under_way.pop(move.uuid, None)
        if reason:
            self._failures[move.uuid] = reason

    def _copy(self, move: FakeMove) -> FakeGuest | None:
        return self._world.host(move.target).guests.get(move.uuid)

    def _tell(self, host: FakeHost, uuid: str) -> None:
        self._world.tell(host, uuid, GuestEvent.CHANGED)
