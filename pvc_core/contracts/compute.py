# SPDX-License-Identifier: LGPL-3.0-or-later
"""The compute driver: runs guests on one node. The definitions half knows the text, the driver half the hypervisor."""

from __future__ import annotations

import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pvc_core.contracts.targets import DiskSource, NicTarget
from pvc_core.contracts.where import on_node
from pvc_core.errors import Refused
from pvc_core.model.vm import Description, DiskSpec, GuestState, GuestStats, NicSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeCapabilities:
    """Data, proved in both directions by the conformance suite."""

    disk_sources: tuple[type, ...]
    """The DiskSource types it takes."""
    nic_targets: tuple[type, ...]
    live_migration: bool = False
    hotplug_disks: bool = False
    hotplug_nics: bool = False
    online_resize: bool = False
    """The hypervisor itself grows an image in use (ComputeDriver.resize_disk)."""
    console: bool = False
    vnc: bool = False
    writes_devices: bool = False
    """The definitions half writes the text of a disk or NIC itself (new_disk, new_nic, device, with_topology)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """All that may differ between the user's definition and what the hypervisor gets on this node."""

    definition: str
    uuid: str
    name: str
    disks: Mapping[str, DiskSource] = field(default_factory=dict)
    """By target device ("sda")."""
    nics: Mapping[str, NicTarget] = field(default_factory=dict)
    """By MAC."""
    virt_type: str = "kvm"
    """"kvm" or "qemu", found out by the driver half."""
    console_log: str = ""
    vnc_listen: str = ""
    comes_from: str = ""
    """prepare_incoming: the node that the guest comes from. Its console log gets `arrival_line` of it."""


_ARRIVAL = re.compile(r"\[pvc: it comes from (\S+) now, whose log has what it wrote before\]")


def arrival_line(node: str) -> str:
    """The line, without its end, that stands in a console's log before what a guest writes that came from `node`."""
    return f"[pvc: it comes from {node or 'another node'} now, whose log has what it wrote before]"


def came_from(line: str) -> str:
    """The node that an arrival_line names; "" for any other line."""
    found = _ARRIVAL.match(line)
    return found[1] if found else ""


_TEXT_ONLY = "this cluster's compute driver takes devices as text only"
_WHOLE = "change the definition as a whole"


class ComputeDefinitions(ABC):
    """Pure functions on definitions: same answer everywhere, no I/O. Each raises Invalid for a text it cannot take.

    A definition comes from a user: a hostile one (10 MB, entities, deep nesting) must be refused quickly.
    """

    capabilities: ComputeCapabilities

    @abstractmethod
    def describe(self, definition: str) -> Description:
        """What the text says. Raises Invalid with a sentence naming the element (and line) that is wrong or missing."""

    @abstractmethod
    def describe_device(self, device: str) -> DiskSpec | NicSpec:
        """What the text of one disk or NIC says. Raises Invalid for anything else."""

    @abstractmethod
    def with_identity(self, definition: str, *, name: str, uuid: str) -> str:
        """The same definition under this name and UUID; everything else byte for byte."""

    @abstractmethod
    def with_volume_renamed(self, definition: str, *, old: str, new: str) -> str:
        """ "POOL/OLD" becomes "POOL/NEW" wherever a disk names it; everything else byte for byte."""

    @abstractmethod
    def with_vcpus(self, definition: str, vcpus: int) -> str: ...

    @abstractmethod
    def with_memory(self, definition: str, memory_bytes: int) -> str: ...

    @abstractmethod
    def with_device(self, definition: str, device: str) -> str:
        """One more disk or NIC, after the last of its kind. Raises Exists if its target or MAC is taken."""

    @abstractmethod
    def without_device(self, definition: str, device: str) -> str:
        """Without the disk (same target or source) or NIC (same MAC) that `device` names. Raises NotFound."""

    def with_topology(self, definition: str, *, sockets: int, cores: int, threads: int) -> str:
        """With sockets * cores * threads vCPUs, laid out so. This and the next three: behind `writes_devices`."""
        raise Refused(_TEXT_ONLY, help=_WHOLE)

    def new_disk(self, definition: str, source: str, *, bus: str = "scsi", dev: str = "") -> str:
        """The text of a disk on `source` ("POOL/VOLUME", or the absolute path of a file) for this definition.

        Without `dev` the first free target of the bus. Raises Exists if source or target is taken.
        """
        raise Refused(_TEXT_ONLY, help=_WHOLE)

    def new_nic(
        self, *, mac: str, model: str, network: str = "", function: str = "", pci: Mapping[str, str] | None = None
    ) -> str:
        """The text of a NIC on `network` (a VNI or host network), or on SR-IOV's virtual function `function`.

        `pci` (domain, bus, slot, function, each hexadecimal) gives the function itself to the guest, not its link only.
        """
        raise Refused(_TEXT_ONLY, help=_WHOLE)

    def device(self, definition: str, name: str) -> str:
        """The text of the disk (by target, volume or path) or NIC (by MAC) called `name`, as without_device takes it.

        Raises NotFound.
        """
        raise Refused(_TEXT_ONLY, help=_WHOLE)

    @abstractmethod
    def diff(self, old: str, new: str) -> list[str]:
        """Unified diff, line by line, without headers; empty when equal."""

    @abstractmethod
    def render(self, request: RenderRequest) -> str:
        """What the hypervisor gets: sets domain type, disk sources and secrets, NIC targets, console log, VNC address.

        All else reaches it as given (a property test holds it). A disk of a volume without an entry in `request.disks`,
        or a NIC of a network without one in `request.nics`, raises Invalid.
        """


class GuestEvent(StrEnum):
    STARTED = "started"
    STOPPED = "stopped"
    """Ended: switched itself off, was destroyed, or failed; Observation.reason tells."""
    CRASHED = "crashed"
    CHANGED = "changed"
    """Anything else that is worth a look."""
    RECONNECTED = "reconnected"
    """The driver lost and found its hypervisor (uuid is ""): everything is worth a look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One guest as it is. OFF is only said when the hypervisor says so and no process on the node carries the UUID."""

    uuid: str
    guest: GuestState
    name: str = ""
    reason: str = ""
    """Why it is not running, in the hypervisor's words ("shutdown", "crashed", "destroyed", "failed")."""
    pid: int = 0
    vnc_listen: str = ""
    vnc_port: int = 0
    permit_generation: int = 0
    """Generation of the launch permit it was started under, as far as known."""
    incoming: bool = False
    """PAUSED, and its memory is still arriving from another node: it cannot be resumed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A guest on its way out, as the source sees it."""

    running: bool
    """Something of it may still be at work; only when this is False has it ended, one way or the other."""
    reason: str = ""
    """Why the last one did not arrive, as far as this driver knows; "" while it runs or when none has failed."""
    done_bytes: int = 0
    total_bytes: int = 0
    """Of memory and disks, as the hypervisor counts; 0 while it does not know."""
    passes: int = 0
    """How often it has gone through the guest's memory: from the second on it sends what was written meanwhile."""
    written_bytes_s: int = 0
    carried_bytes_s: int = 0
    """What the guest writes to its memory in a second, and what of it is carried; 0 while it is not known."""


class ComputeDriver(ABC):
    """Runs guests on this node. Every call is idempotent, may come from any worker thread (never two at once for one
    UUID), and must return within its deadline (seconds); the core stops waiting then and asks about that guest again
    only when the call has come back. Raises Retry (hypervisor away or busy), Refused, NotFound, Permanent; nothing
    else.
    """

    @abstractmethod
    @on_node
    def observe(self, uuid: str, *, deadline_s: float) -> Observation:
        """The guest as it is. Raises Retry when it cannot be found out; never OFF on a guess."""

    @abstractmethod
    @on_node
    def list_guests(self, *, deadline_s: float) -> list[Observation]:
        """Every guest that runs or is paused here, PVC's or not. Raises Retry rather than leave any out."""

    @abstractmethod
    @on_node
    def start(self, request: RenderRequest, *, paused: bool = False, deadline_s: float) -> Observation:
        """The guest runs (or is paused, ready to resume). Running already: touches nothing.

        The launch permit for request.uuid has been given before; without a valid one the hypervisor's own hook
        refuses (raises Refused). After a failure nothing is in flight: a start that may still happen later is Retry,
        and observe says UNKNOWN until it is settled. Raises Permanent with the hypervisor's words when this
        definition cannot run.
        """

    @abstractmethod
    @on_node
    def resume(self, uuid: str, *, deadline_s: float) -> None:
        """A paused guest runs on. Running already: touches nothing. Raises NotFound if it is off."""

    @abstractmethod
    @on_node
    def request_shutdown(self, uuid: str, *, deadline_s: float) -> None:
        """Ask the guest to switch itself off (ACPI). Returns when it was asked. Off already: touches nothing."""

    @abstractmethod
    @on_node
    def stop(self, uuid: str, *, deadline_s: float) -> None:
        """The guest is off: the hypervisor says so and no process carries the UUID. Raises Retry if it would not die
        yet.
        """

    @abstractmethod
    @on_node
    def attach_disk(self, uuid: str, device: str, source: DiskSource, *, deadline_s: float) -> None:
        """The running guest has the disk that `device` (the user's text) describes. There already: touches nothing."""

    @abstractmethod
    @on_node
    def detach_disk(self, uuid: str, dev: str, *, deadline_s: float) -> None:
        """The running guest has let go of the disk, seen gone. Raises Retry while the guest holds on to it."""

    @abstractmethod
    @on_node
    def attach_nic(self, uuid: str, device: str, target: NicTarget, *, deadline_s: float) -> None: ...

    @abstractmethod
    @on_node
    def detach_nic(self, uuid: str, mac: str, *, deadline_s: float) -> None: ...

    @abstractmethod
    @on_node
    def resize_disk(self, uuid: str, dev: str, size_bytes: int, *, deadline_s: float) -> None:
        """The image in use has this size and the guest sees it. Smaller than it is: raises Refused."""

    @abstractmethod
    @on_node
    def stats(self, *, deadline_s: float) -> list[GuestStats]:
        """Counters of all running guests at once."""

    @abstractmethod
    @on_node
    def console_log(self, uuid: str, lines: int) -> str:
        """The last `lines` lines of the serial console's log; "" when there is none."""

    @abstractmethod
    @on_node
    def follow_console(self, uuid: str, lines: int) -> Iterator[bytes]:
        """The last `lines` lines, then what comes, without gaps, until the caller closes the iterator. b"" now and then
        when nothing came, so that the caller can look whether anybody still listens.
        """

    @on_node
    def console_from(
        self, uuid: str, *, lines: int = 0, position: int | None = None, arrived: bool = False
    ) -> tuple[int, Iterator[bytes]]:
        """As follow_console, for a follower that comes back: (where in the log the first byte stands, the bytes).

        It begins with the last `lines` lines; or at `position`, where that is still in the log, else at its end; or,
        with `arrived`, where the guest that runs here now began to write after it came from another node. The default
        knows no positions: -1, and what is new from now on.
        """
        return -1, self.follow_console(uuid, lines)

    @abstractmethod
    @on_node
    def write_console(self, uuid: str, data: bytes) -> None:
        """Type into the guest's serial console. Raises NotFound when it is off or has none."""

    @on_node
    def open_screen(self, uuid: str, *, deadline_s: float) -> socket.socket:
        """A new connection to the guest's VNC server: RFB (RFC 6143) from its first byte on. The caller closes it.

        Capability vnc. Raises NotFound when the guest is off, Refused when it has no VNC server. The default has none.
        """
        raise Refused(f"guest {uuid} has no screen: this compute driver shows none")

    # Live migration (capability live_migration). The core's claim decides who may run the guest and the driver never
    # does: the copy arrives paused and stays so until `resume`, whatever becomes of the source or the network.

    @on_node
    def departing(self, request: RenderRequest, *, deadline_s: float) -> str:
        """On the source: the definition of the running guest as it is now, also what was plugged in since its start,

        with volumes and networks named as a user names them; `request` is how it would be started here now. Touches
        nothing. Raises Refused when the guest cannot move, or differs from `request` in what a disk is, in words.
        """
        raise Refused("this compute driver cannot move running guests")

    @on_node
    def prepare_incoming(self, request: RenderRequest, *, deadline_s: float) -> str:
        """On the target: what `migrate` on the source needs to know (its ticket), with `request.definition` what
        `departing` gave there and the rest as it is here. Starts nothing; may be called again. Raises Refused when the
        guest could not run here (its CPU, a machine type), in words.
        """
        raise Refused("this compute driver cannot receive running guests")

    @on_node
    def migrate(self, uuid: str, ticket: str, *, max_downtime_ms: int, deadline_s: float) -> None:
        """On the source: the guest is on its way to where the ticket is from. Returns when that has begun; under way
        already: touches nothing. It goes on when this daemon ends. The target's launch permit of kind "incoming" has
        been given before.

        It ends in one of two ways: the guest is gone here and its copy there is PAUSED and not `incoming` any more
        (Observation.reason here is "migrated", as far as known), or the guest is here, running, or paused where that
        could not be helped. A copy that was left there is PAUSED. Raises NotFound if it is off.
        """
        raise Refused("this compute driver cannot move running guests")

    @on_node
    def migration(self, uuid: str, *, deadline_s: float) -> Migration:
        """On the source: how far it is. Raises Retry when it cannot be found out."""
        raise Refused("this compute driver cannot move running guests")

    @on_node
    def abort_migration(self, uuid: str, *, deadline_s: float) -> None:
        """On the source: it is asked to stop, which `migration` shows when it has. None under way: touches nothing.
        May come while any other call about this guest is under way.
        """
        raise Refused("this compute driver cannot move running guests")

    @abstractmethod
    def events(self, call: Callable[[str, GuestEvent], None]) -> None:
        """From now on report (uuid, event) as it happens; from a thread of the driver's, `call` returns at once.

        Carries no state: the core observes after it. No polling stands behind it; RECONNECTED covers what was missed.
        """

    @abstractmethod
    def host_facts(self) -> Sequence[tuple[str, str]]:
        """What the hypervisor is and how guests run here, for people: [("virt_type", "qemu"), ("libvirt", "9.0.0"),
        ...].
        """
