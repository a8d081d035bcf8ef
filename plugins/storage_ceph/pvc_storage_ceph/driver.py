"""The driver half: each call of the contract, done by a child process that talks to Ceph."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.contracts.storage import StorageDriver
from pvc_core.contracts.targets import Rbd
from pvc_core.errors import Conflict, NotFound, PvcError, Refused, Retry, StoreUnavailable
from pvc_core.model.fence import FenceAnswer, NoProof, Why, WriteFence
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, StorageReport, Volume, VolumeFound
from pvc_storage_ceph import exporter
from pvc_storage_ceph.children import Children
from pvc_storage_ceph.definitions import UPLOAD_FORMATS
from pvc_storage_ceph.fencing import RUNG, ip_of, own_addresses
from pvc_storage_ceph.keys import NodeKeys, fence_key
from pvc_storage_ceph.uploads import CephDiff, CephUpload

_READ_S, _LIST_S, _HEALTH_S = 120.0, 8.0, 10.0
_DEAD_S = 86400.0
"""How long a client stays shut out that has ended: its connections are closed."""
_NAMESPACE = uuid.UUID("5b6d3f0a-7a53-4b0e-9f53-6d0a3c1f7e11")
"""Of libvirt's secret: the same name on every node, with each node's own key, so that a guest's XML fits everywhere."""


class CephStorage(StorageDriver):
    """Keeps nothing but its children; all else is in Ceph, and in the store which pools were made."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context
        self._keys = NodeKeys(context)
        self._children = Children(self._keys.config, context.clock, context.stopping)
        self._letting_in = threading.Lock()
        self.benchmarks: Callable[[], list[dict[str, Any]]] = list

    def health(self) -> dict[str, Any]:
        """Ceph's own status, asked now; a node's first question waits until its keys are made."""
        answer: dict[str, Any] = self._children.call("status", deadline_s=_HEALTH_S)
        return answer

    def close(self) -> None:
        """Ends the children that are idle; the others end with their calls, or with the daemon."""
        self._children.close()

    def ensure_pool(self, pool: Pool, *, deadline_s: float) -> None:
        self._keys.settle(deadline_s)
        known = self._known(pool)
        self._children.call("ensure_pool", pool, not known, deadline_s=deadline_s)
        if not known:
            self._remember(pool)

    def remove_pool(self, pool: Pool, *, deadline_s: float) -> None:
        self._children.call("remove_pool", pool, deadline_s=deadline_s)
        try:
            self._context.state.delete(_key(pool), if_version=None)
        except NotFound:
            return
        except (StoreUnavailable, Conflict) as error:
            raise Retry(f"pool {pool.name} is gone, but the store could not be told: {error.message}") from error

    def change_pool(self, pool: Pool, *, deadline_s: float) -> None:
        self._children.call("change_pool", pool, deadline_s=deadline_s)

    def report(self, pools: Sequence[Pool], *, deadline_s: float) -> StorageReport:
        found: StorageReport = self._children.call("report", tuple(pools), deadline_s=deadline_s)
        used: dict[str, int] = {}
        usage: dict[str, PoolUsage] = {}
        for pool in pools:
            try:
                listed = self.list_volumes(pool, deadline_s=min(_LIST_S, deadline_s))
                usage[pool.name] = self._usage(pool, listed, min(_LIST_S, deadline_s))
            except PvcError as error:  # told as a fault of the pool; the rest is still worth telling
                self._context.log.debug(
                    "the volumes of a pool are not in the report", pool=pool.name, reason=str(error)
                )
                continue
            used |= {f"{pool.name}/{one.name}": one.used_bytes for one in listed}
        return replace(found, volumes=used, usage=usage, benchmarks=tuple(self.benchmarks()))

    def metrics(self, *, deadline_s: float) -> str:
        return exporter.metrics(self.ask("mgr services", deadline_s=deadline_s), deadline_s=deadline_s)

    def connection(self) -> Mapping[str, Any]:
        """The plugin's configuration with the user that this node's daemon is to Ceph, and its key's file."""
        return self._keys.config(20.0)

    def make_hidden(self, pool: str, name: str, size_bytes: int) -> None:
        """An image beside the volumes, for a measurement. Raises NotFound (the pool)."""
        self._children.call("make_hidden", pool, name, size_bytes, deadline_s=60.0)

    def remove_hidden(self, pool: str, name: str) -> None:
        self._children.call("remove_hidden", pool, name, deadline_s=600.0)

    def ask(self, prefix: str, *, deadline_s: float = 60.0, **words: Any) -> Any:
        """What Ceph's monitors answer."""
        return self._children.call("ask", prefix, words, deadline_s=deadline_s)

    def pool_usage(self, pool: Pool, *, deadline_s: float) -> PoolUsage:
        return self._usage(pool, self.list_volumes(pool, deadline_s=deadline_s), deadline_s)

    def _usage(self, pool: Pool, listed: Sequence[VolumeFound], deadline_s: float) -> PoolUsage:
        objects = sum(one.used_bytes for one in listed)
        usage: PoolUsage = self._children.call("pool_usage", pool, objects, deadline_s=deadline_s)
        return usage

    def list_volumes(self, pool: Pool, *, deadline_s: float) -> list[VolumeFound]:
        found: list[VolumeFound] = self._children.call("list_volumes", pool, deadline_s=deadline_s)
        return found

    def strangers(self, pool: Pool, *, deadline_s: float) -> list[str]:
        found: list[str] = self._children.call("strangers", pool, deadline_s=deadline_s)
        return found

    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        found: VolumeFound = self._children.call("create_volume", pool, volume, deadline_s=deadline_s)
        return found

    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        self._children.call("remove_volume", pool, volume, deadline_s=deadline_s)

    def resize_volume(
        self, pool: Pool, volume: Volume, size_bytes: int, *, in_use: bool, deadline_s: float
    ) -> VolumeFound:
        found: VolumeFound = self._children.call("resize_volume", pool, volume, size_bytes, deadline_s=deadline_s)
        return found

    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        self._children.call("rename_volume", pool, volume, new_name, deadline_s=deadline_s)

    def attach(self, pool: Pool, volume: Volume, *, vm_uuid: str, read_only: bool, deadline_s: float) -> Rbd:
        self._keys.config(deadline_s)  # the files may be lost, while children that read them before go on
        where, image, monitors = self._children.call("where_is", pool, volume, deadline_s=deadline_s)
        with self._letting_in:  # of two that widen the key's rights, one would take back what the other gave
            self._children.call("let_in", self._keys.guest, pool, deadline_s=deadline_s)
        return Rbd(
            pool=where,
            image=image,
            monitors=monitors,
            user=self._keys.guest,
            secret_uuid=str(uuid.uuid5(_NAMESPACE, f"guests {self._context.config['pool_prefix']}")),
            key_file=self._keys.guest_key_file,
        )

    def detach(self, pool: Pool, volume: Volume, *, vm_uuid: str, deadline_s: float) -> None:
        """An image needs nothing to be let go."""

    def begin_upload(self, pool: Pool, volume: Volume, *, image_format: str, size_bytes: int | None) -> CephUpload:
        if image_format not in UPLOAD_FORMATS:
            raise Refused(
                f"images of format {image_format!r} are not taken", help=f"formats: {', '.join(UPLOAD_FORMATS)}"
            )
        return CephUpload(self._context, self._children, pool, volume, image_format, size_bytes)

    def export_volume(self, pool: Pool, volume: Volume, *, snapshot: str = "") -> Iterator[bytes]:
        return self._read_out("begin_export", pool, volume, snapshot)

    def clone_volume(
        self, pool: Pool, source: Volume, target: Volume, *, progress: Progress, deadline_s: float
    ) -> VolumeFound:
        found: VolumeFound = self._children.call(
            "clone_volume", pool, source, target, deadline_s=deadline_s, progress=progress
        )
        return found

    def clone_thin(self, pool: Pool, source: Volume, target: Volume, *, deadline_s: float) -> VolumeFound:
        found: VolumeFound = self._children.call("clone_thin", pool, source, target, deadline_s=deadline_s)
        return found

    def flatten_volume(self, pool: Pool, volume: Volume, *, progress: Progress, deadline_s: float) -> None:
        self._children.call("flatten_volume", pool, volume, deadline_s=deadline_s, progress=progress)

    def adopt_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        found: VolumeFound = self._children.call("adopt_volume", pool, volume, deadline_s=deadline_s)
        return found

    def export_diff(
        self, pool: Pool, volume: Volume, *, snapshot: str, since: str = "", version: int = 1
    ) -> Iterator[bytes]:
        return self._read_out("begin_export_diff", pool, volume, snapshot, since, version)

    def begin_diff(self, pool: Pool, volume: Volume, *, snapshot: Snapshot, since: str = "") -> CephDiff:
        return CephDiff(self._context, self._children, pool, volume, snapshot, since)

    def create_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, *, in_use: bool, deadline_s: float
    ) -> None:
        self._children.call("create_snapshot", pool, volume, snapshot, deadline_s=deadline_s)

    def remove_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        self._children.call("remove_snapshot", pool, volume, snapshot, deadline_s=deadline_s)

    def rename_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, new_name: str, *, deadline_s: float
    ) -> None:
        self._children.call("rename_snapshot", pool, volume, snapshot, new_name, deadline_s=deadline_s)

    def rollback_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        self._children.call("rollback_snapshot", pool, volume, snapshot, deadline_s=deadline_s)

    def _read_out(self, begin: str, *args: Any) -> Iterator[bytes]:
        child = self._children.take()
        try:
            child.call(begin, *args, deadline_s=_READ_S)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self._children.give_back(child)
            raise
        return self._pieces(child)

    def fence_node(self, fence: WriteFence, *, deadline_s: float) -> FenceAnswer:
        """On record before it is done: its next life must know what to undo, and this one that it gets no key again."""
        target = fence.target
        try:
            addresses = [] if set(own_addresses(fence)) & _all_of(fence.others) else own_addresses(fence)
            record = json.dumps({"incarnation": target.incarnation, "addresses": addresses}).encode()
            self._context.state.put(fence_key(target.node), record, if_version=None)
            prefix = self._context.config["pool_prefix"]
            answer: FenceAnswer = self._children.call("fence_node", fence, prefix, deadline_s=deadline_s)
        except PvcError as error:
            why = Why.UNREACHABLE if isinstance(error, Retry | StoreUnavailable) else Why.FAILED
            return NoProof(rung=RUNG, node=target.node, why=why, reason=error.message, help=error.help, acted=True)
        return answer

    def clients(self, pool: Pool, volume: Volume, *, deadline_s: float) -> Sequence[str]:
        own = str(self._context.node.host_networks.get("storage", "")).partition("/")[0]
        found: list[str] = self._children.call("users_of", pool, volume, deadline_s=deadline_s)
        return [one for one in found if ip_of(one) == own]

    def shut_out(self, pool: Pool, addresses: Sequence[str], *, deadline_s: float) -> None:
        self._children.call("shut_out", list(addresses), _DEAD_S, deadline_s=deadline_s)

    def _pieces(self, child: Any) -> Iterator[bytes]:
        try:
            while (data := child.call("read", deadline_s=_READ_S)) != b"":
                if data is not None:
                    yield data
        finally:
            if child.alive:
                child.call("end_export", deadline_s=_READ_S)
            self._children.give_back(child)

    def _known(self, pool: Pool) -> bool:
        try:
            self._context.state.get(_key(pool))
        except NotFound:
            return False
        except (StoreUnavailable, Conflict) as error:
            raise Retry(f"what was made before could not be looked up: {error.message}") from error
        return True

    def _remember(self, pool: Pool) -> None:
        try:
            self._context.state.put(_key(pool), b"made", if_version=None)
        except (StoreUnavailable, Conflict) as error:
            raise Retry(f"what was made could not be written down: {error.message}") from error


def _key(pool: Pool) -> str:
    return f"pools/{pool.name}"


def _all_of(others: Mapping[str, Sequence[str]]) -> set[str]:
    return {address for addresses in others.values() for address in addresses}
