"""VMs: define, ask for a state, change, remove. What a definition may say is checked in vm_checks.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Drop, Set
from pvc_core.errors import Exists, Invalid, NotFound, Refused, Retry
from pvc_core.ids import checked_name, checked_uuid
from pvc_core.model.cluster import NameIndex
from pvc_core.model.task import Task
from pvc_core.model.view import Kept
from pvc_core.model.vm import GuestState, MigrationMethod, NicSpec, Phase, Selector, Tag, VmWanted, Want
from pvc_core.policy.affinity import APART, TOGETHER
from pvc_core.services.consoles import Consoles, need_node
from pvc_core.services.counted import Counted
from pvc_core.services.desk import Desk
from pvc_core.services.filters import name_filter
from pvc_core.services.following import LogFlow
from pvc_core.services.lines import ConsoleLine, ScreenLine, open_screen
from pvc_core.services.moves import Moves
from pvc_core.services.pictures import VmPicture, VmTally, vm_state
from pvc_core.services.tasks import TaskService
from pvc_core.services.vm_checks import HOST_NETWORKS, check_definition, check_mac, check_network, check_stays_the_same

SHUTDOWN_WAIT_S = 200.0
"""Longer than a guest is given to obey (180 s)."""
MOVE_WAIT_S = 3600.0
"""A large guest on a slow network."""
FORGOTTEN_MAX = 1000
"""Pictures of VMs that are gone, kept until there are so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFilter:
    """All that is given must hold; `negate` turns node, tag and state round."""

    limit: str | None = None
    """A name filter, or a UUID."""
    node: str | None = None
    state: str | None = None
    tag: str | None = None
    negate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VmMeta:
    """Changes to what PVC keeps about a VM beside its definition; None leaves a value as it is."""

    node_limit: tuple[str, ...] | None = None
    node_selector: Selector | None = None
    priority: int | None = None
    autostart: bool | None = None
    migration_method: MigrationMethod | None = None
    migration_max_downtime_ms: int | None = None
    profile: str | None = None
    user_data: str | None = None

    def changes(self) -> dict[str, Any]:
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class VmService:
    desk: Desk
    tasks: TaskService
    _pictures: dict[str, VmPicture] = field(default_factory=dict)
    _tally: Counted[VmTally] = field(default_factory=Counted)

    # -- looking -------------------------------------------------------------------------------------------------------

    def list(self, by: VmFilter | None = None) -> list[VmPicture]:
        """Sorted by name. Raises Invalid for a bad filter."""
        wanted = by or VmFilter()
        matches = name_filter(wanted.limit)
        if wanted.limit and wanted.limit.lower() in self.desk.view.vm_wanted:
            uuid = wanted.limit.lower()
            found = [self.picture(self.desk.view.vm_wanted[uuid])]
        else:
            found = [self.picture(kept) for kept in self.desk.view.vm_wanted.values() if matches(kept.value.name)]
        return sorted((vm for vm in found if _matches(vm, wanted)), key=lambda vm: vm.wanted.name)

    def get(self, ref: str) -> VmPicture:
        return self.picture(self.desk.need_vm(ref))

    def tally(self) -> VmTally:
        """All VMs' states, counted when one changes and not when somebody asks."""
        view = self.desk.view
        return self._tally.of((view.vm_wanted, view.claims, view.vm_seen), self._count)

    def _count(self) -> VmTally:
        vms = tuple(self.list())
        states = {vm.wanted.uuid: vm.state for vm in vms}
        return VmTally(vms=vms, states=states, counts=Counter(states.values()))

    def picture(self, kept: Kept[VmWanted]) -> VmPicture:
        """Kept from one call to the next until one of its records changes: a list of 10,000 builds none of them
        anew.
        """
        view, uuid = self.desk.view, kept.value.uuid
        claim, seen = view.claims.get(uuid), view.vm_seen.get(uuid)
        stamp = (kept.stamp, claim.stamp if claim else -1, seen.stamp if seen else -1)
        stats = (
            view.stats.get(claim.value.holder) if claim and seen and seen.value.guest is GuestState.RUNNING else None
        )
        guest = stats.value.guests.get(uuid) if stats else None
        old = self._pictures.get(uuid)
        if old is not None and old.stamp == stamp and old.stats is guest:
            return old
        picture = VmPicture(
            wanted=kept.value,
            version=kept.version,
            claim=claim.value if claim else None,
            seen=seen.value if seen else None,
            description=self.desk.descriptions.of(kept.value),
            stats=guest,
            stamp=stamp,
        )
        self._pictures[uuid] = picture
        if len(self._pictures) > len(view.vm_wanted) + FORGOTTEN_MAX:
            for gone in [old for old in list(self._pictures) if old not in view.vm_wanted]:
                self._pictures.pop(gone, None)
            self.desk.descriptions.forget_except(view.vm_wanted)
        return picture

    def console(self, ref: str, lines: int) -> str:
        """The last lines of the serial console, from the nodes that have them."""
        return Consoles(self.desk).show(self.get(ref), lines)

    def follow_console(self, ref: str, lines: int) -> LogFlow:
        """The last lines, then what comes, until it is closed; also on the next node when the guest moves."""
        return Consoles(self.desk).follow(self.get(ref), lines)

    def open_console(self, ref: str, lines: int) -> ConsoleLine:
        """A line to the serial console, both ways. Raises NotFound, Refused (it never was anywhere), Retry."""
        return Consoles(self.desk).open(self.get(ref), lines)

    def open_screen(self, ref: str) -> ScreenLine:
        """A line to the VNC server of a running guest. Raises NotFound, Refused (it is off or has none), Retry."""
        return open_screen(self.desk, self.get(ref))

    def type_console(self, ref: str, data: bytes) -> None:
        """Type into the serial console of a running guest."""
        picture = self.get(ref)
        need_node(picture)
        self.desk.ask(picture.node, "console_write", {"uuid": picture.wanted.uuid}, body=[data], deadline_s=10.0)

    # -- defining and changing -----------------------------------------------------------------------------------------

    def define(
        self,
        definition: str,
        *,
        by: str,
        node: str | None = None,
        meta: VmMeta | None = None,
        tags: tuple[Tag, ...] = (),
    ) -> VmPicture:
        """A new VM, off. Raises Invalid (the text, a name, a node), Exists (name or UUID taken), Refused (does not fit,

        a missing volume or network, an objecting plugin). The text is kept byte for byte.
        """
        description = self.desk.compute.describe(definition)
        name = _checked_vm_name(description.name)
        uuid = checked_uuid(description.uuid) if description.uuid else self.desk.new_uuid()
        _check_tags(tags)
        vm = VmWanted(
            uuid=uuid,
            name=name,
            definition=definition,
            node=self.desk.node_known(node) if node else None,
            tags=tags,
            asked_by=by,
            asked_at_s=self.desk.clock.wall_s(),
            **(meta.changes() if meta else {}),
        )
        self._check_meta(vm)
        view = self.desk.view
        if name in view.vm_names:
            raise Exists(f"a VM called {name!r} exists already", help="choose another name, or modify that VM")
        if uuid in view.vm_wanted:
            other = view.vm_wanted[uuid].value.name
            raise Exists(f"UUID {uuid} belongs to VM {other!r}", help="leave out <uuid> to get a new one")
        check_definition(self.desk, vm, description)
        self.desk.commit(Add(layout.VM_WANTED, uuid, vm), Add(layout.VM_NAMES, name, NameIndex(uuid=uuid)))
        return self.get(uuid)

    def modify(
        self, ref: str, definition: str, *, by: str, restart: bool = False, if_version: int | None = None
    ) -> VmPicture:
        """Another definition for the same VM; a running guest gets it with its next start (`restart`: now)."""
        kept = self.desk.need_vm(ref)
        if if_version is not None and if_version != kept.version:
            raise Refused(
                f"VM {kept.value.name} was changed by {kept.value.asked_by or 'someone'} meanwhile",
                help="read it again",
            )
        description = self.desk.compute.describe(definition)
        check_stays_the_same(kept.value, description)
        if description.uuid is None:
            definition = self.desk.compute.with_identity(definition, name=kept.value.name, uuid=kept.value.uuid)
        check_definition(self.desk, replace(kept.value, definition=definition), description)
        runs = vm_state(kept.value, None, None) in ("start", "restart")
        again = {"restart": kept.value.restart + 1, "asked": kept.value.asked + 1} if restart and runs else {}
        return self._write(kept, by, definition=definition, **again)

    def set_meta(self, ref: str, meta: VmMeta, *, by: str) -> VmPicture:
        kept = self.desk.need_vm(ref)
        self._check_meta(replace(kept.value, **meta.changes()))
        return self._write(kept, by, **meta.changes())

    def add_tag(self, ref: str, name: str, *, by: str, protected: bool = False) -> VmPicture:
        kept, tag = self.desk.need_vm(ref), Tag(name=name, protected=protected)
        _check_tags((tag,))
        if any(old.name == name for old in kept.value.tags):
            raise Exists(f"VM {kept.value.name} has the tag {name!r} already", help="remove it first to change it")
        return self._write(kept, by, tags=(*kept.value.tags, tag))

    def remove_tag(self, ref: str, name: str, *, by: str) -> VmPicture:
        kept = self.desk.need_vm(ref)
        found = [tag for tag in kept.value.tags if tag.name == name]
        if not found:
            known = ", ".join(tag.name for tag in kept.value.tags) or "none"
            raise NotFound(f"VM {kept.value.name} has no tag {name!r}", help=f"its tags: {known}")
        if found[0].protected:
            raise Refused(
                f"tag {name!r} of VM {kept.value.name} is protected and cannot be removed", help="it was made to stay"
            )
        return self._write(kept, by, tags=tuple(tag for tag in kept.value.tags if tag.name != name))

    def rename(self, ref: str, new_name: str, *, by: str) -> VmPicture:
        """Another name, in the definition too; its volumes keep theirs. The VM must be off."""
        kept = self.desk.need_vm(ref)
        _checked_vm_name(new_name)
        self._must_be_off(kept, "renamed")
        if new_name in self.desk.view.vm_names:
            raise Exists(f"a VM called {new_name!r} exists already", help="choose another name")
        old = kept.value
        vm = replace(
            old,
            name=new_name,
            asked_by=by,
            definition=self.desk.compute.with_identity(old.definition, name=new_name, uuid=old.uuid),
        )
        index = self.desk.view.vm_names.get(old.name)
        if index is None:
            raise Refused(f"VM {old.name} was renamed or removed at this moment", help="look at it and try again")
        self.desk.commit(
            Set(layout.VM_WANTED, old.uuid, vm, kept.version),
            Drop(layout.VM_NAMES, old.name, index.version),
            Add(layout.VM_NAMES, new_name, NameIndex(uuid=old.uuid)),
        )
        return self.get(old.uuid)

    # -- asking for a state --------------------------------------------------------------------------------------------

    def start(self, ref: str, *, by: str, wait: bool = False) -> VmPicture:
        """The VM shall run. Returns when that is written, not when it runs; `get(ref).sentence` tells how far it is.

        With `wait` it returns when the guest runs; raises Refused with the reason when it cannot.
        """
        picture = self._ask(self.desk.need_vm(ref), by, want=Want.START)
        if not wait:
            return picture
        self._wait(picture, "does not run yet", lambda vm: vm.state == "fail" or vm.runs)
        picture = self.get(picture.wanted.uuid)
        if picture.state == "fail" and picture.seen:
            raise Refused(f"VM {picture.wanted.name} did not start: {picture.seen.failed_reason}")
        return picture

    def stop(self, ref: str, *, by: str, wait: bool = False) -> VmPicture:
        """Off at once, as if its power were cut."""
        return self._ask_off(self.desk.need_vm(ref), by, wait, want=Want.STOP, force=True)

    def shutdown(self, ref: str, *, by: str, wait: bool = False) -> VmPicture:
        """Off by asking the guest. Only a VM that shall run can be asked."""
        kept = self.desk.need_vm(ref)
        if kept.value.want is not Want.START:
            raise Refused(
                f"VM {kept.value.name} is in state {self.picture(kept).state}, so there is nothing to shut down"
            )
        return self._ask_off(kept, by, wait, want=Want.SHUTDOWN, force=False)

    def disable(self, ref: str, *, by: str, force: bool = False, wait: bool = False) -> VmPicture:
        """Off, and not missed by health."""
        return self._ask_off(self.desk.need_vm(ref), by, wait, want=Want.DISABLE, force=force)

    def restart(self, ref: str, *, by: str, wait: bool = False) -> VmPicture:
        """Off by asking the guest, then on again."""
        kept = self.desk.need_vm(ref)
        if kept.value.want is not Want.START:
            raise Refused(
                f"VM {kept.value.name} is in state {self.picture(kept).state}; only a running VM can be restarted"
            )
        picture = self._ask(kept, by, restart=kept.value.restart + 1)
        if wait:
            self._wait(picture, "has not restarted", lambda vm: vm.state != "restart")
        return self.get(picture.wanted.uuid)

    def remove(self, ref: str, *, by: str, delete_disks: bool = False, timeout_s: float = 60.0) -> None:
        """Off at once, then forgotten, with its volumes if asked for. Returns when it is gone.

        Raises Retry when its node has not given it up in time: the removal goes on by itself.
        """
        kept = self.desk.need_vm(ref)
        uuid, name = kept.value.uuid, kept.value.name
        try:
            self._ask(kept, by, want=Want.REMOVE, force=True, delete_disks=delete_disks)
        except NotFound:
            return  # its node was quicker than our look at what was written
        volumes = self.desk.descriptions.of(kept.value).volumes if delete_disks else ()
        gone = self.desk.wait_until(lambda view: uuid not in view.vm_wanted, timeout_s=timeout_s)
        left = self.desk.view.vm_wanted.get(uuid)
        if not gone and left is not None:
            sentence = self.picture(left).sentence
            raise Retry(f"VM {name} is not gone yet: {sentence}", help="the removal goes on by itself")
        ids = [volume_id(*ref.split("/", 1)) for ref in volumes]
        self.desk.settle_keys(layout.VM_NAMES.key(name), *(layout.VOLUMES.key(id) for id in ids))

    # -- where it lives ------------------------------------------------------------------------------------------------

    def move(
        self, ref: str, *, by: str, node: str | None = None, live_only: bool = False, wait: bool = False
    ) -> VmPicture:
        """Another node for good, chosen if none is named; a running guest moves live where it can. See Moves."""
        return self._ask_to_move(ref, by, wait, lambda kept: Moves(self.desk).move(kept, node, live_only=live_only))

    def migrate(
        self,
        ref: str,
        *,
        by: str,
        node: str | None = None,
        force: bool = False,
        live_only: bool = False,
        wait: bool = False,
    ) -> VmPicture:
        """Another node for a while: `unmigrate` brings it back."""
        moves = Moves(self.desk)
        return self._ask_to_move(
            ref, by, wait, lambda kept: moves.migrate(kept, node, force=force, live_only=live_only)
        )

    def unmigrate(self, ref: str, *, by: str, live_only: bool = False, wait: bool = False) -> VmPicture:
        return self._ask_to_move(ref, by, wait, lambda kept: Moves(self.desk).unmigrate(kept, live_only=live_only))

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def attach_device(self, ref: str, device: str, *, by: str) -> Task:
        """A disk or NIC into the running guest (its definition is changed apart, by `modify`)."""
        return self._device_task("vm.device_attach", ref, device, by)

    def detach_device(self, ref: str, device: str, *, by: str) -> Task:
        return self._device_task("vm.device_detach", ref, device, by)

    def flush_locks(self, ref: str, *, by: str) -> Task:
        """Break the storage locks that a dead guest left behind. The VM must be off."""
        kept = self.desk.need_vm(ref)
        self._must_be_off(kept, "given new locks")
        args: dict[str, object] = {"uuid": kept.value.uuid}
        status = f"breaking stale locks of VM {kept.value.name}"
        return self.tasks.submit(
            self.tasks.new("vm.flush_locks", node=self.picture(kept).node, args=args, by=by, status=status)
        )

    def _device_task(self, kind: str, ref: str, device: str, by: str) -> Task:
        picture = self.get(ref)
        if picture.claim is None or picture.claim.phase is not Phase.RUN:
            raise Refused(
                f"VM {picture.wanted.name} does not run",
                help="change its definition; it gets the device with its next start",
            )
        found = self.desk.compute.describe_device(device)
        if isinstance(found, NicSpec) and kind.endswith("attach"):
            check_mac(self.desk, picture.wanted, found.mac)
            if found.network and found.network not in HOST_NETWORKS:
                check_network(self.desk, picture.wanted, found.network)
        args: dict[str, object] = {"uuid": picture.wanted.uuid, "device": device}
        verb = "attaching a device to" if kind.endswith("attach") else "detaching a device from"
        status = f"{verb} VM {picture.wanted.name}"
        return self.tasks.submit(self.tasks.new(kind, node=picture.node, args=args, by=by, status=status))

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _ask(self, kept: Kept[VmWanted], by: str, **changes: Any) -> VmPicture:
        if kept.value.want is Want.REMOVE and changes.get("want") is not Want.REMOVE:
            raise Refused(
                f"VM {kept.value.name} is being removed, so nothing else can be asked of it",
                help="define it again when it is gone",
            )
        return self._write(kept, by, asked=kept.value.asked + 1, **changes)

    def _ask_off(self, kept: Kept[VmWanted], by: str, wait: bool, **changes: Any) -> VmPicture:
        picture = self._ask(kept, by, **changes)
        if wait:
            self._wait(picture, "is not off yet", lambda vm: vm.claim is None or vm.claim.phase is not Phase.RUN)
        return self.get(picture.wanted.uuid)

    def _ask_to_move(
        self, ref: str, by: str, wait: bool, changes: Callable[[Kept[VmWanted]], dict[str, Any]]
    ) -> VmPicture:
        """With `wait`, returns when it lives there; raises Refused with the reason when it does not."""
        with self.desk.placing:
            kept = self.desk.need_vm(ref)
            picture = self._ask(kept, by, **changes(kept))
        uuid, request, moves = picture.wanted.uuid, picture.wanted.move, Moves(self.desk)
        if not wait:
            return picture
        if not self.desk.wait_until(lambda _: moves.answered(uuid, request) is not None, timeout_s=MOVE_WAIT_S):
            raise Retry(
                f"VM {kept.value.name} has not moved yet: {self.get(uuid).sentence}", help="it goes on by itself"
            )
        answer = moves.answered(uuid, request)
        if answer is not None and answer.move_reason and answer.move_done == request:
            raise Refused(f"VM {kept.value.name} was not moved: {answer.move_reason}")
        return self.get(uuid)

    def _wait(self, picture: VmPicture, what: str, done: Any) -> None:
        uuid = picture.wanted.uuid
        if not self.desk.wait_until(lambda _: done(self.get(uuid)), timeout_s=SHUTDOWN_WAIT_S):
            raise Retry(f"VM {picture.wanted.name} {what}: {self.get(uuid).sentence}", help="it goes on by itself")

    def _write(self, kept: Kept[VmWanted], by: str, **changes: Any) -> VmPicture:
        vm = replace(kept.value, asked_by=by, asked_at_s=self.desk.clock.wall_s(), **changes)
        self.desk.commit(Set(layout.VM_WANTED, vm.uuid, vm, kept.version))
        return self.get(vm.uuid)

    def _must_be_off(self, kept: Kept[VmWanted], verb: str) -> None:
        picture = self.picture(kept)
        if kept.value.want is Want.START or (picture.claim and picture.claim.phase is not Phase.FREE):
            raise Refused(f"VM {kept.value.name} is in state {picture.state}; it must be off to be {verb}")

    def _check_meta(self, vm: VmWanted) -> None:
        for node in vm.node_limit:
            self.desk.node_known(node)
        if not 1 <= vm.migration_max_downtime_ms <= 600_000:
            raise Invalid(
                f"a downtime of {vm.migration_max_downtime_ms} ms is out of range",
                help="1 to 600000 milliseconds are allowed",
                fields={"migration_max_downtime": "out of range"},
            )


def _matches(vm: VmPicture, wanted: VmFilter) -> bool:
    for given, holds in (
        (wanted.node, vm.node == wanted.node),
        (wanted.state, vm.state == wanted.state),
        (wanted.tag, any(tag.name == wanted.tag for tag in vm.wanted.tags)),
    ):
        if given is not None and holds == wanted.negate:
            return False
    return True


def _checked_vm_name(name: str) -> str:
    """Whatever takes a VM's name takes its UUID too, and looks for a name first: called like another's UUID, it would
    be taken for that one.
    """
    checked_name(name, "VM")
    try:
        if checked_uuid(name) != name.lower():
            return name
    except Invalid:
        return name
    raise Invalid(f"{name!r} cannot be the name of a VM: it is a UUID", help="choose a name that is none")


def _check_tags(tags: tuple[Tag, ...]) -> None:
    for tag in tags:
        checked_name(tag.name.removeprefix(APART if tag.name.startswith(APART) else TOGETHER), "tag")
    if len({tag.name for tag in tags}) < len(tags):
        raise Invalid("a tag is given twice", fields={"user_tags": "given twice"})
