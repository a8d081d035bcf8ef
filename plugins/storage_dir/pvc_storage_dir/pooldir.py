"""One pool's directory: whether it is really this pool, its staging room, its volumes by name and by id.

    ROOT/NAME/            one volume (volumedir.py); whatever else lies in ROOT is foreign: listed, never touched
    ROOT/.pvc/pool.json   the pool's id: an empty mount point never passes for the pool
    ROOT/.pvc/nodes/      one file per node (peers.py)
    ROOT/.pvc/staging/NODE/   all that is being made or unmade by this node; never visible, swept when its daemon starts

A volume appears, disappears and changes its name by one rename of its directory, so nothing half-made is ever seen.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pvc_core.errors import Exists, Invalid, NotFound, Permanent, Refused, Retry
from pvc_core.ids import checked_name, new_uuid
from pvc_core.model.storage import Pool, Volume
from pvc_storage_dir.copying import fsync_directory, write_whole
from pvc_storage_dir.definitions import PoolOptions
from pvc_storage_dir.known import KnownPools
from pvc_storage_dir.volumedir import VolumeDir

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class PoolDir:
    """`root` is the pool's directory; `known` remembers in the store which pool was made there."""

    def __init__(self, pool: Pool, base: str, node: str, known: KnownPools) -> None:
        options = PoolOptions().load(dict(pool.options))
        self.name = safe_name(pool.name, "pool")
        self.root: str = options.get("path") or os.path.join(base, self.name)
        self.default_format: str = options["format"]
        self.shared: bool = options["shared"]
        self._own = os.path.join(self.root, ".pvc")
        self._staging = os.path.join(self._own, "staging", safe_name(node, "node"))
        self._known = known
        self._key = f"pools/{self.name}/{'shared' if self.shared else f'on-{node}'}"
        self._id = ""
        self._swept = False
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """The pool can be used: made if it never was, otherwise recognised by its id. Raises Permanent."""
        with self._lock:
            recorded, found = self._known.get(self._key), self._marker()
            if recorded and found != recorded:
                raise self._not_there(found)
            made = not found
            if made:
                found = self._make()
            if not recorded and self._known.put_first(self._key, found) != found:
                if made:  # another node made the pool just now, elsewhere: this is an empty mount point
                    self._unmake()
                raise self._not_there("")
            self._sweep()
            self._id = found  # last: from here on open() lets others in without the lock

    def open(self) -> PoolDir:
        """Itself, once sure that the directory is still the pool (a file system may have been unmounted)."""
        found = self._marker()
        if found and found == self._id:
            return self
        with self._lock:
            recorded = self._known.get(self._key)
            if not recorded:
                raise Retry(f'pool "{self.name}" has not been prepared on this node yet')
            if found != recorded:
                raise self._not_there(found)
            self._sweep()
            self._id = found  # last: from here on open() lets others in without the lock
        return self

    def remove(self) -> None:
        """Its own files and, unless it is a mount point, the directory are gone. Raises Refused, Permanent."""
        if not os.path.isdir(self.root):
            self._known.forget(self._key)
            return
        recorded = self._known.get(self._key)
        if recorded and self._marker() != recorded:
            raise self._not_there(self._marker())
        foreign = self.entries()
        if foreign:
            raise Refused(
                f'pool "{self.name}" cannot be removed: {self.root} still holds {", ".join(foreign[:5])}'
                + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""),
                help="remove its volumes first, and move away what PVC did not make",
            )
        # Forgotten first: a marker that nobody knows is taken up again, a known pool without a marker is a fault.
        self._known.forget(self._key)
        if self._marker() or os.path.isdir(self._own):
            self._unmake()
        if not os.path.ismount(self.root) and not os.listdir(self.root):
            os.rmdir(self.root)

    def entries(self) -> list[str]:
        """All that stands in the way of its removal."""
        return sorted(entry for entry in os.listdir(self.root) if entry not in (".pvc", "lost+found"))

    def volumes(self) -> Iterator[tuple[str, VolumeDir | None]]:
        """Every name in the pool, with its volume if PVC made it. Raises Retry if names keep changing meanwhile."""
        for _attempt in range(5):
            before = os.stat(self.root).st_mtime_ns
            names = sorted(name for name in os.listdir(self.root) if not name.startswith(".") and name != "lost+found")
            if os.stat(self.root).st_mtime_ns == before:
                break
        else:
            raise Retry(f'pool "{self.name}" is changing too fast to be listed', again_in_s=1)
        for name in names:
            try:
                yield name, VolumeDir.read(os.path.join(self.root, name))
            except Permanent:  # damaged: shown as foreign, so that one volume does not hide all the others
                yield name, None

    def find(self, volume: Volume) -> VolumeDir | None:
        """The volume with this id, None if there is none.

        Looks under its name first, then everywhere: a rename may have happened without its caller having heard of it.
        """
        wanted = safe_id(volume.id)
        here = VolumeDir.read(os.path.join(self.root, safe_name(volume.name, "volume")))
        if here and here.id == wanted:
            return here
        return next((found for _name, found in self.volumes() if found and found.id == wanted), None)

    def get(self, volume: Volume) -> VolumeDir:
        """Like find; raises NotFound."""
        found = self.find(volume)
        if found is None:
            raise NotFound(
                f'the files of volume "{volume.ref}" are not in {self.root}',
                help="they are never made anew by themselves; restore them, or remove the volume",
            )
        return found

    def path_for(self, name: str) -> str:
        """Where a volume called `name` goes. Raises Exists if anything is there."""
        path = os.path.join(self.root, safe_name(name, "volume"))
        if os.path.lexists(path):
            raise Exists(f'there is something else called "{name}" in {self.root}', help="choose another name")
        return path

    @contextmanager
    def staging(self, volume_id: str) -> Iterator[str]:
        """A fresh directory in the pool for one attempt; whatever is left in it at the end is gone."""
        path = self.stage(volume_id)
        try:
            yield path
        finally:
            remove_tree(path)

    def stage(self, volume_id: str) -> str:
        """Fresh per attempt: an orphan of a killed daemon may still be writing into the one before."""
        path = os.path.join(self._staging, f"{safe_id(volume_id)}.{secrets.token_hex(4)}")
        os.makedirs(path)
        os.chmod(path, 0o711)  # it may become a volume, which the hypervisor's own user must reach
        return path

    def publish(self, staged: str, name: str) -> None:
        """The directory `staged` becomes the volume `name`, all at once."""
        fsync_directory(staged)
        self.move(staged, name)

    def move(self, path: str, name: str) -> None:
        """Rename a volume's directory. Raises Exists if the name is taken."""
        target = self.path_for(name)
        try:
            os.rename(path, target)
        except (FileExistsError, NotADirectoryError) as error:
            raise Exists(f'"{name}" appeared in {self.root} meanwhile', help="choose another name") from error
        except OSError as error:
            if os.path.lexists(target) and os.path.lexists(path):
                raise Exists(f'"{name}" appeared in {self.root} meanwhile', help="choose another name") from error
            raise
        fsync_directory(self.root)

    def discard(self, volume_id: str, path: str) -> None:
        """A volume's directory vanishes at once; its bytes are freed after that."""
        os.rename(path, os.path.join(self.stage(volume_id), "gone"))
        fsync_directory(self.root)
        self.purge(volume_id)

    def purge(self, volume_id: str) -> None:
        """Nothing half-made for this id is left, whichever node left it."""
        prefix = f"{safe_id(volume_id)}."
        staging = os.path.join(self._own, "staging")
        for node in os.listdir(staging):
            for entry in _entries(os.path.join(staging, node)):
                if entry.startswith(prefix):
                    remove_tree(os.path.join(staging, node, entry))

    def own_path(self, *parts: str) -> str:
        return os.path.join(self._own, *parts)

    def _marker(self) -> str:
        """The id in pool.json, "" if there is none. Raises Permanent if it is another pool's or cannot be read."""
        try:
            with open(os.path.join(self._own, "pool.json"), "rb") as file:
                marker = json.loads(file.read(4096))
            found, name = str(marker["id"]), str(marker["name"])
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except (ValueError, KeyError, TypeError) as error:
            raise Permanent(f"{self._own}/pool.json cannot be read as a pool's marker", help="restore it") from error
        if name != self.name:
            raise Permanent(
                f'pool "{self.name}" cannot use {self.root}: it holds pool "{name}"', help="give it another path"
            )
        return found

    def _make(self) -> str:
        os.makedirs(self.root, mode=0o711, exist_ok=True)
        os.chmod(self.root, 0o711)  # the hypervisor's own user must reach the volumes, and need not list them
        foreign = [entry for entry in os.listdir(self.root) if entry not in (".pvc", "lost+found")]
        if foreign:
            raise Permanent(
                f'pool "{self.name}" cannot be made in {self.root}: it holds {", ".join(sorted(foreign)[:3])}',
                help="give it an empty directory; images can be put there afterwards",
            )
        for directory in ("nodes", "staging"):
            os.makedirs(self.own_path(directory), exist_ok=True)
        os.chmod(self._own, 0o700)
        content = json.dumps({"id": new_uuid(), "name": self.name, "v": 1}).encode()
        temporary = self.own_path(f"pool.{secrets.token_hex(4)}")
        write_whole(temporary, content)
        try:
            os.link(temporary, self.own_path("pool.json"))  # the first of several nodes wins
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
        fsync_directory(self._own)
        fsync_directory(self.root)
        fsync_directory(os.path.dirname(self.root))
        return self._marker()

    def _unmake(self) -> None:
        remove_tree(self._own)
        fsync_directory(self.root)
        self._id = ""

    def _sweep(self) -> None:
        """Once per process, before any work of it: what a killed daemon of this node left is debris."""
        if not self._swept:
            remove_tree(self._staging)
            os.makedirs(self._staging, exist_ok=True)
            self._swept = True

    def _not_there(self, found: str) -> Permanent:
        if found:
            return Permanent(
                f'{self.root} holds a pool called "{self.name}", but not the one this cluster made',
                help="mount the right file system there",
            )
        return Permanent(
            f'the files of pool "{self.name}" are not in {self.root}: its marker .pvc/pool.json is missing',
            help="is its file system mounted? The pool is never made anew by itself; if it is lost for good, remove "
            f"{self.root} and then the pool",
        )


def remove_tree(path: str) -> None:
    """Gone, whoever else may be removing it at the same time. Raises OSError if something will not go."""

    def forgive(_call: object, _path: str, info: tuple[type, OSError, object]) -> None:
        if not isinstance(info[1], FileNotFoundError):
            raise info[1]

    for last in (False, False, True):
        try:
            shutil.rmtree(path, onerror=forgive)  # type: ignore[arg-type]  # typeshed cannot say that it is an OSError
            return
        except OSError as error:
            # An orphan of a killed daemon, a qemu-img, may have put one more file there meanwhile.
            if last or error.errno != errno.ENOTEMPTY:
                raise


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def safe_name(name: str, what: str) -> str:
    """`name` if it can be a file name that stays where it is put; raises Refused. The core has checked it already."""
    try:
        return checked_name(name, what)
    except Invalid as error:
        raise Refused(error.message, help=error.help) from None


def safe_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise Refused(f"{value!r} cannot be an id", help="ids are made by PVC")
    return value
