"""Tasks on a running guest: attach and detach a device, break stale locks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import NotFound, Refused
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim, Description, DiskSpec, NicSpec, Phase
from pvc_core.reconcile.task import Done, Job, TaskKind
from pvc_core.reconcile.vm_start import Starter

DEVICE_S = 30.0


def kinds(starter: Starter) -> Mapping[str, TaskKind]:
    return {
        "vm.device_attach": TaskKind(do=lambda job: attach(job, starter)),
        "vm.device_detach": TaskKind(do=lambda job: detach(job, starter)),
        "vm.flush_locks": TaskKind(do=flush_locks),
    }


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
        job.ground.calls(
            uuid, "attaching a NIC", DEVICE_S, lambda: compute.attach_nic(uuid, text, target, deadline_s=DEVICE_S)
        )
        return Done(status=f"NIC {device.mac} is attached")
    if not device.volume:
        raise Refused("only volumes can be attached to a running guest", help="name the disk as POOL/VOLUME")
    _list_volume(job, uuid, device.volume, add=True)
    source = starter.attach(uuid, device.volume, read_only=device.read_only)
    job.ground.calls(
        uuid, "attaching a disk", DEVICE_S, lambda: compute.attach_disk(uuid, text, source, deadline_s=DEVICE_S)
    )
    return Done(status=f"volume {device.volume} is attached as {device.dev}")


def detach(job: Job, starter: Starter) -> Done:
    uuid, _, device = _device(job)
    compute = job.ground.compute
    if isinstance(device, NicSpec):
        job.ground.calls(
            uuid, "detaching a NIC", DEVICE_S, lambda: compute.detach_nic(uuid, device.mac, deadline_s=DEVICE_S)
        )
        return Done(status=f"NIC {device.mac} is detached")
    job.ground.calls(
        uuid, "detaching a disk", DEVICE_S, lambda: compute.detach_disk(uuid, device.dev, deadline_s=DEVICE_S)
    )
    if device.volume:
        starter.let_go_of(uuid, device.volume)
        _list_volume(job, uuid, device.volume, add=False)
    return Done(status=f"disk {device.dev} is detached")


def flush_locks(job: Job) -> Done:
    """Drivers with locks of their own break those of dead holders when they attach; here it is made sure that nobody
    runs.
    """
    kept = job.ground.repository.get(layout.CLAIMS, str(job.task.args["uuid"]))
    if kept.value.phase is not Phase.FREE:
        raise Refused(f"the VM is in phase {kept.value.phase}; its locks are in use")
    return Done(status="no locks are left behind")


def _device(job: Job) -> tuple[str, str, DiskSpec | NicSpec]:
    uuid, text = str(job.task.args["uuid"]), str(job.task.args["device"])
    claim = _claim(job, uuid)
    if claim.value.phase is not Phase.RUN or claim.value.holder != job.ground.node:
        raise Refused(f"the VM does not run on {job.ground.node} any more")
    return uuid, text, job.ground.definitions.describe_device(text)


def _claim(job: Job, uuid: str) -> Kept[Claim]:
    kept = job.ground.repository.find(layout.CLAIMS, uuid)
    if kept is None:
        raise NotFound("the VM is gone")
    return kept


def _list_volume(job: Job, uuid: str, ref: str, *, add: bool) -> None:
    kept = _claim(job, uuid)
    if add:
        for other, claim in job.ground.view.claims.items():
            if other != uuid and ref in claim.value.volumes and claim.value.phase is not Phase.FREE:
                raise Refused(
                    f"volume {ref} is in use by another VM", help="two guests writing one volume would destroy it"
                )
    volumes = tuple(old for old in kept.value.volumes if old != ref) + ((ref,) if add else ())
    if volumes != kept.value.volumes:
        job.ground.commit(
            Set(
                layout.CLAIMS,
                uuid,
                replace(kept.value, volumes=volumes, generation=kept.value.generation + 1),
                kept.version,
            )
        )
