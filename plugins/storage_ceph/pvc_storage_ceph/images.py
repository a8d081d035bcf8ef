"""Images of one pool by Ceph's own words: made, opened, renamed, removed; who has one open. Knows no records."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pvc_core.errors import Exists, Refused, Retry

FEATURES = 61
"""layering, exclusive-lock, object-map, fast-diff, deep-flatten: without the lock, two writers would both write."""
_SECTOR_BYTES = 512
_TRASH = 2
"""Namespace of snapshots that are removed but still needed by clones (RBD_SNAP_NAMESPACE_TYPE_TRASH)."""


class Images:
    """Raises rbd.Error."""

    def __init__(self, rbd: Any, io: Any, client: int) -> None:
        self._rbd, self._io, self._client = rbd, io, client

    @property
    def io(self) -> Any:
        return self._io

    def names(self) -> dict[str, str]:
        """Name by id of every image there is."""
        return {str(one["id"]): str(one["name"]) for one in self._rbd.RBD().list2(self._io)}

    def make(self, name: str, size_bytes: int) -> str:
        """Its id."""
        self._rbd.RBD().create(self._io, name, whole_sectors(size_bytes), old_format=False, features=FEATURES)
        with self.opened(name, read_only=True) as image:
            return str(image.id())

    def clone(self, parent: str, snapshot: str, name: str) -> str:
        """A thin one; its id."""
        self._rbd.RBD().clone(self._io, parent, snapshot, self._io, name, features=FEATURES)
        return next(id for id, found in self.names().items() if found == name)

    def has_parent(self, image: Any) -> bool:
        try:
            image.get_parent_image_spec()
        except self._rbd.ImageNotFound:
            return False
        return True

    def clones(self, name: str) -> list[str]:
        """Names of the thin clones that need it."""
        with self.opened(name, read_only=True) as image:
            return sorted(str(one["image"]) for one in image.list_children2())

    @contextmanager
    def opened(self, name: str, *, read_only: bool = False, snapshot: str | None = None) -> Iterator[Any]:
        image = self._rbd.Image(self._io, name, snapshot=snapshot, read_only=read_only)
        try:
            yield image
        finally:
            image.close()

    def rename(self, old: str, new: str) -> None:
        """Raises Exists."""
        try:
            self._rbd.RBD().rename(self._io, old, new)
        except self._rbd.ImageExists:
            if new in self.names().values():
                raise Exists(f'there is another image called "{new}"', help="choose another name") from None
            # The name of a rename or removal that was killed half-way: it leads to no image of the directory.
            self._io.remove_object(f"rbd_id.{new}")
            self._rbd.RBD().rename(self._io, old, new)

    def hidden(self, name: str, new: str) -> str:
        """Renamed, so that the name is free at once; its name now. A full pool has no room for the new one."""
        try:
            self.rename(name, new)
        except self._rbd.Error as error:
            if abs(int(getattr(error, "errno", 0) or 0)) not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return name
        return new

    def users(self, name: str) -> list[str]:
        """Addresses of those that have it open, without us."""
        with self.opened(name, read_only=True) as image:
            return [str(one["addr"]) for one in image.watchers_list() if int(one["id"]) != self._client]

    def holders(self, name: str) -> list[str]:
        """Addresses of those that have it open or locked, without us. None when it is gone."""
        try:
            with self.opened(name, read_only=True) as image:
                watching = [str(one["addr"]) for one in image.watchers_list() if int(one["id"]) != self._client]
                locks = image.list_lockers() or {}
        except self._rbd.ImageNotFound:
            return []
        return watching + [str(addr) for client, _cookie, addr in locks.get("lockers", []) if client != self._me]

    @property
    def _me(self) -> str:
        return f"client.{self._client}"

    def unused(self, name: str, doing: str) -> None:
        """Raises Retry when somebody has it open."""
        users = self.users(name)
        if users:
            raise Retry(
                f"{doing} waits: the image is open at {', '.join(users)}",
                help="a client that died lets go after half a minute",
            )

    def remove(self, name: str) -> None:
        """With its snapshots. Gone already: fine. Raises Refused when thin clones need it."""
        try:
            with self.opened(name) as image:
                for snap in snapshots(image):
                    if image.is_protected_snap(snap["name"]):
                        image.unprotect_snap(snap["name"])
                    image.remove_snap(snap["name"])
            self._rbd.RBD().remove(self._io, name)
        except self._rbd.ImageNotFound:
            self._remove_remains(name)
        except self._rbd.ImageHasSnapshots:
            raise Refused(f'image "{name}" cannot be removed: thin clones need it', help="flatten them first") from None
        except self._rbd.ImageBusy:
            raise Retry(f'image "{name}" cannot be removed: somebody has it open or it has clones') from None

    def _remove_remains(self, name: str) -> None:
        """Of one whose making or removal was killed: Ceph itself knows how."""
        try:
            self._rbd.RBD().remove(self._io, name)
        except self._rbd.ImageNotFound:
            return


def snapshots(image: Any) -> list[dict[str, Any]]:
    """Those of the user's: dicts with id, size, name."""
    return [one for one in image.list_snaps() if one.get("namespace", 0) != _TRASH]


def whole_sectors(size_bytes: int) -> int:
    """As QEMU counts."""
    return -(-size_bytes // _SECTOR_BYTES) * _SECTOR_BYTES


def staged_name(what: str, volume_id: str) -> str:
    """Of an image that is not to be seen; never used twice, because a killed call may leave traces of a name."""
    return f".pvc-{what}-{volume_id}-{os.urandom(4).hex()}"


def is_staged(name: str) -> bool:
    return name.startswith(".pvc-")
