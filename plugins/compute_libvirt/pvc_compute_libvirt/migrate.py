"""Guests that leave through libvirt: peer to peer and never post-copy, and the copy stays paused (VIR_MIGRATE_PAUSED),
so that libvirt never decides who runs: alone it ran a guest on both nodes when the target's libvirtd hung at the end.

One thread and one connection for each guest on its way: libvirt's call lasts as long as the copying, and libvirtd
serves five calls of one client at a time. The migration is libvirtd's and goes on when this daemon ends; the next one
finds it by its job. Flags and parameters: libvirt-domain.h (virDomainMigrateToURI3), libvirt.org/migration.html.
"""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import libvirt

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt.devices import set_volume
from pvc_compute_libvirt.render import render
from pvc_compute_libvirt.text import Document, Edits, Element, parse
from pvc_core.contracts.compute import Migration, RenderRequest
from pvc_core.contracts.targets import Rbd
from pvc_core.errors import Invalid, Permanent, Refused

# UNSAFE: whether the disks are shared is not libvirt's to judge, who goes by the type of the file system; PVC has seen
# that they are (StorageDriver.sees_peers). QEMU drops what it has cached of an image at the switch-over (since 3.0).
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PAUSED
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    | libvirt.VIR_MIGRATE_UNSAFE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """How the source reaches the target, and what the guest is there."""

    libvirtd: str
    """The target's libvirtd, as the source's names it."""
    data: str
    """Where the target's QEMU listens for memory."""
    definition: str

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def of(text: str) -> Ticket:
        return Ticket(**json.loads(text))


class Departures:
    """What is under way on this node, as far as this daemon has begun it. `ended` is told when a guest's process has
    ended, and when a call has come back.
    """

    def __init__(self, uri: str, *, log: Any, ended: Callable[[str], None]) -> None:
        self._uri, self._log, self._ended = uri, log, ended
        self._lock = threading.Condition()
        self._out: set[str] = set()
        self._still: set[str] = set()
        self._left: set[str] = set()
        self._reasons: dict[str, str] = {}

    def begin(self, uuid: str, ticket: Ticket, *, pid: int, max_downtime_ms: int) -> None:
        """Under way already: touches nothing. `pid` is the guest's process, 0 when it is not known."""
        with self._lock:
            if uuid in self._out:
                return
            self._out.add(uuid)
            self._still.discard(uuid)
            self._left.discard(uuid)
            self._reasons.pop(uuid, None)
        threading.Thread(
            target=self._carry, args=(uuid, ticket, max_downtime_ms), name=f"migrate {uuid}", daemon=True
        ).start()
        if pid:
            threading.Thread(target=self._await_end, args=(uuid, pid), name=f"await {uuid}", daemon=True).start()

    def is_out(self, uuid: str) -> bool:
        with self._lock:
            return uuid in self._out

    def stands_still(self, uuid: str) -> None:
        """libvirt says that it was paused to leave."""
        with self._lock:
            if uuid in self._out:
                self._still.add(uuid)

    def has_left(self, uuid: str) -> bool:
        """libvirt has paused it to leave, its process was seen to end, and libvirt's call is still out.

        libvirt itself looks for the end of that process every 0.2 s only (virProcessKillPainfully), answers nothing
        about the guest meanwhile, and the guest would stand still for that long. It cannot begin another process of
        that UUID before the call is back, and after it only with a permit.
        """
        with self._lock:
            return uuid in self._left and uuid in self._still

    def await_left(self, uuid: str, limit_s: float) -> None:
        """Of a guest that was paused to leave: until its process has ended or it stays, `limit_s` at most. Who asks
        libvirt about it just then gets no answer before libvirt itself has looked for that end, 0.2 s later.
        """
        with self._lock:
            if uuid in self._still:
                self._lock.wait_for(lambda: uuid in self._left or uuid not in self._out, limit_s)

    def reason(self, uuid: str) -> str:
        """Why the last one did not arrive."""
        with self._lock:
            return self._reasons.get(uuid, "")

    def forget(self, uuid: str) -> None:
        with self._lock:
            self._reasons.pop(uuid, None)

    def _carry(self, uuid: str, ticket: Ticket, max_downtime_ms: int) -> None:
        reason = "its thread failed; the daemon's log tells more"
        try:
            reason = self._migrate(uuid, ticket, max_downtime_ms)
        finally:
            with self._lock:
                for table in (self._out, self._still, self._left):
                    table.discard(uuid)
                if reason:
                    self._reasons[uuid] = reason
                self._lock.notify_all()
            self._ended(uuid)

    def _await_end(self, uuid: str, pid: int) -> None:
        """A process's descriptor can be read when it has ended (pidfd_open(2)): its memory and files are given back."""
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return  # it has ended already, which libvirt will tell
        try:
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            while self.is_out(uuid):
                if poller.poll(1000):
                    self._has_ended(uuid)
                    return
        finally:
            os.close(handle)

    def _has_ended(self, uuid: str) -> None:
        with self._lock:
            if uuid not in self._out:
                return
            self._left.add(uuid)
            self._lock.notify_all()
        self._ended(uuid)

    def _migrate(self, uuid: str, ticket: Ticket, max_downtime_ms: int) -> str:
        try:
            connection = libvirt.open(self._uri)
            try:
                domain = connection.lookupByUUIDString(uuid)
                domain.migrateSetMaxDowntime(max_downtime_ms)
                domain.migrateToURI3(ticket.libvirtd, _parameters(ticket), _flags(ticket))
            finally:
                connection.close()
        except libvirt.libvirtError as error:
            self._log.warning("a migration has failed", vm=uuid, target=ticket.libvirtd, error=str(error))
            return error.get_error_message() or str(error)
        return ""


def state(domain: libvirt.virDomain | None, departures: Departures, uuid: str) -> Migration:
    """By the call that is out, or else by libvirt's job: another daemon may have begun it."""
    job = _job(domain) if domain is not None else {}
    leaving = job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT and _is_active(job)
    if not leaving and not departures.is_out(uuid):
        return Migration(running=False, reason=departures.reason(uuid))
    return Migration(
        running=True,
        done_bytes=int(job.get("data_processed", 0)),
        total_bytes=int(job.get("data_total", 0)),
        passes=int(job.get("memory_iteration", 0)),
        written_bytes_s=int(job.get("memory_dirty_rate", 0)) * int(job.get("memory_page_size", 0)),
        carried_bytes_s=int(job.get("memory_bps", 0)),
    )


def is_arriving(domain: libvirt.virDomain) -> bool:
    """Whether its memory is still on its way here. libvirt 9 has no statistics of that job, and says so."""
    try:
        job = _job(domain)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            raise
        return True
    return job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN and _is_active(job)


def call_off(domain: libvirt.virDomain) -> None:
    try:
        domain.abortJob()
    except libvirt.libvirtError as error:
        # None is under way, or it has come too far to be called off: `state` tells which.
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def demand_cpu(connection: libvirt.virConnect, xml: str, virt_type: str) -> None:
    """Raises Refused when this host cannot give the guest the CPU it has, in libvirt's words."""
    root = parse(xml, root=("domain",))
    cpu, os_type = root.root.find("cpu"), root.root.find("os/type")
    if cpu is None or cpu.get("mode") != "custom":
        return  # QEMU's own default, the same everywhere; or what migratable XML never says
    arch = os_type.get("arch") or None if os_type is not None else None
    flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        connection.compareHypervisorCPU(None, arch, None, virt_type, Edits(root).raw(cpu), flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_CPU_INCOMPATIBLE:
            raise Refused(
                f"the guest's CPU is not one this node can give: {error.get_error_message()}",
                help="choose a CPU model that all nodes have, or shut the VM down to move it",
            ) from None
        raise


def departing(live_xml: str, request: RenderRequest) -> str:
    """The running guest's XML with volumes named again as a user names them; `request` is how it would start here.

    Raises Refused when a disk is not what its definition says: the target would be given another one.
    """
    try:
        document, started = parse(live_xml, root=("domain",)), parse(render(request), root=("domain",))
        named = {spec.dev: spec for spec in read.disks(parse(request.definition, root=("domain",)))}
    except Invalid as error:
        raise Permanent(f"guest {request.name} cannot be described for a migration: {error.message}") from None
    expected, edits = _sources(started), Edits(document)
    for dev, (element, path) in _sources(document).items():
        if dev not in named or dev not in expected or path != expected[dev][1]:
            raise Refused(
                f"disk {dev} of the guest is {path or 'empty'}, but its definition says "
                f"{named[dev].volume or named[dev].path or 'empty' if dev in named else 'nothing of it'}",
                help="the definition was changed since it was started: restart it, or move it by shutting it down",
            )
        volume = named[dev].volume
        if volume is not None:
            pool, _, image = volume.partition("/")
            set_volume(edits, element, Rbd(pool=pool, image=image, monitors=(), user="", secret_uuid=""))
    return edits.text()


def _sources(document: Document) -> dict[str, tuple[Element, str | None]]:
    found = {}
    for element in document.root.all("devices/disk"):
        source = element.find("source")
        found[read.disk(element).dev] = (element, read.source_path(source) if source is not None else None)
    return found


def _parameters(ticket: Ticket) -> dict[str, Any]:
    return {libvirt.VIR_MIGRATE_PARAM_URI: ticket.data, libvirt.VIR_MIGRATE_PARAM_DEST_XML: ticket.definition}


def _flags(ticket: Ticket) -> int:
    """Memory travels as well guarded as the call that begins it."""
    tls: int = libvirt.VIR_MIGRATE_TLS if "+tls:" in ticket.libvirtd else 0
    return int(_FLAGS) | tls


def _job(domain: libvirt.virDomain) -> dict[str, Any]:
    """Nothing, for a domain that has ended at this moment."""
    try:
        return dict(domain.jobStats())
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
            raise
        return {}


def _is_active(job: dict[str, Any]) -> bool:
    return job.get("type") in (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
