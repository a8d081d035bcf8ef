"""The driver half: guests of this node, through libvirt. Never says OFF on libvirt's word alone (see processes.py).

Guests are transient domains: libvirt keeps no definition of a guest that is off, PVC's store does. What is between two
states, or not to be found out, is UNKNOWN or Retry; nothing is concluded from silence.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import libvirt

from pvc_compute_libvirt import clocks, console, emulated, events, live, migrate, secrets, stats, words
from pvc_compute_libvirt.link import Late, Link
from pvc_compute_libvirt.live import Live
from pvc_compute_libvirt.permits import NotAsked, Permits, prove_hook
from pvc_compute_libvirt.processes import Processes
from pvc_compute_libvirt.render import render
from pvc_core.clock import Clock
from pvc_core.contracts.compute import ComputeDriver, GuestEvent, Migration, Observation, RenderRequest
from pvc_core.contracts.targets import DiskSource, NicTarget
from pvc_core.errors import Invalid, NotFound, Permanent, Refused, Retry
from pvc_core.model.vm import GuestState, GuestStats

T = TypeVar("T")

_POLL_S = 0.05
_AGENT_S = 10.0
_LEAVING_S = 1.0
"""Longer than sending the last of a guest's memory takes, by default 0.3 s (migration_max_downtime)."""
_REMEMBERED = 10_000
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`uri` is libvirt's; `virt_why` is for people."""

    uri: str
    virt_type: str
    virt_why: str = ""
    console_log_dir: Path
    vnc_listen: str
    migration_uri: str = ""
    """This node's libvirtd, as other nodes' reach it."""
    migration_address: str = ""
    """Where other nodes' QEMUs reach this one's; "": guests cannot come here."""
    restart_libvirtd: Callable[[], str] | None = None
    """Asked once, when libvirtd does not ask our hook; returns what was done, raises Permanent."""


class LibvirtDriver(ComputeDriver):
    """See ComputeDriver for what each call promises."""

    def __init__(self, settings: Settings, *, permits: Permits, processes: Processes, clock: Clock, log: Any) -> None:
        self._settings, self._permits, self._processes = settings, permits, processes
        self._clock, self._log = clock, log
        self._stopped = threading.Event()
        self._link = Link(settings.uri, clock=clock, log=log, opened=self._register, found=self._reconnected)
        self._keyboards = console.Keyboards(clock, self._stopped)
        self._watchers: list[Callable[[str, GuestEvent], None]] = []
        self._lock = threading.Lock()
        self._late: dict[str, list[threading.Event]] = {}
        """By UUID: calls about it that have not come back."""
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self._lives: dict[str, tuple[int, Live]] = {}
        self._generations: dict[str, int] = {}
        self._restarted = False
        self._proving = threading.Lock()
        self._proved: WeakSet[libvirt.virConnect] = WeakSet()
        self._pids: dict[str, int] = {}
        self._departures = migrate.Departures(
            settings.uri, log=log, ended=lambda uuid: self._tell(uuid, GuestEvent.CHANGED)
        )

    def stop_driver(self) -> None:
        """Guests run on; nothing is asked or reported any more."""
        self._stopped.set()
        self._link.stop()

    def away_s(self) -> float:
        """For how long libvirtd has not answered; 0.0 while it does."""
        return self._link.away_s()

    # What is

    def observe(self, uuid: str, *, deadline_s: float) -> Observation:
        if self._is_out(uuid):
            return Observation(
                uuid=uuid, guest=GuestState.UNKNOWN, reason="an earlier call to libvirt has not come back"
            )
        self._departures.await_left(uuid, min(_LEAVING_S, deadline_s / 2))
        if self._departures.has_left(uuid) and not self._processes.of(uuid):
            return replace(self._off(uuid), reason="migrated")
        look = f"look at guest {uuid}"
        seen = self._call(uuid, look, lambda connection: self._seen(connection, uuid), deadline_s, again=True)
        if seen.guest is not GuestState.OFF:
            return replace(seen, pid=self._pid(uuid))
        pids = self._processes.of(uuid)
        if pids:
            reason = f"libvirt does not know it, but process {pids[0]} runs it; stopping it ends that process"
            return replace(seen, guest=GuestState.UNKNOWN, reason=reason, pid=pids[0])
        return seen

    def _seen(self, connection: libvirt.virConnect, uuid: str) -> Observation:
        """What libvirt says alone. A guest may end between two questions about it."""
        try:
            return self._looked(connection.lookupByUUIDString(uuid), uuid)
        except libvirt.libvirtError as error:
            if words.no_such_domain(error):
                return self._off(uuid)
            raise

    def _looked(self, domain: libvirt.virDomain, uuid: str) -> Observation:
        state, detail = domain.state()
        guest, reason = words.guest_state(state, detail)
        if guest is GuestState.OFF:
            if domain.isPersistent():
                return self._off(uuid)
            return Observation(uuid=uuid, guest=GuestState.UNKNOWN, reason="it is just being started or ended")
        if guest is GuestState.UNKNOWN:
            return Observation(uuid=uuid, guest=guest, reason=reason)
        found = self._live(uuid, domain)
        return Observation(
            uuid=uuid,
            guest=guest,
            name=found.name,
            reason=reason,
            vnc_listen=found.vnc_listen,
            vnc_port=found.vnc_port,
            permit_generation=self._generations.get(uuid, 0),
            incoming=_waits_for_memory(state, detail) and migrate.is_arriving(domain),
        )

    def _off(self, uuid: str) -> Observation:
        self._lives.pop(uuid, None)
        self._pids.pop(uuid, None)
        return Observation(uuid=uuid, guest=GuestState.OFF, reason=self._reasons.get(uuid, ""))

    def _live(self, uuid: str, domain: libvirt.virDomain) -> Live:
        """What its XML tells; read once per start and after each change of devices."""
        number = domain.ID()
        known = self._lives.get(uuid)
        if known is None or known[0] != number:
            known = self._lives[uuid] = (number, live.look(domain))
        return known[1]

    def _pid(self, uuid: str) -> int:
        pid = self._pids.get(uuid, 0)
        if not self._processes.carries(pid, uuid):
            pid = next(iter(self._processes.of(uuid)), 0)
            self._pids[uuid] = pid
        return pid

    def list_guests(self, *, deadline_s: float) -> list[Observation]:
        def collect(connection: libvirt.virConnect) -> list[Observation]:
            active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return [self._seen(connection, domain.UUIDString()) for domain in active]

        known = {
            seen.uuid: seen for seen in self._link.call("list the guests", collect, deadline_s=deadline_s, again=True)
        }
        found = [seen for seen in known.values() if seen.guest is not GuestState.OFF]
        pids = self._processes.all()
        found = [replace(seen, pid=pids.get(seen.uuid, (0,))[0]) for seen in found]
        for uuid in sorted(pids.keys() - {seen.uuid for seen in found}):
            reason = f"libvirt does not know it, but process {pids[uuid][0]} runs it"
            name = self._processes.name_of(pids[uuid][0])
            found.append(Observation(uuid=uuid, guest=GuestState.UNKNOWN, name=name, reason=reason, pid=pids[uuid][0]))
        return found

    def stats(self, *, deadline_s: float) -> list[GuestStats]:
        def collect(connection: libvirt.virConnect) -> list[GuestStats]:
            found = []
            for domain, raw in connection.getAllDomainStats(stats.KINDS, stats.FLAGS):
                uuid = domain.UUIDString()
                found.append(stats.guest_stats(uuid, raw, self._live(uuid, domain).taps))
            return found

        return self._link.call("read the guests' counters", collect, deadline_s=deadline_s, again=True)

    def host_facts(self) -> Sequence[tuple[str, str]]:
        def versions(connection: libvirt.virConnect) -> list[tuple[str, str]]:
            return [("libvirt", _version(connection.getLibVersion())), ("qemu", _version(connection.getVersion()))]

        facts = [("virt_type", self._settings.virt_type), ("virt_type_why", self._settings.virt_why)]
        try:
            return [*facts, *self._link.call("ask for versions", versions, deadline_s=2.0, again=True)]
        except Retry as error:
            return [*facts, ("libvirt", error.message)]

    # Starting and ending

    def start(self, request: RenderRequest, *, paused: bool = False, deadline_s: float) -> Observation:
        until_s = self._clock.boottime_s() + deadline_s
        self._demand_back(request)
        seen = self.observe(request.uuid, deadline_s=deadline_s)
        if seen.guest is GuestState.RUNNING or (seen.guest is GuestState.PAUSED and paused):
            return seen
        if seen.guest is GuestState.PAUSED:
            self.resume(request.uuid, deadline_s=self._left(until_s))
            return self.observe(request.uuid, deadline_s=self._left(until_s))
        if seen.guest is GuestState.UNKNOWN:
            raise Retry(f"guest {request.name} is not started: {seen.reason}")
        return self._create(request, paused, until_s)

    def _create(self, request: RenderRequest, paused: bool, until_s: float) -> Observation:
        uuid = request.uuid
        log = Path(request.console_log) if request.console_log else self._console_path(uuid)
        xml = self._rendered(request, log)
        generation = self._permits.generation(uuid)
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0

        def create(connection: libvirt.virConnect) -> Observation:
            self._prove(connection)
            secrets.give(connection, request.disks.values())
            connection.createXML(self._as_it_starts(connection, xml), flags)
            return self._seen(connection, uuid)

        self._trim(log)
        self._reasons.pop(uuid, None)
        seen = self._call(uuid, f"start guest {request.name}", create, self._left(until_s))
        self._generations[uuid] = generation
        return replace(seen, permit_generation=generation, pid=self._pid(uuid))

    def _rendered(self, request: RenderRequest, log: Path) -> str:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            listen = request.vnc_listen or self._settings.vnc_listen
            virt_type = self._settings.virt_type
            return render(replace(request, console_log=str(log), vnc_listen=listen, virt_type=virt_type))
        except Invalid as error:
            raise Permanent(f"guest {request.name} cannot be started: {error.message}", help=error.help) from None
        except OSError as error:
            raise Permanent(f"the console log {log} cannot be made: {error.strerror}") from None

    def _as_it_starts(self, connection: libvirt.virConnect, xml: str) -> str:
        return emulated.with_noted_memory(xml, virt_type=self._settings.virt_type, qemu=connection.getVersion())

    def _trim(self, log: Path) -> None:
        try:
            console.trim(log)
        except OSError as error:  # a long log, or a full disk, keeps no guest from running
            self._log.warning("the console log could not be shortened", path=str(log), error=error.strerror)

    def _mark_arrival(self, log: Path, node: str) -> None:
        self._trim(log)
        try:
            console.mark_arrival(log, node)
        except OSError as error:
            self._log.warning("the console log could not be marked", path=str(log), error=error.strerror)

    def prove_again(self) -> None:
        """The hook was put in place anew: the next start proves that libvirtd asks it."""
        with self._proving:
            self._proved.clear()
            self._restarted = False

    def _prove(self, connection: libvirt.virConnect) -> None:
        """Once per connection, so once per life of libvirtd."""
        with self._proving:
            if connection in self._proved:
                return
            try:
                prove_hook(connection, self._settings.virt_type)
            except NotAsked:
                self._restart_libvirtd()
                raise
            self._proved.add(connection)

    def _restart_libvirtd(self) -> None:
        if self._settings.restart_libvirtd is None or self._restarted:
            return
        self._restarted = True
        try:
            self._log.warning("libvirtd does not know our hook yet", done=self._settings.restart_libvirtd())
        except Permanent as error:
            self._log.error("libvirtd does not know our hook yet", error=str(error))

    def resume(self, uuid: str, *, deadline_s: float) -> None:
        def resume(connection: libvirt.virConnect) -> None:
            domain = live.running(connection, uuid)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

        self._call(uuid, f"resume guest {uuid}", resume, deadline_s)

    def request_shutdown(self, uuid: str, *, deadline_s: float) -> None:
        def ask(connection: libvirt.virConnect) -> None:
            domain = live.find(connection, uuid)
            if domain is not None:
                domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

        self._call(uuid, f"ask guest {uuid} to shut down", ask, deadline_s)

    def stop(self, uuid: str, *, deadline_s: float) -> None:
        until_s = self._clock.boottime_s() + deadline_s

        def destroy(connection: libvirt.virConnect) -> None:
            domain = live.find(connection, uuid)
            if domain is not None:
                domain.destroy()

        try:
            self._call(uuid, f"stop guest {uuid}", destroy, deadline_s)
        except NotFound:
            pass  # it ended by itself between the two calls
        for pid in self._processes.of(uuid):
            # libvirt says that it is off, yet here it runs: libvirt has lost it.
            self._log.warning("killing a guest that libvirt does not know", vm=uuid, pid=pid)
            self._processes.kill(pid, uuid)
        while (seen := self.observe(uuid, deadline_s=self._left(until_s))).guest is not GuestState.OFF:
            if self._left(until_s) <= _POLL_S or self._stopped.wait(_POLL_S):
                raise Retry(f"guest {uuid} is not off yet: {seen.reason or seen.guest.value}", again_in_s=1.0)

    # Moving while it runs

    def departing(self, request: RenderRequest, *, deadline_s: float) -> str:
        flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
        look = f"look at guest {request.name}"
        xml = self._call(request.uuid, look, lambda c: live.running(c, request.uuid).XMLDesc(flags), deadline_s)
        return migrate.departing(xml, replace(request, virt_type=self._settings.virt_type))

    def prepare_incoming(self, request: RenderRequest, *, deadline_s: float) -> str:
        address = self._settings.migration_address
        if not address:
            raise Refused(
                "this node has no address for guests to arrive at", help="name host_networks.cluster in its pvc.yaml"
            )
        self._demand_back(request)
        log = self._console_path(request.uuid)
        xml = self._rendered(request, log)
        self._mark_arrival(log, request.comes_from)

        def check(connection: libvirt.virConnect) -> None:
            self._prove(connection)
            secrets.give(connection, request.disks.values())
            migrate.demand_cpu(connection, xml, self._settings.virt_type)

        self._call(request.uuid, f"prepare for guest {request.name}", check, deadline_s)
        return migrate.Ticket(libvirtd=self._settings.migration_uri, data=f"tcp://{address}", definition=xml).text()

    def migrate(self, uuid: str, ticket: str, *, max_downtime_ms: int, deadline_s: float) -> None:
        if not self.migration(uuid, deadline_s=deadline_s).running:
            self._call(uuid, f"look at guest {uuid}", lambda connection: live.running(connection, uuid), deadline_s)
            pid = self._pid(uuid)
            self._departures.begin(uuid, migrate.Ticket.of(ticket), pid=pid, max_downtime_ms=max_downtime_ms)

    def _demand_back(self, request: RenderRequest) -> None:
        """Nothing of a guest that has just left may still be libvirt's: it would refuse another of its UUID."""
        if self._departures.has_left(request.uuid):
            raise Retry(f"guest {request.name} has just left, and libvirt has yet to see it", again_in_s=0.1)

    def migration(self, uuid: str, *, deadline_s: float) -> Migration:
        def look(connection: libvirt.virConnect) -> Migration:
            return migrate.state(live.find(connection, uuid), self._departures, uuid)

        self._departures.await_left(uuid, min(_LEAVING_S, deadline_s / 2))
        if self._departures.has_left(uuid):
            return Migration(running=True)
        return self._call(uuid, f"look at the migration of guest {uuid}", look, deadline_s, again=True)

    def abort_migration(self, uuid: str, *, deadline_s: float) -> None:
        def call_off(connection: libvirt.virConnect) -> None:
            domain = live.find(connection, uuid)
            if domain is not None:
                migrate.call_off(domain)

        self._call(uuid, f"call the migration of guest {uuid} off", call_off, deadline_s)

    def set_clock(self, uuid: str) -> bool:
        """Whether an agent in the guest has set it. Raises Retry, NotFound, Permanent (the agent's words)."""
        set_right = partial(clocks.set_right, uuid=uuid)
        return self._call(uuid, f"set the clock of guest {uuid}", set_right, _AGENT_S)

    # Devices

    def attach_disk(self, uuid: str, device: str, source: DiskSource, *, deadline_s: float) -> None:
        def attach(domain: libvirt.virDomain) -> None:
            secrets.give(domain.connect(), [source])
            live.attach_disk(domain, device, source)

        self._change(uuid, "attach a disk to", attach, deadline_s)

    def attach_nic(self, uuid: str, device: str, target: NicTarget, *, deadline_s: float) -> None:
        self._change(uuid, "attach a NIC to", lambda domain: live.attach_nic(domain, device, target), deadline_s)

    def detach_disk(self, uuid: str, dev: str, *, deadline_s: float) -> None:
        self._detach(uuid, f"disk {dev}", lambda domain: live.detach_disk(domain, dev), deadline_s)

    def detach_nic(self, uuid: str, mac: str, *, deadline_s: float) -> None:
        self._detach(uuid, f"NIC {mac}", lambda domain: live.detach_nic(domain, mac), deadline_s)

    def resize_disk(self, uuid: str, dev: str, size_bytes: int, *, deadline_s: float) -> None:
        what = f"resize disk {dev} of"
        self._change(uuid, what, lambda domain: live.resize_disk(domain, dev, size_bytes), deadline_s)

    def _detach(self, uuid: str, what: str, ask: Callable[[libvirt.virDomain], bool], deadline_s: float) -> None:
        """Asked anew every second: a guest that was still booting has not heard the first request."""
        until_s = self._clock.boottime_s() + deadline_s
        while not self._change(uuid, f"detach {what} from", ask, self._left(until_s)):
            if self._left(until_s) <= 1.0 or self._stopped.wait(min(1.0, self._left(until_s) / 4)):
                raise Retry(f"guest {uuid} has not let go of {what} yet", again_in_s=2.0)

    def _change(self, uuid: str, what: str, work: Callable[[libvirt.virDomain], T], deadline_s: float) -> T:
        def change(connection: libvirt.virConnect) -> T:
            try:
                return work(live.running(connection, uuid))
            finally:
                self._lives.pop(uuid, None)

        return self._call(uuid, f"{what} guest {uuid}", change, deadline_s)

    # Console

    def console_log(self, uuid: str, lines: int) -> str:
        return console.tail(self._console_path(uuid), lines)[0].decode(errors="replace")

    def follow_console(self, uuid: str, lines: int) -> Iterator[bytes]:
        return console.follow(self._console_path(uuid), lines, self._stopped)

    def console_from(
        self, uuid: str, *, lines: int = 0, position: int | None = None, arrived: bool = False
    ) -> tuple[int, Iterator[bytes]]:
        path = self._console_path(uuid)
        start = console.arrived(path) if arrived else console.start(path, lines, position)
        return start, console.follow_from(path, start, self._stopped)

    def write_console(self, uuid: str, data: bytes) -> None:
        self._keyboards.write(uuid, lambda: self._pty(uuid), data)

    def _pty(self, uuid: str) -> str:
        find = f"find the console of guest {uuid}"
        pty = self._call(uuid, find, lambda conn: live.look(live.running(conn, uuid)).pty, 5.0, again=True)
        if not pty:
            raise NotFound(f"guest {uuid} has no serial console")
        return pty

    def open_screen(self, uuid: str, *, deadline_s: float) -> socket.socket:
        """libvirt hands over the connection: where the VNC server listens, if it does at all, does not matter."""
        return self._call(uuid, f"connect to the screen of guest {uuid}", partial(live.screen, uuid), deadline_s)

    def _console_path(self, uuid: str) -> Path:
        """Raises NotFound for what is no UUID: it comes from other processes, and would lead to other files."""
        if not _UUID.fullmatch(uuid):
            raise NotFound(f"no guest has the UUID {uuid[:100]!r}")
        return self._settings.console_log_dir / f"{uuid}.log"

    # Events

    def events(self, call: Callable[[str, GuestEvent], None]) -> None:
        self._watchers.append(call)
        self._link.keep()

    def _register(self, connection: libvirt.virConnect) -> None:
        events.register(connection, self._event)

    def _reconnected(self) -> None:
        self._tell("", GuestEvent.RECONNECTED)

    def _event(self, uuid: str, event: GuestEvent, reason: str) -> None:
        if event in (GuestEvent.STOPPED, GuestEvent.CRASHED):
            self._reasons[uuid] = reason
            while len(self._reasons) > _REMEMBERED:
                self._reasons.popitem(last=False)
        if reason == events.LEAVING:
            self._departures.stands_still(uuid)
        self._lives.pop(uuid, None)
        self._tell(uuid, event)

    def _tell(self, uuid: str, event: GuestEvent) -> None:
        if not self._stopped.is_set():
            for call in list(self._watchers):
                call(uuid, event)

    # Calls

    def _call(
        self, uuid: str, what: str, work: Callable[[libvirt.virConnect], T], deadline_s: float, *, again: bool = False
    ) -> T:
        """A call about one guest: none while an earlier one about it has not come back."""
        if self._is_out(uuid):
            raise Retry(f"could not {what}: an earlier call to libvirt about it has not come back", again_in_s=2.0)
        try:
            return self._link.call(what, work, deadline_s=deadline_s, again=again)
        except Late as late:
            with self._lock:
                self._late.setdefault(uuid, []).append(late.back)
            raise

    def _is_out(self, uuid: str) -> bool:
        with self._lock:
            out = [back for back in self._late.pop(uuid, ()) if not back.is_set()]
            if out:
                self._late[uuid] = out
            return bool(out)

    def _left(self, until_s: float) -> float:
        return max(0.0, until_s - self._clock.boottime_s())


def _waits_for_memory(state: int, detail: int) -> bool:
    return bool(state == libvirt.VIR_DOMAIN_PAUSED and detail == libvirt.VIR_DOMAIN_PAUSED_MIGRATION)


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
