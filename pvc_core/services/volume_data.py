"""What is in volumes: images in, content and diffs out and in, thin clones flattened, others' volumes taken over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pvc_core.cluster.layout import volume_id
from pvc_core.errors import Exists, Invalid, PvcError, Retry
from pvc_core.ids import checked_name
from pvc_core.model.storage import Volume
from pvc_core.model.task import Task
from pvc_core.model.view import Kept
from pvc_core.services.desk import Flow
from pvc_core.services.pictures import VolumePicture
from pvc_core.services.volumes import Volumes

ANSWER_S, CONVERT_S = 60.0, 6 * 3600.0
"""For a node to take the next bytes (at first it looks at the volume) and to answer after the last, and for the end of
what it then does with the image.
"""


class VolumeData(Volumes):
    __slots__ = ()

    def flatten_volume(self, pool: str, name: str, *, by: str) -> Task:
        """A thin clone shares nothing any more, also while a guest uses it. Returns the task, which goes on."""
        kept = self._idle(self._need_volume(pool, name))
        self._able(pool, "thin_clone")
        args: dict[str, object] = {"pool": pool, "name": name}
        task = self._task("volume.flatten", self._node_for(kept.value), args, by, f"flattening {kept.value.ref}")
        self._submit(task, kept)
        return task

    def scan_volume(self, pool: str, name: str, *, by: str) -> VolumePicture:
        """Look at it again; one that PVC did not make becomes a volume. Raises NotFound when the pool has none."""
        kept = self.desk.view.volumes.get(volume_id(pool, name))
        if kept is not None:
            self._work(self._idle(self._need_volume(pool, name)), "volume.scan", {}, by, f"looking at {pool}/{name}")
            return self.volume(pool, name)
        checked_name(name, "volume")
        home = self._need_pool(pool).value
        self._able(pool, "adopt")
        volume = self._new_volume(home, name, 1)
        self._create("volume.adopt", volume, {}, by, f"taking over volume {volume.ref}")
        return self.volume(pool, name)

    def upload(
        self,
        pool: str,
        name: str,
        image_format: str,
        size_bytes: int | None,
        body: Iterable[bytes],
        *,
        by: str,
        sha256: str = "",
    ) -> Task:
        """Replace the volume's content by an image. All or nothing: a cut upload, or one whose bytes have another
        SHA-256 than announced, leaves the volume as it was. The task's result has `bytes` and `sha256`.
        """
        kept = self._idle(self._need_volume(pool, name))
        if image_format not in self._capabilities(pool).upload_formats:
            known = ", ".join(self._capabilities(pool).upload_formats)
            raise Invalid(
                f"images of format {image_format!r} cannot be uploaded",
                help=f"formats of this pool: {known}",
                fields={"image_format": known},
            )
        args: dict[str, object] = {
            "pool": pool,
            "name": name,
            "image_format": image_format,
            "size_bytes": size_bytes,
            "sha256": sha256,
        }
        return self._take(kept, "volume.upload", args, body, by, f"uploading into {kept.value.ref}")

    def apply_diff(
        self,
        pool: str,
        name: str,
        snapshot: str,
        since: str,
        size_bytes: int | None,
        body: Iterable[bytes],
        *,
        by: str,
        sha256: str = "",
    ) -> Task:
        """Bring the volume from its snapshot `since` ("": from nothing) to what the diff leads to, and call that
        `snapshot`. All or nothing. The room it takes is checked by the driver as it comes.
        """
        checked_name(snapshot, "snapshot")
        kept = self._idle(self._need_volume(pool, name))
        self._able(pool, "diffs")
        if since:
            self._need_snapshot(kept.value, since)
        if any(old.name == snapshot for old in kept.value.snapshots):
            raise Exists(f"volume {kept.value.ref} has a snapshot {snapshot!r} already", help="choose another name")
        args: dict[str, object] = {
            "pool": pool,
            "name": name,
            "snapshot": snapshot,
            "id": self.desk.new_uuid(),
            "since": since,
            "size_bytes": size_bytes,
            "sha256": sha256,
        }
        return self._take(kept, "volume.apply", args, body, by, f"applying a diff to {kept.value.ref}")

    def _take(
        self, kept: Kept[Volume], kind: str, args: dict[str, object], body: Iterable[bytes], by: str, status: str
    ) -> Task:
        """Bytes for a volume go straight to the node that does the task."""
        task = self._task(kind, kept.value.home or self._worker(), args, by, status)
        self._submit(task, kept)
        sending = _Sending(body)
        try:
            self.desk.ask(task.node, "upload", {"task": task.id}, body=sending, deadline_s=ANSWER_S).close()
        except PvcError as error:
            if isinstance(error, Retry) and sending.all_given:  # it is being converted: the task tells how that ends
                return self._done(task, timeout_s=CONVERT_S)
            with suppress(PvcError):  # the same error again, or Retry: the volume is busy for a little longer
                self._done(task, timeout_s=5.0)
            raise
        return self._done(task, timeout_s=60.0)

    def export(self, pool: str, name: str, *, snapshot: str = "", since: str = "", diff: int = 0) -> Flow:
        """The content as a raw image; with `diff` (1 or 2, the format's version) what changed from snapshot `since`,
        or from nothing, to `snapshot`.
        """
        kept = self._idle(self._need_volume(pool, name))
        for one in (snapshot, since):
            if one:
                self._need_snapshot(kept.value, one)
        if diff:
            self._able(pool, "diffs")
            if not snapshot:
                raise Invalid("a diff leads to a snapshot", fields={"snapshot": "missing"})
        args = {"pool": pool, "name": name, "snapshot": snapshot, "since": since, "diff": diff}
        return Flow(self.desk.ask(kept.value.home or self._worker(), "export", args, deadline_s=10.0))


class _Sending:
    """Bytes on their way to a node. `all_given`: the node has taken the last of them, or nearly."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self.all_given = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body
        self.all_given = True
