"""An upload as the daemon sees it: a child keeps the bytes (staging.py), qemu-img converts them (convert.py)."""

from __future__ import annotations

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.contracts.storage import Upload
from pvc_core.errors import PvcError, Refused
from pvc_core.model.storage import Pool, Snapshot, Volume
from pvc_storage_ceph.children import Child, Children
from pvc_storage_ceph.convert import convert

_STEP_S = 120.0
"""For each piece; the whole has no deadline, because whoever sends may be slow."""


class CephUpload(Upload):
    """Anything that goes wrong forgets the upload; the volume keeps the content it had."""

    def __init__(
        self,
        context: PluginContext,
        children: Children,
        pool: Pool,
        volume: Volume,
        image_format: str,
        announced: int | None,
    ) -> None:
        self._context, self._children, self._pool, self._volume = context, children, pool, volume
        self._format = image_format
        self._child: Child | None = children.take()
        try:
            self._child.call("begin_upload", pool, volume, image_format, announced, deadline_s=_STEP_S)
        except BaseException:
            self._let_go()
            raise

    def write(self, data: bytes) -> None:
        child = self._begun()
        try:
            child.call("write", data, deadline_s=_STEP_S)
        except BaseException:
            self.abort()
            raise

    def commit(self, progress: Progress) -> None:
        child = self._begun()
        try:
            staged, target, size_bytes = child.call("whole", deadline_s=_STEP_S)
            if self._format != "raw":
                progress(0, 1, f"converting {self._format} to raw")
                pool = f"{self._context.config['pool_prefix']}{self._pool.name}"
                config = self._children.config()
                convert(self._context, config, pool, staged, self._format, target, size_bytes)
            child.call("put_in_place", deadline_s=_STEP_S)
            progress(1, 1, "the image is in place")
        finally:
            self.abort()

    def abort(self) -> None:
        """Raises nothing: what a dead child leaves is removed before the next upload."""
        if self._child is None:
            return
        try:
            if self._child.alive:
                self._child.call("abort_upload", self._pool, self._volume, deadline_s=_STEP_S)
            else:
                self._children.call("abort_upload", self._pool, self._volume, deadline_s=_STEP_S)
        except PvcError as error:
            self._context.log.warning("an upload's staged image stays for now", reason=str(error))
        finally:
            self._let_go()

    def _begun(self) -> Child:
        if self._child is None:
            raise Refused(f'the upload into "{self._volume.ref}" is over')
        return self._child

    def _let_go(self) -> None:
        if self._child is not None:
            self._children.give_back(self._child)
            self._child = None


class CephDiff(Upload):
    """A diff on its way into a volume (diffing.py). Anything that goes wrong puts the volume back as it was."""

    def __init__(
        self, context: PluginContext, children: Children, pool: Pool, volume: Volume, snapshot: Snapshot, since: str
    ) -> None:
        self._context, self._children, self._pool, self._volume = context, children, pool, volume
        self._child: Child | None = children.take()
        try:
            self._child.call("begin_diff", pool, volume, snapshot, since, deadline_s=_STEP_S)
        except BaseException:
            self._let_go()
            raise

    def write(self, data: bytes) -> None:
        child = self._begun()
        try:
            child.call("write_diff", data, deadline_s=_STEP_S)
        except BaseException:
            self.abort()
            raise

    def commit(self, progress: Progress) -> None:
        try:
            self._begun().call("finish_diff", deadline_s=_STEP_S)
        except BaseException:
            self.abort()
            raise
        self._let_go()
        progress(1, 1, "the diff is applied")

    def abort(self) -> None:
        """Raises nothing: what a dead child leaves is put right before the next diff, or by a rollback."""
        if self._child is None:
            return
        try:
            call = self._child.call if self._child.alive else self._children.call
            call("abort_diff", self._pool, self._volume, deadline_s=_STEP_S)
        except PvcError as error:
            self._context.log.warning("a diff that was cut off is not undone yet", reason=str(error))
        finally:
            self._let_go()

    def _begun(self) -> Child:
        if self._child is None:
            raise Refused(f'the diff into "{self._volume.ref}" is over')
        return self._child

    def _let_go(self) -> None:
        if self._child is not None:
            self._children.give_back(self._child)
            self._child = None
