"""Work on pools and volumes: a task that the volume's record names in the same commit, and the wait for its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Set, Unchanged, Write
from pvc_core.errors import Refused
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.task import Task
from pvc_core.model.view import Kept
from pvc_core.services.storage_known import Known


class StorageTasks(Known):
    __slots__ = ()

    def _task(self, kind: str, node: str, args: dict[str, object], by: str, status: str) -> Task:
        return self.tasks.new(kind, node=node, args=args, by=by, status=status)

    def _run(self, task: Task) -> None:
        self._done(self.tasks.submit(task))

    def _done(self, task: Task, *, timeout_s: float = 3600.0) -> Task:
        """Wait for its end, and until the picture shows what it did: the same commit, but another record."""
        ended = self.tasks.done(task, timeout_s=timeout_s)
        pool = str(task.args["pool"])
        names = {str(task.args[key]) for key in ("name", "new_name") if key in task.args}
        keys = [layout.VOLUMES.key(volume_id(pool, name)) for name in sorted(names)]
        self.desk.keeper.settle([layout.POOLS.key(pool), *keys], inline=self.desk.inline)
        return ended

    def _create(
        self,
        kind: str,
        volume: Volume,
        args: dict[str, object],
        by: str,
        status: str,
        source: Kept[Volume] | None = None,
    ) -> None:
        """`source` is busy until the task has ended, like the new volume."""
        pool = self._need_pool(volume.pool)
        args = {"pool": volume.pool, "name": volume.name, **args}
        task = self._task(kind, volume.home, args, by, status)
        record = replace(volume, phase=VolumePhase.CREATING, task=task.id)
        writes: list[Write] = [
            Add(layout.VOLUMES, volume_id(volume.pool, volume.name), record),
            Add(layout.TASKS, task.id, task),
            Unchanged(layout.POOLS, pool.value.name, pool.version),
        ]
        if source is not None:
            id = volume_id(source.value.pool, source.value.name)
            writes.append(Set(layout.VOLUMES, id, replace(source.value, task=task.id), source.version))
        self.desk.commit(*writes)
        self._done(task)

    def _work(self, kept: Kept[Volume], kind: str, args: dict[str, Any], by: str, status: str) -> None:
        """One task at a time on a volume: its record names the task in the commit that submits it."""
        volume = kept.value
        task = self._task(kind, self._node_for(volume), {"pool": volume.pool, "name": volume.name, **args}, by, status)
        self._submit(task, kept)
        self._done(task)

    def _submit(self, task: Task, kept: Kept[Volume], **changes: Any) -> None:
        """A start writes the volume's record over as it was, to be noticed: that alone is no reason to refuse."""
        id = volume_id(kept.value.pool, kept.value.name)
        busy = replace(kept.value, task=task.id, **changes)
        try:
            self.desk.commit(Set(layout.VOLUMES, id, busy, kept.version), Add(layout.TASKS, task.id, task))
        except Refused:
            now = self.desk.view.volumes.get(id)
            if now is None or now.value != kept.value or now.version == kept.version:
                raise
            self.desk.commit(Set(layout.VOLUMES, id, busy, now.version), Add(layout.TASKS, task.id, task))

    def _node_for(self, volume: Volume) -> str:
        """Where work on the volume happens: where a guest has it open, else at its home, else on the primary. Claims
        say so from before a disk comes until after it went; a definition names it only in between.
        """
        claims = (kept.value for kept in self.desk.view.claims.values())
        holders = (claim.holder for claim in claims if volume.ref in claim.volumes and claim.holder)
        return next(holders, volume.home)

    def _worker(self) -> str:
        if not self.desk.view.primary:
            raise Refused("no node is primary at this moment", help="try again in a few seconds")
        return self.desk.view.primary
