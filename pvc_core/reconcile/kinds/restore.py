"""Replacing what is wanted by a backup's content, or by nothing (`cluster init --overwrite`), on the primary.

Refused unless every node answers and every guest is accounted for: a record that is lost must not be a guest that is
lost. From the first write on the store says that it is being replaced: every node stands still (policy/standstill.py),
and begun again after a crash it goes on. The end is a new era of the store.

Who runs what is never taken from the backup: claims stay as they are, and guests that run keep running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pvc_core.cluster import backup as backups
from pvc_core.cluster import layout
from pvc_core.cluster.backup import Backup
from pvc_core.cluster.repository import Add, Drop, Set, Write
from pvc_core.errors import PvcError, Refused, Retry
from pvc_core.ids import new_request_id
from pvc_core.model.cluster import Era, NameIndex
from pvc_core.model.storage import VolumePhase
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Phase, VmWanted, Want
from pvc_core.reconcile.task import Done, Job, TaskKind

STILL_S, CONTENT_S = 60.0, 30.0
BATCH = 100
"""Writes of one commit; with definitions of some kB each they stay far below the store's megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccount:
    """What a node said when it was asked. `shown` is the (era, task replacing it) that its own picture shows."""

    node: str
    guests: Mapping[str, str]
    """Name by UUID, of those that run or are paused."""
    shown: tuple[int, str]
    served_era: int
    busy: tuple[str, ...]
    """What it is at work on and would be held now."""


class Restores(Protocol):
    """The daemon's part (daemon/restoring.py)."""

    def content(self, task_id: str) -> Mapping[str, Any] | None:
        """The backup that came for this task; None if none did (or the daemon began anew)."""

    def account(self, node: str) -> NodeAccount:
        """Ask it. Raises a PvcError when it does not answer."""

    def forget(self, task_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Restoring:
    restores: Restores

    def restore(self, job: Job) -> Done:
        data = self.restores.content(job.task.id)
        if data is None:
            if job.waited_s < CONTENT_S:
                raise Retry(backups.AWAITED, again_in_s=0.2)
            self._go_on(job)
            raise Refused(
                f"the backup's content did not come within {CONTENT_S:.0f} s: the pvcapid that had it has ended",
                help="run `pvc cluster restore` again",
            )
        return self._replace(job, backups.read(data), wipe=False)

    def init(self, job: Job) -> Done:
        empty = Backup(cluster="", era=0, nodes=(), taken_at_s=0.0)
        return self._replace(job, empty, wipe=True)

    def undo(self, job: Job, error: PvcError) -> tuple[Write, ...]:
        """A restore that had begun to write stays marked as unfinished: standing still is safe, half of it is not."""
        self.restores.forget(job.task.id)
        return ()

    def _replace(self, job: Job, wanted: Backup, *, wipe: bool) -> Done:
        ground, names = job.ground, self._names(job, wanted)
        ground.keeper.settle(inline=ground.inline)
        accounts = self._accounts(job, names, wanted)
        if not _begun(job):
            self._stand_still(job)
        accounts = self._await_stillness(job, names, wanted)
        self._begin_writing(job)
        running = {uuid for account in accounts for uuid in account.guests}
        writes = list(_plan(ground.view, wanted, running, wipe=wipe))
        for done, batch in _batches(writes):
            job.progress(done, len(writes), f"replacing the records: {done} of {len(writes)}")
            ground.commit(ground.lead(), *batch)
        kept = ground.repository.get(layout.ERA, layout.ONLY)
        number = max(kept.value.era, wanted.era, *(account.served_era for account in accounts)) + 1
        era = Era(era=number, cluster=kept.value.cluster, id=new_request_id(), nodes=names)
        self.restores.forget(job.task.id)
        what = "everything is forgotten" if wipe else f"VMs restored: {len(wanted.of(layout.VM_WANTED))}"
        return Done(
            status=f"{what}; the store is in its era {number}, which begins when every node has said what runs there",
            result={"era": number, "running": len(running)},
            writes=(Set(layout.ERA, layout.ONLY, era, kept.version),),
        )

    def _names(self, job: Job, wanted: Backup) -> tuple[str, ...]:
        """Everybody who may have guests: members now, members then, without those a person says are off for good."""
        without = job.task.args.get("without")
        gone = set(without) if isinstance(without, list) else set()
        view = job.ground.view
        return tuple(sorted({*view.node_seen, *job.ground.coordinators, *wanted.nodes} - gone))

    def _accounts(self, job: Job, names: Sequence[str], wanted: Backup) -> list[NodeAccount]:
        """Raises Refused with everything that speaks against it."""
        accounts, silent = [], []
        for name in names:
            try:
                accounts.append(self.restores.account(name))
            except PvcError as error:
                silent.append(f"node {name} is silent ({error.message})")
        objections = silent + list(_objections(job, accounts, wanted))
        if objections:
            answer = "every node must answer; one that is off for good is left out by --without NODE"
            settle = "stop, migrate or define what is named, then try again"
            raise Refused(f"nothing was changed: {'; '.join(objections)}", help=answer if silent else settle)
        return accounts

    def _stand_still(self, job: Job) -> None:
        ground = job.ground
        kept = ground.repository.get(layout.ERA, layout.ONLY)
        marked = replace(kept.value, restoring=job.task.id)
        ground.commit(ground.lead(), Set(layout.ERA, layout.ONLY, marked, kept.version))

    def _begin_writing(self, job: Job) -> None:
        ground = job.ground
        kept = ground.repository.get(layout.ERA, layout.ONLY)
        if not kept.value.replacing:
            marked = replace(kept.value, replacing=True)
            ground.commit(ground.lead(), Set(layout.ERA, layout.ONLY, marked, kept.version))

    def _await_stillness(self, job: Job, names: Sequence[str], wanted: Backup) -> list[NodeAccount]:
        """Every node has seen that it is to stand still, and whatever it was at has ended: then once more, who runs
        what. Raises Retry (not yet).
        """
        try:
            accounts = self._accounts(job, names, wanted)
        except Refused:
            self._go_on(job)
            raise
        late = [account.node for account in accounts if account.shown[1] != job.task.id or account.busy]
        if not late:
            return accounts
        if job.waited_s > STILL_S:
            self._go_on(job)
            raise Refused(f"{', '.join(late)} did not stand still within {STILL_S:.0f} s", help="try again")
        raise Retry(f"waiting for {', '.join(late)} to stand still", again_in_s=0.3)

    def _go_on(self, job: Job) -> None:
        """If nothing was written yet, the era goes on as it was."""
        kept = job.ground.repository.get(layout.ERA, layout.ONLY)
        if kept.value.restoring == job.task.id and not kept.value.replacing:
            back = replace(kept.value, restoring="")
            job.ground.commit(job.ground.lead(), Set(layout.ERA, layout.ONLY, back, kept.version))


def _begun(job: Job) -> bool:
    return job.ground.repository.get(layout.ERA, layout.ONLY).value.restoring == job.task.id


def _objections(job: Job, accounts: Sequence[NodeAccount], wanted: Backup) -> Iterator[str]:
    view, known = job.ground.view, wanted.of(layout.VM_WANTED)
    where: dict[str, str] = {}
    for account in accounts:
        for uuid, name in account.guests.items():
            if uuid in where:
                yield f"guest {name} runs on {where[uuid]} and on {account.node}"
            where[uuid] = account.node
            claim = view.claims.get(uuid)
            if uuid not in known:
                yield f"guest {name} runs on {account.node} and would be nobody's"
            elif claim is not None and claim.value.holder != account.node:
                yield f"guest {name} runs on {account.node}, but {claim.value.holder} may run it"
    for uuid, kept in sorted(view.claims.items()):
        vm = view.vm_wanted.get(uuid)
        name = vm.value.name if vm else uuid
        if kept.value.phase in (Phase.MIGRATING, Phase.TASK):
            yield f"VM {name} is in the middle of something ({kept.value.phase})"
        elif kept.value.phase is Phase.RUN and uuid not in where:
            yield f"VM {name} is unaccounted for: {kept.value.holder} may run it, and it runs nowhere"
    for id, task in sorted(view.tasks.items()):
        if not task.value.ended and id != job.task.id and task.value.kind not in ("cluster.restore", "cluster.init"):
            yield f"task {id} ({task.value.kind}) has not ended"
    if view.unread:
        yield f"a newer PVC wrote {next(iter(view.unread.values()))}"


def _plan(view: ClusterView, wanted: Backup, running: set[str], *, wipe: bool) -> Iterator[Write]:
    """VMs become the backup's. Of all else what is there stays, because it says where bytes are and whose keys are good
    now; what is missing is added.
    """
    vms = wanted.of(layout.VM_WANTED)
    yield from _vms(view, vms, running)
    yield from _names({vm.name: uuid for uuid, vm in vms.items()}, view)
    if wipe:
        for kind, table in _wiped(view):
            yield from (Drop(kind, id, kept.version) for id, kept in table.items())
        return
    volumes = {id: one for id, one in wanted.of(layout.VOLUMES).items() if one.phase is VolumePhase.READY}
    yield from _missing(layout.VOLUMES, view.volumes, {id: replace(one, task="") for id, one in volumes.items()})
    yield from _missing(layout.POOLS, view.pools, wanted.of(layout.POOLS))
    yield from _missing(layout.NETWORKS, view.networks, wanted.of(layout.NETWORKS))
    yield from _missing(layout.KEYS, view.keys, wanted.of(layout.KEYS))
    members = {name: one for name, one in wanted.of(layout.NODE_WANTED).items() if name in view.node_seen}
    yield from _missing(layout.NODE_WANTED, view.node_wanted, members)


def _vms(view: ClusterView, vms: Mapping[str, VmWanted], running: set[str]) -> Iterator[Write]:
    for uuid, vm in vms.items():
        there = view.vm_wanted.get(uuid)
        new = _restored(vm, there, view, runs=uuid in running)
        if there is None:
            yield Add(layout.VM_WANTED, uuid, new)
        elif there.value != new:
            yield Set(layout.VM_WANTED, uuid, new, there.version)
        tombstone = view.tombstones.get(uuid)
        if tombstone is not None and uuid not in running:  # every node has said that it lives nowhere
            yield Drop(layout.TOMBSTONES, uuid, tombstone.version)
    for uuid, kept in view.vm_wanted.items():
        if uuid in vms:
            continue
        yield Drop(layout.VM_WANTED, uuid, kept.version)
        for kind, table in ((layout.CLAIMS, view.claims), (layout.VM_SEEN, view.vm_seen)):
            if uuid in table:
                yield Drop(kind, uuid, table[uuid].version)


def _names(names: Mapping[str, str], view: ClusterView) -> Iterator[Write]:
    for name, kept in view.vm_names.items():
        if name not in names:
            yield Drop(layout.VM_NAMES, name, kept.version)
    for name, uuid in names.items():
        there = view.vm_names.get(name)
        if there is None:
            yield Add(layout.VM_NAMES, name, NameIndex(uuid=uuid))
        elif there.value.uuid != uuid:
            yield Set(layout.VM_NAMES, name, NameIndex(uuid=uuid), there.version)


def _restored(vm: VmWanted, there: Kept[VmWanted] | None, view: ClusterView, *, runs: bool) -> VmWanted:
    """Counters of requests go on from where they are, or an old number would look like an answer to a new request. A
    guest that runs is wanted to: it is not for a backup to stop it.
    """
    seen = view.vm_seen.get(vm.uuid)
    now = there.value if there else vm
    return replace(
        vm,
        want=Want.START if runs else Want.STOP if vm.want is Want.REMOVE else vm.want,
        asked=max(vm.asked, now.asked) + 1,
        restart=seen.value.restart_done if seen else now.restart,
        move=seen.value.move_done if seen else now.move,
        target=None,
        last_node=now.last_node if there else None,
        delete_disks=False,
    )


def _missing(kind: layout.Kind[Any], there: Mapping[str, Kept[Any]], wanted: Mapping[str, Any]) -> Iterator[Write]:
    for id, record in wanted.items():
        if id not in there:
            yield Add(kind, id, record)


def _wiped(view: ClusterView) -> Iterator[tuple[layout.Kind[Any], Mapping[str, Kept[Any]]]]:
    """Keys stay: whoever asked must be able to go on. Bytes stay too: only their records go."""
    yield layout.VOLUMES, view.volumes
    yield layout.POOLS, view.pools
    yield layout.NODE_WANTED, view.node_wanted
    yield layout.TOMBSTONES, view.tombstones


def _batches(writes: Sequence[Write]) -> Iterator[tuple[int, Sequence[Write]]]:
    for first in range(0, len(writes), BATCH):
        yield first, writes[first : first + BATCH]


def kinds(restores: Restores | None) -> Mapping[str, TaskKind]:
    """None where nobody can ask other nodes (the simulator)."""
    if restores is None:
        return {}
    made = Restoring(restores)
    do: Mapping[str, Callable[[Job], Done]] = {"cluster.restore": made.restore, "cluster.init": made.init}
    return {name: TaskKind(do=call, undo=made.undo) for name, call in do.items()}
