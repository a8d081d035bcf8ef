# SPDX-License-Identifier: LGPL-3.0-or-later
"""The storage driver: pools and volumes of one kind. A mandatory core of ten calls, the rest behind capabilities."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from marshmallow import Schema

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.targets import DiskSource
from pvc_core.contracts.where import on_node, once
from pvc_core.errors import Refused
from pvc_core.model.fence import FenceAnswer, WriteFence
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, StorageReport, Volume, VolumeFound


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCapabilities:
    """Data, proved in both directions by the conformance suite: what is declared works, what is not is Refused."""

    disk_sources: tuple[type, ...]
    """The DiskSource types that attach may return."""
    formats: tuple[str, ...] = ("raw",)
    """Formats of volumes; the first is the default."""
    upload_formats: tuple[str, ...] = ("raw",)
    """Image formats that uploads are converted from (raw, qcow2, vmdk, vdi, vpc, qed)."""
    shrink: bool = False
    clone: bool = False
    thin_clone: bool = False
    """clone_thin and flatten_volume: volumes that share what they have not changed."""
    diffs: bool = False
    """export_diff and begin_diff: what changed between two snapshots, as a stream."""
    adopt: bool = False
    """adopt_volume: one that PVC did not make becomes a volume of PVC's."""
    reports: bool = False
    """report: figures of all pools and volumes at once."""
    snapshots: bool = False
    online_snapshots: bool = False
    """Snapshots may be taken while a guest uses the volume."""
    online_resize: Literal["", "driver", "hypervisor"] = ""
    """Who grows a volume that a guest uses: the driver's resize, the hypervisor (see resize_volume), or nobody."""
    storage_fencing: bool = False
    """fence_node can keep a lost node from writing, and prove it."""


def adopted_id(volume_id: str, snapshot: str) -> str:
    """The id of a snapshot that came with an adopted volume; always the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{volume_id}/{snapshot}"))


class StorageDefinitions(ABC):
    """The pure half."""

    capabilities: StorageCapabilities
    pool_options: type[Schema]
    """Checks a pool's `option=key=value` pairs (strings in, typed values out); the driver itself gets Pool.options as
    given.
    """

    @abstractmethod
    def shared(self, options: Mapping[str, Any]) -> bool:
        """Whether all nodes reach the same bytes of a pool with these options; otherwise each volume has a home
        node.
        """


class Upload(ABC):
    """An image on its way into a volume. Nothing of it is visible before commit."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """The next bytes. Raises Refused when it is more than announced or does not fit."""

    @abstractmethod
    def commit(self, progress: Progress) -> None:
        """All bytes came: convert if need be and make them the volume's content, all at once."""

    @abstractmethod
    def abort(self) -> None:
        """Forget it; leaves nothing behind. Idempotent; also right after commit has raised."""


class StorageDriver(ABC):
    """Every call is idempotent (run twice, the second changes nothing and succeeds; run again after a crash in the
    middle, it

    completes), keyed by Volume.id; may come from any worker thread, never two at once for one volume; returns within
    `deadline_s` seconds. Raises Retry, Refused, NotFound, Exists, Permanent; nothing else. Nothing half-made is ever
    visible in list_volumes or usable by attach; out of space is one Refused that says how much was asked and is free,
    and
    leaves no debris. @once calls act for all nodes in a shared pool; in a pool that is not shared they run on the
    home node.
    """

    @abstractmethod
    @on_node
    def ensure_pool(self, pool: Pool, *, deadline_s: float) -> None:
        """The pool can be used on this node. Raises Permanent saying what is missing; never makes a second pool where
        one was.
        """

    @on_node
    def sees_peers(self, pool: Pool, *, deadline_s: float) -> bool:
        """Whether this node sees now what every other node wrote into this pool. Asked after ensure_pool, and only of
        pools that the definitions call shared; the pool is believed to be shared when every node of the cluster says
        True. A driver whose pools cannot be anything else (one service for all nodes) leaves it as it is.
        """
        return True

    @abstractmethod
    @once
    def remove_pool(self, pool: Pool, *, deadline_s: float) -> None:
        """The pool is gone. Gone already: fine. Raises Refused while it holds anything, PVC's or not. A pool that is
        not shared has no home: there it is called on every node.
        """

    @once
    def change_pool(self, pool: Pool, *, deadline_s: float) -> None:
        """The pool that is there is as its wishes say now; what the driver does not know of it is ignored."""
        return None

    @once
    def report(self, pools: Sequence[Pool], *, deadline_s: float) -> StorageReport:
        """What the driver knows of these pools (all it has) and of what is below them (capability reports). Called by
        the primary alone, every 15 s. With `usage` of a pool no node measures that pool by itself. What cannot be
        counted just now is left out, and `silent` says why: what was counted last stays then, and is shown as old.
        """
        raise Refused("this storage driver gives no reports")

    @on_node
    def metrics(self, *, deadline_s: float) -> str:
        """What the storage below tells Prometheus in its own names, in its text exposition format; "" when it has
        nothing of the kind. Raises Refused, saying what would have to be switched on; Retry.
        """
        return ""

    @abstractmethod
    @on_node
    def pool_usage(self, pool: Pool, *, deadline_s: float) -> PoolUsage: ...

    @abstractmethod
    @once
    def list_volumes(self, pool: Pool, *, deadline_s: float) -> list[VolumeFound]:
        """Every volume there is, also those PVC did not make. Raises Retry rather than leave any out."""

    @once
    def strangers(self, pool: Pool, *, deadline_s: float) -> Sequence[str]:
        """What else lies in the pool, in words ('image "a" in its trash'): things that list_volumes does not show and
        for which remove_pool would be Refused when all volumes are gone. Not each of them need be found. Optional: a
        driver whose lists show all there can be leaves it as it is.
        """
        return ()

    @abstractmethod
    @once
    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        """An empty volume of volume.size_bytes, rounded up to the driver's unit: the answer says how large it is.

        There with the same id: fine, whatever its size. Raises Exists if the name has another id, Refused when it
        cannot fit (larger than all of the pool's space, even if it would take none now).
        """

    @abstractmethod
    @once
    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        """The volume with this id, its snapshots and everything half-made for it are gone. Gone already: fine.

        Only an equal id is removed: one of the same name with another id is Refused.
        """

    @abstractmethod
    @once
    def resize_volume(
        self, pool: Pool, volume: Volume, size_bytes: int, *, in_use: bool, deadline_s: float
    ) -> VolumeFound:
        """The volume has size_bytes. `in_use`: a guest has it open; with online_resize "hypervisor" the hypervisor has
        already grown the image and only the driver's own records follow. Raises Refused to shrink without the
        capability.
        """

    @abstractmethod
    @once
    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        """The volume with this id is called new_name. Raises Exists if another has that name. Never while in use."""

    @abstractmethod
    @on_node
    def attach(self, pool: Pool, volume: Volume, *, vm_uuid: str, read_only: bool, deadline_s: float) -> DiskSource:
        """Where this node's hypervisor finds the volume. Raises Refused on a node that does not have it, NotFound if
        its bytes are missing (they are never made anew here).
        """

    @abstractmethod
    @on_node
    def detach(self, pool: Pool, volume: Volume, *, vm_uuid: str, deadline_s: float) -> None:
        """The guest no longer uses the volume here. Not attached: fine."""

    @abstractmethod
    @once
    def begin_upload(self, pool: Pool, volume: Volume, *, image_format: str, size_bytes: int | None) -> Upload:
        """Take an image of this format; size_bytes is what was announced, None if nothing was. The volume exists
        already and is not in use. A raw image may be smaller than the volume, never larger.
        """

    @abstractmethod
    @once
    def export_volume(self, pool: Pool, volume: Volume, *, snapshot: str = "") -> Iterator[bytes]:
        """The content as a raw image, in order; sparse parts are zeros."""

    @abstractmethod
    @once
    def clone_volume(
        self, pool: Pool, source: Volume, target: Volume, *, progress: Progress, deadline_s: float
    ) -> VolumeFound:
        """`target` is a full, independent copy of `source` in the same pool (capability clone)."""

    @once
    def clone_thin(self, pool: Pool, source: Volume, target: Volume, *, deadline_s: float) -> VolumeFound:
        """`target` has the content of `source` and shares its data until either is written (capability thin_clone).

        While it does, `source` cannot be removed or overwritten by an upload (Refused naming the clones).
        """
        raise Refused(f"volumes of pool {pool.name} cannot be cloned thinly: its driver has no such capability")

    @once
    def flatten_volume(self, pool: Pool, volume: Volume, *, progress: Progress, deadline_s: float) -> None:
        """The volume shares nothing any more; also while a guest uses it (capability thin_clone). Did not already:
        fine.
        """
        raise Refused(f"volumes of pool {pool.name} cannot be flattened: its driver has no such capability")

    @once
    def export_diff(
        self, pool: Pool, volume: Volume, *, snapshot: str, since: str = "", version: int = 1
    ) -> Iterator[bytes]:
        """What changed from snapshot `since` ("": from nothing) to `snapshot`, as a stream in Ceph's rbd diff format
        (doc/dev/rbd-diff.rst) of this version, 1 or 2 (capability diffs). Raises NotFound (a snapshot).
        """
        raise Refused(f"volumes of pool {pool.name} have no diffs: its driver has no such capability")

    @once
    def begin_diff(self, pool: Pool, volume: Volume, *, snapshot: Snapshot, since: str = "") -> Upload:
        """Take a diff of either version and make `snapshot` of what comes out; the size follows (capability diffs).

        The volume is not in use. With `since` it must be as in that snapshot of its own, else Refused; without, it must
        have no snapshots and holds the diff's content alone afterwards. A diff that does not say that it follows
        `since`, is damaged, or is cut off changes nothing.
        """
        raise Refused(f"volumes of pool {pool.name} take no diffs: its driver has no such capability")

    @once
    def adopt_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        """What list_volumes shows under volume.name without an id has this id from now on (capability adopt). Its
        snapshots stay, with the ids that `adopted_id` makes. Raises NotFound, Refused when it is somebody's already.
        """
        raise Refused(f"pool {pool.name} takes over nothing: its driver has no such capability")

    @abstractmethod
    @once
    def create_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, *, in_use: bool, deadline_s: float
    ) -> None:
        """The volume's content now, kept under this name (capability snapshots). There with the same id: fine."""

    @abstractmethod
    @once
    def remove_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None: ...

    @abstractmethod
    @once
    def rename_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, new_name: str, *, deadline_s: float
    ) -> None: ...

    @abstractmethod
    @once
    def rollback_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        """The volume's content (and size) is the snapshot's again; all or nothing. Never while in use."""

    @once
    def fence_node(self, fence: WriteFence, *, deadline_s: float) -> FenceAnswer:
        """Nothing of fence.target's incarnation can write into fence.pool any more (capability storage_fencing).

        First its key, which is named by its incarnation, is revoked and seen revoked; then every address of the target
        (noted, watching one of its volumes or holding a lock on one, its own on the storage network) is shut out for
        years and seen shut out; then it is looked again. An address in `others` is never touched. NoProof: one that can
        be attributed to nobody, and when there was no address at all (an empty list proves nothing). Undoes nothing
        ever: a new incarnation has a new key and new addresses. Twice: the same answer. Returns NoProof rather than
        raise.
        """
        raise Refused(f"pool {fence.pool.name} cannot be fenced: its driver has no such capability")

    @on_node
    def clients(self, pool: Pool, volume: Volume, *, deadline_s: float) -> Sequence[str]:
        """The addresses by which this node has the volume open now, guests' above all: noted in the claim for
        fence_node, because who is cut off later may be in no list any more. None: nobody. Only asked with the
        capability storage_fencing.
        """
        return ()

    @once
    def shut_out(self, pool: Pool, addresses: Sequence[str], *, deadline_s: float) -> None:
        """These clients, noted by `clients`, have ended for certain: whatever they left open or locked is free at
        once, and nothing of theirs that is still on its way is written. Shut out already: fine. Only asked with the
        capability storage_fencing.
        """
        raise Refused(f"clients of pool {pool.name} cannot be shut out: its driver has no such capability")
