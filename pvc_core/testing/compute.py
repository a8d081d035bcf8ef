# SPDX-License-Identifier: LGPL-3.0-or-later
"""A compute driver in memory: real state on several nodes, faults on demand, and a ledger of what executes where.

One FakeComputeWorld is what outlives daemons (hypervisors, guests, permits); each FakeCompute is the driver of one
daemon on
one node. It passes contract_compute.py like any other driver, and is the simulator's oracle: `executing` says where a
guest
runs, and `double` whether one ever ran twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pvc_core.contracts.compute import ComputeDriver, GuestEvent, Migration, Observation, RenderRequest
from pvc_core.contracts.targets import DiskSource, NicTarget
from pvc_core.errors import Invalid, NotFound, Permanent, PvcError, Refused, Retry
from pvc_core.model.vm import DiskSpec, GuestState, GuestStats, NicSpec
from pvc_core.testing.compute_moves import FakeMoves
from pvc_core.testing.compute_text import FakeComputeDefinitions
from pvc_core.testing.storage import Crashed


@dataclass
class FakeGuest:
    """One guest on one hypervisor."""

    uuid: str
    name: str
    paused: bool
    disks: dict[str, DiskSource]
    nics: dict[str, NicTarget]
    sizes: dict[str, int] = field(default_factory=dict)
    console: bytes = b""
    deaf: bool = False
    """Does not obey a request to shut down."""
    text: str = ""
    """What it was started from."""
    incoming: bool = False
    """A copy whose memory is still arriving."""
    frozen: bool = False
    """Its process was stopped by the node's guard: it executes nothing, and the hypervisor takes it for running."""

    @property
    def executes(self) -> bool:
        return not self.paused and not self.frozen


@dataclass
class Faults:
    """Each is used up by the next call it fits, and then over."""

    before: list[PvcError | Crashed] = field(default_factory=list)
    """Raised instead of doing anything."""
    after: list[PvcError | Crashed] = field(default_factory=list)
    """Raised after the effect: the answer is lost."""


@dataclass
class FakeHost:
    """The hypervisor of one node."""

    node: str
    guests: dict[str, FakeGuest] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    """Why a guest that was here is not any more."""
    permits: dict[str, int] = field(default_factory=dict)
    away: bool = False
    """The hypervisor does not answer."""
    listeners: list[Callable[[str, GuestEvent], None]] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    calls: int = 0


class FakeComputeWorld:
    """All nodes' hypervisors. `check_permits=False` starts without permits, for tests of other things."""

    def __init__(self, *, check_permits: bool = True) -> None:
        self.hosts: dict[str, FakeHost] = {}
        self.check_permits = check_permits
        self.starts = 0
        self.first_words = b""
        """What every guest says on its console when it starts."""
        self.double: list[str] = []
        """A sentence for each time a guest executed on two nodes."""
        self.moves = FakeMoves(self)
        self.moves_by_looking = False
        """A migration goes on with each look at it; otherwise with each `moves.advance()`."""

    def host(self, node: str = "hv1") -> FakeHost:
        return self.hosts.setdefault(node, FakeHost(node))

    def driver(self, node: str = "hv1") -> FakeCompute:
        """A daemon's driver; a daemon that starts again gets a new one."""
        self.host(node).listeners.clear()
        return FakeCompute(self, self.host(node))

    def executing(self, uuid: str) -> list[str]:
        """The nodes on which the guest's CPUs run."""
        return [node for node, host in sorted(self.hosts.items()) if uuid in host.guests and host.guests[uuid].executes]

    def end(self, node: str, uuid: str, reason: str = "crashed") -> None:
        """The guest ends by itself."""
        host = self.host(node)
        if host.guests.pop(uuid, None) is not None:
            host.ended[uuid] = reason
            self.tell(host, uuid, GuestEvent.CRASHED if reason == "crashed" else GuestEvent.STOPPED)

    def power_off(self, node: str) -> None:
        """Everything on the node is gone at once."""
        self.hosts[node] = FakeHost(node)
        self.moves.power_off(node)

    def copy_of(self, guest: FakeGuest, request: RenderRequest) -> FakeGuest:
        """What the target's hypervisor makes of a guest that is on its way."""
        disks, nics = dict(request.disks), dict(request.nics)
        return replace(guest, paused=True, incoming=True, disks=disks, nics=nics, console=b"")

    def restart_hypervisor(self, node: str) -> None:
        """Its daemon died and is back; guests ran on."""
        self.host(node).away = False
        self.tell(self.host(node), "", GuestEvent.RECONNECTED)

    def tell(self, host: FakeHost, uuid: str, event: GuestEvent) -> None:
        for listener in list(host.listeners):
            listener(uuid, event)

    def note_execution(self, uuid: str) -> None:
        where = self.executing(uuid)
        if len(where) > 1:
            self.double.append(f"guest {uuid} executes on {' and '.join(where)}")


class FakePermits:
    """The guard of one node, as pvcnoded sees it."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host

    def permit(self, uuid: str, *, generation: int, kind: str = "start", for_s: float = 30.0) -> float:
        if generation < self._host.permits.get(uuid, 0):
            raise Refused(f"a later start of {uuid} was permitted before")
        self._host.permits[uuid] = generation
        return for_s

    def revoke(self, uuid: str) -> bool:
        return self._host.permits.pop(uuid, None) is not None


class FakeCompute(ComputeDriver):
    def __init__(self, world: FakeComputeWorld, host: FakeHost) -> None:
        self._world, self._host = world, host
        self._definitions = FakeComputeDefinitions()

    def observe(self, uuid: str, *, deadline_s: float) -> Observation:
        with self._call():
            return self._seen(uuid)

    def list_guests(self, *, deadline_s: float) -> list[Observation]:
        with self._call():
            return [self._seen(uuid) for uuid in sorted(self._host.guests)]

    def start(self, request: RenderRequest, *, paused: bool = False, deadline_s: float) -> Observation:
        with self._call():
            guest = self._host.guests.get(request.uuid)
            if guest is None:
                self._start(request, paused)
            elif guest.paused and not paused:
                guest.paused = False
                self._world.note_execution(request.uuid)
            return self._seen(request.uuid)

    def resume(self, uuid: str, *, deadline_s: float) -> None:
        with self._call():
            guest = self._there(uuid)
            if guest.incoming:
                raise Retry(f"guest {uuid} is still arriving", again_in_s=1.0)
            guest.paused = False
            self._world.note_execution(uuid)

    def request_shutdown(self, uuid: str, *, deadline_s: float) -> None:
        with self._call():
            guest = self._host.guests.get(uuid)
            if guest is not None and not guest.deaf:
                self._world.end(self._host.node, uuid, "shutdown")

    def stop(self, uuid: str, *, deadline_s: float) -> None:
        with self._call():
            self._world.end(self._host.node, uuid, "destroyed")

    def attach_disk(self, uuid: str, device: str, source: DiskSource, *, deadline_s: float) -> None:
        with self._call():
            spec = self._definitions.describe_device(device)
            if not isinstance(spec, DiskSpec):
                raise Permanent("that is no disk")
            self._there(uuid).disks.setdefault(spec.dev, source)

    def detach_disk(self, uuid: str, dev: str, *, deadline_s: float) -> None:
        with self._call():
            self._there(uuid).disks.pop(dev, None)

    def attach_nic(self, uuid: str, device: str, target: NicTarget, *, deadline_s: float) -> None:
        with self._call():
            spec = self._definitions.describe_device(device)
            if not isinstance(spec, NicSpec):
                raise Permanent("that is no NIC")
            self._there(uuid).nics.setdefault(spec.mac, target)

    def detach_nic(self, uuid: str, mac: str, *, deadline_s: float) -> None:
        with self._call():
            self._there(uuid).nics.pop(mac, None)

    def resize_disk(self, uuid: str, dev: str, size_bytes: int, *, deadline_s: float) -> None:
        with self._call():
            guest = self._there(uuid)
            if dev not in guest.disks:
                raise NotFound(f"guest {uuid} has no disk {dev}")
            if size_bytes < guest.sizes.get(dev, 0):
                raise Refused(f"disk {dev} cannot become smaller while in use")
            guest.sizes[dev] = size_bytes

    def stats(self, *, deadline_s: float) -> list[GuestStats]:
        with self._call():
            return [_stats(guest) for _uuid, guest in sorted(self._host.guests.items())]

    def console_log(self, uuid: str, lines: int) -> str:
        guest = self._host.guests.get(uuid)
        text = guest.console.decode(errors="replace") if guest else ""
        return "\n".join(text.splitlines()[-lines:]) if lines else ""

    def follow_console(self, uuid: str, lines: int) -> Iterator[bytes]:
        yield self.console_log(uuid, lines).encode()
        while uuid in self._host.guests:
            yield b""

    def write_console(self, uuid: str, data: bytes) -> None:
        self._there(uuid).console += data

    def departing(self, request: RenderRequest, *, deadline_s: float) -> str:
        with self._call():
            guest = self._there(request.uuid)
            if guest.disks != dict(request.disks):
                raise Refused(f"guest {request.name} has other disks than its definition names")
            return guest.text

    def prepare_incoming(self, request: RenderRequest, *, deadline_s: float) -> str:
        with self._call():
            try:
                text = self._definitions.render(request)
            except Invalid as error:
                raise Refused(error.message) from None
            if f'foreign="{self._host.node}"' in text:
                raise Refused(f"its CPU is not one that {self._host.node} has")
            return self._world.moves.ticket(self._host.node, request)

    def migrate(self, uuid: str, ticket: str, *, max_downtime_ms: int, deadline_s: float) -> None:
        with self._call():
            self._there(uuid)
            self._world.moves.begin(uuid, self._host.node, ticket)

    def migration(self, uuid: str, *, deadline_s: float) -> Migration:
        with self._call():
            if self._world.moves_by_looking:
                self._world.moves.advance()
            move = self._world.moves.of(uuid, self._host.node)
            if move is None:
                return Migration(running=False, reason=self._world.moves.failure(uuid))
            done = 25 * move.stage + move.passes
            return Migration(running=True, done_bytes=done, total_bytes=max(100, done), passes=move.passes)

    def abort_migration(self, uuid: str, *, deadline_s: float) -> None:
        with self._call():
            if self._world.moves.of(uuid, self._host.node) is not None:
                self._world.moves.call_off(uuid)

    def events(self, call: Callable[[str, GuestEvent], None]) -> None:
        self._host.listeners.append(call)

    def host_facts(self) -> Sequence[tuple[str, str]]:
        return (("virt_type", "fake"),)

    # -- helpers -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._host.calls += 1
        if self._host.away:
            raise Retry("the hypervisor does not answer", again_in_s=1.0)
        if self._host.faults.before:
            raise self._host.faults.before.pop(0)
        yield
        if self._host.faults.after:
            raise self._host.faults.after.pop(0)

    def _start(self, request: RenderRequest, paused: bool) -> None:
        if self._world.check_permits and request.uuid not in self._host.permits:
            raise Refused(f"there is no launch permit for {request.uuid}")
        try:
            text = self._definitions.render(request)
        except Invalid as error:
            raise Permanent(error.message) from None
        if 'fails="' in text:
            raise Permanent(text.partition('fails="')[2].partition('"')[0])
        self._host.guests[request.uuid] = FakeGuest(
            uuid=request.uuid,
            name=request.name,
            paused=paused,
            disks=dict(request.disks),
            nics=dict(request.nics),
            console=self._world.first_words,
            deaf='deaf="yes"' in text,
            text=text,
        )
        self._host.ended.pop(request.uuid, None)
        self._world.starts += 1
        self._world.note_execution(request.uuid)
        self._world.tell(self._host, request.uuid, GuestEvent.STARTED)

    def _seen(self, uuid: str) -> Observation:
        guest = self._host.guests.get(uuid)
        if guest is None:
            return Observation(uuid=uuid, guest=GuestState.OFF, reason=self._host.ended.get(uuid, ""))
        there = Observation(uuid=uuid, guest=GuestState.RUNNING, name=guest.name, pid=1)
        if not guest.paused:
            return there
        reason = "arriving" if guest.incoming else "started paused"
        return replace(there, guest=GuestState.PAUSED, reason=reason, incoming=guest.incoming)

    def _there(self, uuid: str) -> FakeGuest:
        guest = self._host.guests.get(uuid)
        if guest is None:
            raise NotFound(f"guest {uuid} does not run on {self._host.node}")
        return guest


def _stats(guest: FakeGuest) -> GuestStats:
    disks = {dev: dict.fromkeys(("rd_req", "rd_bytes", "wr_req", "wr_bytes"), 0) for dev in guest.disks}
    nics = {mac: dict.fromkeys(("rd_bytes", "wr_bytes"), 0) for mac in guest.nics}
    return GuestStats(uuid=guest.uuid, cpu_time_ns=1, disks=disks, nics=nics)
