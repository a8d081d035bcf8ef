"""Work on a volume that needs its guest off takes the guest's claim meanwhile, so that no start can come between.

"Stopped" in a record is not "nobody may start it": only the claim is (design rule 1; schedule B18).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import Conflict, Refused, Retry
from pvc_core.model.vm import Phase, Want
from pvc_core.reconcile.task import Job

_OFF_AT_ONCE = (Want.STOP, Want.DISABLE, Want.REMOVE)


@contextmanager
def guest_off(job: Job, ref: str, doing: str) -> Iterator[None]:
    """Inside, no guest uses volume `ref` ("POOL/VOLUME"). Raises Refused when one runs, Retry when it ends just now."""
    job.ground.keeper.settle(inline=job.ground.inline)  # a user that came just now must be seen
    taken: list[str] = []
    try:
        for uuid in _users(job, ref):
            if _take(job, uuid, ref, doing):
                taken.append(uuid)
        yield
    finally:
        for uuid in taken:
            _give_back(job, uuid)


def running_user(job: Job, ref: str) -> str:
    """UUID of the VM that runs here with this volume, "" if none does."""
    for uuid, claim in job.ground.view.claims.items():
        if ref in claim.value.volumes and claim.value.phase is Phase.RUN:
            if claim.value.holder != job.ground.node:
                raise Refused(
                    f"volume {ref} is in use on {claim.value.holder}; this task came to {job.ground.node}",
                    help="try again",
                )
            return uuid
    return ""


def _users(job: Job, ref: str) -> list[str]:
    view = job.ground.view
    named = [uuid for uuid, kept in view.vm_wanted.items() if ref in job.ground.descriptions.of(kept.value).volumes]
    listed = [uuid for uuid, claim in view.claims.items() if ref in claim.value.volumes]
    return sorted(set(named) | set(listed))


def _take(job: Job, uuid: str, ref: str, doing: str) -> bool:
    """True when the claim is ours to give back."""
    kept = job.ground.repository.find(layout.CLAIMS, uuid)
    if kept is None:
        return False
    if kept.value.phase is Phase.TASK and kept.value.request_id == job.task.id:
        return True  # taken before a crash
    if kept.value.phase is not Phase.FREE:
        vm = job.ground.view.vm_wanted.get(uuid)
        if vm is not None and vm.value.want in _OFF_AT_ONCE:
            raise Retry(f"waiting until VM {vm.value.name} is off: volume {ref} will be {doing} then", again_in_s=0.5)
        raise Refused(
            f"volume {ref} cannot be {doing} while VM {vm.value.name if vm else uuid} "
            + ("runs" if kept.value.phase is Phase.RUN else f"is in phase {kept.value.phase}"),
            help="shut the VM down first",
        )
    taken = replace(kept.value, phase=Phase.TASK, generation=kept.value.generation + 1, request_id=job.task.id)
    job.ground.commit(Set(layout.CLAIMS, uuid, taken, kept.version))
    return True


def _give_back(job: Job, uuid: str) -> None:
    kept = job.ground.repository.find(layout.CLAIMS, uuid)
    if kept is None or kept.value.phase is not Phase.TASK or kept.value.request_id != job.task.id:
        return
    free = replace(kept.value, phase=Phase.FREE, generation=kept.value.generation + 1, request_id="")
    try:
        job.ground.commit(Set(layout.CLAIMS, uuid, free, kept.version))
    except Conflict:
        _give_back(job, uuid)
