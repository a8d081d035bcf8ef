"""Backup, restore and a new beginning.

What is in a backup is cluster/backup.py's, how it is restored reconcile/kinds/restore.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from pvc_core import __version__
from pvc_core.cluster import backup as backups
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add
from pvc_core.cluster.sealing import seal, unseal
from pvc_core.cluster.snapshot import snapshot
from pvc_core.errors import Invalid, NotFound, Refused, Retry
from pvc_core.model.cluster import BackupNote
from pvc_core.model.task import Task
from pvc_core.schema.records import encode
from pvc_core.services.desk import Desk
from pvc_core.services.tasks import TaskService
from pvc_core.store.base import Create, Op, Put

WAIT_S, LOOK_S, CONTENT_S = 600.0, 1.0, 5.0


@dataclass(frozen=True, slots=True)
class BackupService:
    desk: Desk
    tasks: TaskService
    name: str
    coordinators: tuple[str, ...]

    def backup(self, *, by: str, passphrase: str = "") -> dict[str, Any]:
        """All that people asked for, as it was at one moment; plain data for JSON.

        With a passphrase secrets are in it, sealed; without, they are left out, and the backup says so. Raises Invalid,
        Retry, Permanent (a record of a newer PVC), StoreUnavailable.
        """
        store, now_s = self.desk.repository.store, self.desk.clock.wall_s()
        entries = snapshot(store, [kind.prefix for kind in backups.KINDS], self._mark(by, now_s))
        records = backups.plain_records(entries)
        hidden = self._take_secrets(records)
        left_out = [backups.NEVER, *(f"{path} (no passphrase was given)" for path in hidden if not passphrase)]
        sealed = {"secrets": seal(msgspec.json.encode(hidden), passphrase)} if passphrase else {}
        return backups.written(
            records,
            cluster=self.name,
            era=self._era(),
            nodes=sorted(self.desk.view.node_seen),
            pvc_version=__version__,
            taken_at=now_s,
            taken_by=by,
            left_out=left_out,
            **sealed,
        )

    def restore(self, data: Mapping[str, Any], *, by: str, passphrase: str = "", without: Sequence[str] = ()) -> Task:
        """Make what is wanted be what it was; the ended task. `without`: nodes that a person knows to be off for good.

        Raises Invalid; Refused while a node is silent or a guest unaccounted for.
        """
        wanted, content = backups.read(data), self._with_secrets(data, passphrase)
        if wanted.cluster != self.name:
            raise Invalid(
                f"the backup is of cluster {wanted.cluster!r}, this one is {self.name!r}",
                help="only a cluster of the same name can take it: cluster.name in pvc.yaml",
            )
        task = self._begin("cluster.restore", without, by, "restoring a backup")
        self._see_through(task, msgspec.json.encode(content))
        return self.tasks.done(task, timeout_s=CONTENT_S)

    def initialize(self, *, by: str, overwrite: bool, without: Sequence[str] = ()) -> str:
        """Forget every VM, pool and volume (their bytes stay); without `overwrite` nothing changes. A sentence.

        Raises Refused while a node is silent or a guest runs.
        """
        if not overwrite:
            return f"cluster {self.name} is there already; nothing was changed"
        task = self._begin("cluster.init", without, by, "forgetting everything")
        return self.tasks.done(task, timeout_s=WAIT_S).status

    def _begin(self, kind: str, without: Sequence[str], by: str, status: str) -> Task:
        """Not through the desk: an unfinished restore forbids every other change, and this is what ends it."""
        self._primary()
        task = self.tasks.new(kind, node="", args={"without": list(without)}, by=by, status=status)
        self.desk.repository.commit([Add(layout.TASKS, task.id, task)])
        self.desk.settle_keys(layout.TASKS.key(task.id))
        return task

    def _see_through(self, task: Task, body: bytes) -> None:
        """Until it has ended: the content is only in memory here and with the primary, so whoever is primary next, or
        has begun anew, is given it too.
        """
        end_s, given = self.desk.clock.boottime_s() + WAIT_S, ""
        while self.desk.clock.boottime_s() < end_s:
            primary, now = self.desk.view.primary, self.desk.view.tasks.get(task.id)
            if now is None or now.value.ended:
                return
            if primary and (primary != given or now.value.status == backups.AWAITED):
                given = primary if self._give(primary, task, body) else ""
            with suppress(Retry):
                self.tasks.wait(task.id, timeout_s=LOOK_S)

    def _give(self, primary: str, task: Task, body: bytes) -> bool:
        """False when it did not take it: another may be primary by now, or the task has ended."""
        try:
            asked = self.desk.ask(primary, "backup_content", {"task": task.id}, body=iter([body]), deadline_s=60.0)
        except (Retry, NotFound):
            return False
        asked.close()
        return True

    def _primary(self) -> str:
        primary = self.desk.view.primary
        if not primary:
            raise Retry("no node is primary at this moment", help="`pvc node list` shows the nodes")
        return primary

    def _mark(self, by: str, now_s: float) -> Op:
        """The write whose number is the backup's moment."""
        note, key = encode(BackupNote(at_s=now_s, by=by)), layout.BACKUPS.key(layout.ONLY)
        kept = self.desk.repository.find(layout.BACKUPS, layout.ONLY)
        return Create(key, note) if kept is None else Put(key, note, kept.version)

    def _era(self) -> int:
        kept = self.desk.view.era.get(layout.ONLY)
        if kept is not None and kept.value.restoring:
            raise Refused("the cluster's records are being replaced just now", help="try again when that has ended")
        return kept.value.era if kept else 0

    def _take_secrets(self, records: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Out of the records: "pool NAME, option KEY" -> value, for options a driver's schema marks as secret."""
        hidden = {}
        for name, pool in records[layout.POOLS.name].items():
            definitions = self.desk.storage.get(pool.get("driver", ""))
            fields = definitions.pool_options().fields if definitions else {}
            for key, field in fields.items():
                if field.metadata.get("secret") and key in pool.get("options", {}):
                    hidden[f"pool {name}, option {key}"] = pool["options"].pop(key)
        return hidden

    def _with_secrets(self, data: Mapping[str, Any], passphrase: str) -> Mapping[str, Any]:
        """Raises Invalid (another passphrase)."""
        if not passphrase or "secrets" not in data:
            return data
        records = {name: dict(kind) for name, kind in data["records"].items()}
        for path, value in msgspec.json.decode(unseal(data["secrets"], passphrase), type=dict[str, str]).items():
            name, _, key = path.removeprefix("pool ").partition(", option ")
            pool = dict(records[layout.POOLS.name][name])
            pool["options"] = {**pool.get("options", {}), key: value}
            records[layout.POOLS.name][name] = pool
        about = {key: one for key, one in data.items() if key not in ("records", "digest", "format", "version")}
        return backups.written(records, **about)
