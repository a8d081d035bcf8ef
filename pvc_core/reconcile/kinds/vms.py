"""Tasks on a running guest: attach and detach a device, break stale locks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import Exists, NotFound, Permanent, Refused, Retry
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.task import TaskState
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim, Description, DiskSpec, NicSpec, Phase
from pvc_core.reconcile.task import Done, Job, TaskKind
from pvc_core.reconcile.vm_start import Starter

DEVICE_S = 30.0
LISTED = "listed"
"""In a task's checkpoint: the volume it has put on the claim's list."""


def kinds(starter: Starter) -> Mapping[str, TaskKind]:
    turns = Turns()

    def in_turn(do: Callable[[Job, Starter], Done]) -> Callable[[Job], Done]:
        def done(job: Job) -> Done:
            with turns.taken(str(job.task.args["uuid"])):
                return do(job, starter)

        return done

    return {
        "vm.device_attach": TaskKind(do=in_turn(attach)),
        "vm.device_detach": TaskKind(do=in_turn(detach)),
        "vm.flush_locks": TaskKind(do=flush_locks),
    }


class Turns:
    """One device task at a time for one guest; they all come to the node that runs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    @contextmanager
    def taken(self, uuid: str) -> Iterator[None]:
        with self._lock:
            if uuid in self._taken:
                raise Retry("waiting until another device of this VM is attached or detached", again_in_s=1.0)
            self._taken.add(uuid)
        try:
            yield
        finally:
            with self._lock:
                self._taken.discard(uuid)


def attach(job: Job, starter: Starter) -> Done:
    """The claim lists a volume before it is attached: a node that dies in between must be fenced from it too (B17)."""
    uuid, text, device = _device(job)
    compute = job.ground.compute
    if isinstance(device, NicSpec):
        nics = starter.targets(Description(name="", uuid=uuid, memory_bytes=0, vcpus=0, nics=(device,)))
        target = nics.get(device.mac)
        if target is None:
            raise Refused(
                f"NIC {device.mac} is on no network of PVC's", help="use a bridge of a network or of a host network"
            )
        try:
            job.ground.calls(
                uuid, "attaching a NIC", DEVICE_S, lambda: compute.attach_nic(uuid, text, target, deadline_s=DEVICE_S)
            )
        except (Refused, Permanent, NotFound, Exists):
            starter.unplug(uuid, device)  # its filters, and a function of a NIC that others could have
            raise
        return Done(status=f"NIC {device.mac} is attached")
    if not device.volume:
        raise Refused("only volumes can be attached to a running guest", help="name the disk as POOL/VOLUME")
    _list(job, uuid, device)
    source = starter.attach(uuid, device.volume, read_only=device.read_only)
    try:
        job.ground.calls(
            uuid, "attaching a disk", DEVICE_S, lambda: compute.attach_disk(uuid, text, source, deadline_s=DEVICE_S)
        )
    except (Refused, Permanent, NotFound, Exists):
        _unlist(job, starter, uuid, device.volume)
        raise
    return Done(status=f"volume {device.volume} is attached as {device.dev}")


def detach(job: Job, starter: Starter) -> Done:
    """The volume leaves the claim's list only when it is certain that it was this disk."""
    uuid, text, device = _device(job)
    compute = job.ground.compute
    if isinstance(device, NicSpec):
        job.ground.calls(
            uuid, "detaching a NIC", DEVICE_S, lambda: compute.detach_nic(uuid, device.mac, deadline_s=DEVICE_S)
        )
        starter.unplug(uuid, device)
        return Done(status=f"NIC {device.mac} is detached")
    known = _is_known(job, uuid, text, device)
    job.ground.calls(
        uuid, "detaching a disk", DEVICE_S, lambda: compute.detach_disk(uuid, device.dev, deadline_s=DEVICE_S)
    )
    if device.volume and not known:
        return Done(status=f"disk {device.dev} is detached; volume {device.volume} stays the VM's until it is off")
    if device.volume:
        _unlist(job, starter, uuid, device.volume)
    return Done(status=f"disk {device.dev} is detached")


def flush_locks(job: Job) -> Done:
    """Drivers with locks of their own break those of dead holders when they attach; here it is made sure that nobody
    runs.
    """
    kept = job.ground.repository.get(layout.CLAIMS, str(job.task.args["uuid"]))
    if kept.value.phase is not Phase.FREE:
        raise Refused(f"the VM is in phase {kept.value.phase}, so its locks are in use", help="shut the VM down first")
    return Done(status="no locks are left behind")


def _device(job: Job) -> tuple[str, str, DiskSpec | NicSpec]:
    uuid, text = str(job.task.args["uuid"]), str(job.task.args["device"])
    claim = _claim(job, uuid)
    if claim.value.phase is not Phase.RUN or claim.value.holder != job.ground.node:
        raise Refused(
            f"the VM does not run on {job.ground.node} any more", help="its definition is what the next start gets"
        )
    return uuid, text, job.ground.definitions.describe_device(text)


def _is_known(job: Job, uuid: str, text: str, device: DiskSpec) -> bool:
    """Whether the guest has the volume as this very disk: by its definition, or attached by a task still on record.

    Raises Refused when the definition says that it is another disk.
    """
    vm = job.ground.view.vm_wanted.get(uuid)
    for disk in job.ground.descriptions.of(vm.value).disks if vm else ():
        if (disk.dev == device.dev) != (disk.volume == device.volume) and device.volume:
            raise Refused(
                f"the VM's disk {disk.dev} is {disk.volume or disk.path}, so {device.volume} is not its {device.dev}",
                help="name the disk as the VM's definition does",
            )
        if disk.dev == device.dev:
            return True
    seen = job.ground.view.vm_seen.get(uuid)
    since_s = seen.value.started_at_s if seen else float("inf")
    tasks = (kept.value for kept in job.ground.view.tasks.values())
    return any(
        task.kind == "vm.device_attach"
        and task.state is TaskState.SUCCESS
        and task.ended_at_s >= since_s
        and (task.args.get("uuid"), task.args.get("device")) == (uuid, text)
        for task in tasks
    )


def _claim(job: Job, uuid: str) -> Kept[Claim]:
    kept = job.ground.repository.find(layout.CLAIMS, uuid)
    if kept is None:
        raise NotFound("the VM is gone")
    return kept


def _unlist(job: Job, starter: Starter, uuid: str, ref: str) -> None:
    """The hypervisor said for certain that the guest does not have it. After any other failure the volume stays the
    guest's until it is off: an earlier attempt may have had its effect.
    """
    claim = _claim(job, uuid)
    if ref in claim.value.volumes:
        starter.let_go_of(uuid, ref)
        job.ground.commit(_listing(claim, tuple(old for old in claim.value.volumes if old != ref)))


def _list(job: Job, uuid: str, device: DiskSpec) -> None:
    """The claim lists the volume, and the task remembers that it was this task that listed it.

    One commit with the volume's own record, so that nobody takes it at the same moment.
    """
    ref = str(device.volume)
    task, claim = job.ground.repository.get(layout.TASKS, job.task.id), _claim(job, uuid)
    if ref in claim.value.volumes and task.value.checkpoint.get(LISTED) == ref:
        return  # before a crash, or before an answer that was lost: the guest may have it
    if ref in claim.value.volumes:
        raise Refused(f"volume {ref} is attached to the VM already", help="detach it first")
    volume = _free_volume(job, uuid, device)
    listed = replace(task.value, checkpoint={**task.value.checkpoint, LISTED: ref})
    job.ground.commit(
        _listing(claim, (*claim.value.volumes, ref)),
        Set(layout.VOLUMES, layout.volume_id(volume.value.pool, volume.value.name), volume.value, volume.version),
        Set(layout.TASKS, job.task.id, listed, task.version),
    )


def _free_volume(job: Job, uuid: str, device: DiskSpec) -> Kept[Volume]:
    """The volume, if no task and no other VM has it. Raises NotFound, Refused, Retry."""
    ref = str(device.volume)
    pool, _, name = ref.partition("/")
    kept = job.ground.repository.find(layout.VOLUMES, layout.volume_id(pool, name))
    if kept is None:
        raise NotFound(f"there is no volume {ref} to attach", help="`pvc storage volume list` shows those there are")
    if kept.value.phase is not VolumePhase.READY:
        raise Refused(f"volume {ref} cannot be attached: it is {kept.value.phase}")
    if busy := job.ground.busy(kept.value):
        raise Retry(f"waiting for volume {ref}: {busy}", again_in_s=2.0)
    for _, user in job.ground.users((ref,), besides=uuid):
        if not device.read_only or user.writes(ref):
            raise Refused(
                f"volume {ref} is in use by VM {user.name}", help="two guests writing one volume would destroy it"
            )
    return kept


def _listing(claim: Kept[Claim], volumes: tuple[str, ...]) -> Set:
    new = replace(claim.value, volumes=volumes, generation=claim.value.generation + 1)
    return Set(layout.CLAIMS, claim.value.uuid, new, claim.version)
