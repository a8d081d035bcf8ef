"""What this node answers over the peer channel: consoles, its log, uploads, exports. Bytes and questions, no
command.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.contracts.storage import Upload
from pvc_core.daemon.ring import LogRing
from pvc_core.errors import NotFound, PvcError, Refused, Retry
from pvc_core.model.network import Acl, AclDirection, Network
from pvc_core.model.storage import Snapshot, Volume
from pvc_core.model.task import Task
from pvc_core.peer import Answer, Handler
from pvc_core.reconcile.fencing import rung_tests
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.kinds.guest_off import guest_off
from pvc_core.reconcile.network import driver_of
from pvc_core.reconcile.task import Job
from pvc_core.units import format_size

LINES_MAX, KEPT_MAX = 100_000, 1000
LOOK_S = 5.0
ANSWER_MAX = 200_000
"""Characters of a log in one answer; more than that is followed, or exported."""


class Uploads:
    """Uploads under way in this daemon. One that this daemon does not know was cut off, by its death or its
    client's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._progress: dict[str, tuple[int, int, str]] = {}
        self._results: dict[str, dict[str, object]] = {}

    def progress(self, task_id: str) -> tuple[int, int, str]:
        """(bytes that came, bytes announced, sentence); (0, 1, "") before anything is known."""
        with self._lock:
            return self._progress.get(task_id, (0, 1, ""))

    def result(self, task_id: str) -> dict[str, object]:
        """Of one that is done: how many bytes came, and their SHA-256."""
        with self._lock:
            return self._results.get(task_id, {})

    def tell(self, task_id: str, current: int, total: int, sentence: str) -> None:
        with self._lock:
            self._progress[task_id] = (current, total, sentence)

    def state(self, task_id: str) -> str:
        with self._lock:
            return self._states.get(task_id, "waiting")

    def forget(self, task_id: str) -> None:
        """It was none after all."""
        with self._lock:
            self._states.pop(task_id, None)

    def begin(self, task_id: str) -> None:
        with self._lock:
            if task_id in self._states:
                raise Refused(f"the image of task {task_id} is being taken already", help="one upload for one task")
            self._states[task_id] = "running"

    def end(self, task_id: str, state: str, result: Mapping[str, object] | None = None) -> None:
        with self._lock:
            self._states[task_id] = state
            self._results[task_id] = dict(result or {})
            self._progress.pop(task_id, None)
            over = len(self._states) - KEPT_MAX
            for old in [id for id, state in self._states.items() if state != "running"][: max(0, over)]:
                del self._states[old]
                self._results.pop(old, None)


class Bytes:
    """The handlers of /run/pvc/node.sock."""

    def __init__(self, ground: Ground, uploads: Uploads, ring: LogRing) -> None:
        self._ground, self._uploads, self._ring = ground, uploads, ring
        self.ended: Callable[[str], None] = lambda task_id: None
        """Told that an upload's bytes are all there, or will not come."""

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "console": self.console,
            "console_write": self.console_write,
            "node_log": self.node_log,
            "picture": self.picture,
            "upload": self.upload,
            "export": self.export,
            "fence_test": self.fence_test,
            "given_addresses": self.given_addresses,
            "check_acl": self.check_acl,
            "acl_counts": self.acl_counts,
        }

    def console(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        uuid, lines = str(args["uuid"]), _lines(args)
        if args.get("follow"):
            position, pieces = self._ground.compute.console_from(
                uuid, lines=lines, position=_position(args), arrived=bool(args.get("arrived"))
            )
            return Answer({"position": position}, pieces)
        return Answer({"data": self._ground.compute.console_log(uuid, lines)[-ANSWER_MAX:]})

    def console_write(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """Type the body. `open`: have the console ready for what will be typed (opening it may take a second)."""
        if args.get("open"):
            self._ground.compute.write_console(str(args["uuid"]), b"")
        for data in body:
            self._ground.compute.write_console(str(args["uuid"]), data)
        return Answer()

    def node_log(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        if args.get("follow"):
            start = self._ring.start(_lines(args), _position(args))
            return Answer({"position": start}, self._follow_log(start))
        return Answer({"data": "\n".join(self._ring.lines(_lines(args)))[-ANSWER_MAX:]})

    def picture(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """{stale_s, differences}: keys of records that this daemon has in mind otherwise than the store has them.

        What changes every second (/pvc/live) is left out. Raises StoreUnavailable.
        """
        keeper = self._ground.keeper
        differences = [key for key in keeper.differences() if not key.startswith(layout.LIVE)]
        return Answer({"stale_s": keeper.stale_s(), "differences": differences})

    def fence_test(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """How far this node would come if it had to fence `node`. Changes nothing; raises Refused without a ladder."""
        return Answer({"rungs": [asdict(rung) for rung in rung_tests(self._ground, str(args["node"]))]})

    def given_addresses(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """The leases of network `vni`, as its driver here knows them. Raises NotFound, Retry (not primary)."""
        kept = self._ground.view.networks.get(str(args["vni"]))
        if kept is None:
            raise NotFound(f"there is no network {args['vni']}")
        if not self._ground.is_primary():
            raise Retry(f"node {self._ground.node} is not primary, and only the primary knows the leases")
        driver = driver_of(self._ground.networks, kept.value)
        given = driver.given_addresses(kept.value, deadline_s=LOOK_S)
        return Answer({"given": [asdict(one) for one in given]})

    def check_acl(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """Whether this node would take the rule for network `vni`. Changes nothing. Raises Refused with the words of
        what reads it, NotFound.
        """
        network = self._network(args)
        direction = AclDirection(str(args["direction"]))
        acl = Acl(name=str(args["name"]), direction=direction, rule=str(args["rule"]))
        driver_of(self._ground.networks, network).check_acl(network, acl, deadline_s=LOOK_S)
        return Answer()

    def acl_counts(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """What each ACL of network `vni` has matched here. Raises NotFound."""
        network = self._network(args)
        counts = driver_of(self._ground.networks, network).acl_counts(network, deadline_s=LOOK_S)
        return Answer({"counts": [asdict(one) for one in counts]})

    def _network(self, args: Mapping[str, Any]) -> Network:
        """Also one that was made a moment ago."""
        vni = str(args["vni"])
        if vni not in self._ground.view.networks:
            self._ground.keeper.settle([layout.NETWORKS.key(vni)])
        kept = self._ground.view.networks.get(vni)
        if kept is None:
            raise NotFound(f"there is no network {vni}")
        return kept.value

    def upload(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """Take the image; nothing of it is visible before all of it came. The task's end is put on record by its
        reconciler.
        """
        id = str(args["task"])
        self._uploads.begin(id)  # before the look at the task: one under way is not ended meanwhile
        try:
            task = self._task(id)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self._uploads.forget(id)
            raise
        try:
            result = self._take(task, body)
        except PvcError as error:
            self._uploads.end(task.id, error.message)
            raise
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self._uploads.end(task.id, "the upload failed inside the daemon; its log says why")
            raise
        else:
            self._uploads.end(task.id, "done", result)
            return Answer()
        finally:
            self.ended(task.id)

    def export(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        pool = self._ground.pool(str(args["pool"]))
        kept = self._ground.view.volumes.get(volume_id(pool.name, str(args["name"])))
        if kept is None:
            raise NotFound(f"there is no volume {pool.name}/{args['name']}")
        driver, snapshot = self._ground.driver(pool), str(args.get("snapshot") or "")
        if args.get("diff"):
            since, version = str(args.get("since") or ""), int(args["diff"])
            return Answer({}, driver.export_diff(pool, kept.value, snapshot=snapshot, since=since, version=version))
        return Answer({}, driver.export_volume(pool, kept.value, snapshot=snapshot))

    def _take(self, task: Task, body: Iterator[bytes]) -> dict[str, object]:
        pool = self._ground.pool(str(task.args["pool"]))
        kept = self._ground.repository.find(layout.VOLUMES, volume_id(pool.name, str(task.args["name"])))
        if kept is None or kept.value.task != task.id:
            raise Refused(f"task {task.id} has no volume to upload into any more")
        volume = kept.value
        job = Job(ground=self._ground, task=task, progress=lambda *what: self._uploads.tell(task.id, *what))
        with guest_off(job, volume.ref, "overwritten"):
            taking = self._begun(task, volume)
            try:
                result = self._write(job, taking, body)
                taking.commit(job.progress)
            except BaseException:  # an interruption too: what was begun is undone, and it is raised on
                taking.abort()
                raise
        return result

    def _begun(self, task: Task, volume: Volume) -> Upload:
        pool, args = self._ground.pool(volume.pool), task.args
        driver, size = self._ground.driver(pool), _announced(task)
        if task.kind == "volume.apply":
            snapshot = Snapshot(
                name=str(args["snapshot"]),
                id=str(args["id"]),
                size_bytes=volume.size_bytes,
                created_at_s=self._ground.clock.wall_s(),
            )
            return driver.begin_diff(pool, volume, snapshot=snapshot, since=str(args["since"]))
        return driver.begin_upload(pool, volume, image_format=str(args["image_format"]), size_bytes=size)

    def _write(self, job: Job, taking: Upload, body: Iterator[bytes]) -> dict[str, object]:
        """Raises Refused when it is not what was announced: nothing is in place yet."""
        total, came, digest = _announced(job.task) or 0, 0, hashlib.sha256()
        for data in body:
            taking.write(data)
            digest.update(data)
            came += len(data)
            job.progress(came, total or came, f"{format_size(came)} arrived")
        if not came:
            raise Refused(
                f"no byte arrived for volume {job.task.args['name']}: an empty image would only empty it",
                help="is the file whole? To empty a volume, remove it and add it anew",
            )
        said, wanted = digest.hexdigest(), str(job.task.args.get("sha256") or "").lower()
        if wanted and wanted != said:
            raise Refused(
                f"the bytes that arrived have the SHA-256 {said}, announced was {wanted}",
                help="they were damaged on their way, or it is another file; upload it again",
            )
        return {"bytes": came, "sha256": said}

    def _task(self, id: str) -> Task:
        kept = self._ground.repository.find(layout.TASKS, id)
        if kept is None or kept.value.kind not in ("volume.upload", "volume.apply"):
            raise NotFound(f"there is no upload task {id}")
        if kept.value.ended:
            raise Refused(f"task {id} has ended: {kept.value.status}")
        return kept.value

    def _follow_log(self, start: int) -> Iterator[bytes]:
        for line in self._ring.follow_from(start):
            yield f"{line}\n".encode() if line else b""


def _announced(task: Task) -> int | None:
    size = task.args.get("size_bytes")
    return int(str(size)) if size is not None else None


def _position(args: Mapping[str, Any]) -> int | None:
    """Where in the log the follower was, if it was."""
    try:
        return None if args.get("position") is None else max(0, int(args["position"]))
    except (TypeError, ValueError):
        raise Refused("the position in the log is no number") from None


def _lines(args: Mapping[str, Any]) -> int:
    try:
        lines = int(args.get("lines", 10))
    except (TypeError, ValueError):
        raise Refused("the number of lines is no number") from None
    return max(0, min(lines, LINES_MAX))
