"""An upload as the daemon sees it: a child keeps the bytes (staging.py), qemu-img converts them (convert.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.contracts.storage import Upload
from pvc_core.errors import PvcError, Refused, Retry
from pvc_core.model.storage import Pool, Snapshot, Volume
from pvc_storage_ceph.children import Child, Children
from pvc_storage_ceph.convert import convert
from pvc_storage_ceph.faults import no_room

_STEP_S = 120.0
"""For each piece; the whole has no deadline, because whoever sends may be slow."""
_WHOLE_S = 6 * 3600.0
"""For what may touch all of a large volume: its old content goes, or comes back, or is compared."""


class _Sent(Upload):
    """Bytes on their way into a volume, kept by a child that nobody else has meanwhile. Anything that goes wrong undoes
    it all.
    """

    what: ClassVar[str]
    begin_call: ClassVar[str]
    write_call: ClassVar[str]
    abort_call: ClassVar[str]
    left: ClassVar[str]
    """What may stay for now when it could not be undone."""
    around_s: ClassVar[float]
    """For its beginning, and to undo it."""

    def __init__(self, context: PluginContext, children: Children, pool: Pool, volume: Volume, *more: Any) -> None:
        self._context, self._children, self._pool, self._volume = context, children, pool, volume
        self._child: Child | None = children.take()
        try:
            self._child.call(self.begin_call, pool, volume, *more, deadline_s=self.around_s)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.abort()
            raise

    def write(self, data: bytes) -> None:
        child = self._begun()
        try:
            child.call(self.write_call, data, deadline_s=_STEP_S)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.abort()
            raise

    def abort(self) -> None:
        """Raises nothing: what a dead child leaves is put right before the next one."""
        if self._child is None:
            return
        try:
            call = self._child.call if self._child.alive else self._children.call
            call(self.abort_call, self._pool, self._volume, deadline_s=self.around_s)
        except PvcError as error:
            self._context.log.warning(self.left, reason=str(error))
        finally:
            self._let_go()

    def _begun(self) -> Child:
        if self._child is None:
            raise Refused(f'the {self.what} into "{self._volume.ref}" is over')
        return self._child

    def _let_go(self) -> None:
        if self._child is not None:
            self._children.give_back(self._child)
            self._child = None


class CephUpload(_Sent):
    """An image. The volume keeps the content it had until all of it is there."""

    what, begin_call, write_call, abort_call = "upload", "begin_upload", "write", "abort_upload"
    left = "an upload's staged image stays for now"
    around_s = _STEP_S

    def __init__(
        self,
        context: PluginContext,
        children: Children,
        pool: Pool,
        volume: Volume,
        image_format: str,
        announced: int | None,
    ) -> None:
        self._format = image_format
        super().__init__(context, children, pool, volume, image_format, announced)

    def commit(self, progress: Progress) -> None:
        child = self._begun()
        try:
            staged, target, size_bytes = child.call("finish_upload", deadline_s=_STEP_S)
            if self._format != "raw":
                progress(0, 1, f"converting {self._format} to raw")
                pool = f"{self._context.config['pool_prefix']}{self._pool.name}"
                config = self._children.config()
                self._convert(
                    child, lambda: convert(self._context, config, pool, staged, self._format, target, size_bytes)
                )
            child.call("put_in_place", deadline_s=_WHOLE_S)
            progress(1, 1, "the image is in place")
        finally:
            self.abort()

    def _convert(self, child: Child, call: Callable[[], None]) -> None:
        """Whoever writes into a full pool hears nothing, and only that."""
        try:
            call()
        except (Refused, Retry):
            if child.call("is_full", self._pool, deadline_s=_STEP_S):
                raise no_room("converting the image") from None
            raise


class CephDiff(_Sent):
    """A diff (diffing.py). Cut off, it is undone before the next diff, or by a rollback."""

    what, begin_call, write_call, abort_call = "diff", "begin_diff", "write_diff", "abort_diff"
    left = "a diff that was cut off is not undone yet"
    around_s = _WHOLE_S

    def __init__(
        self, context: PluginContext, children: Children, pool: Pool, volume: Volume, snapshot: Snapshot, since: str
    ) -> None:
        super().__init__(context, children, pool, volume, snapshot, since)

    def commit(self, progress: Progress) -> None:
        try:
            self._begun().call("finish_diff", deadline_s=_WHOLE_S)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.abort()
            raise
        self._let_go()
        progress(1, 1, "the diff is applied")
