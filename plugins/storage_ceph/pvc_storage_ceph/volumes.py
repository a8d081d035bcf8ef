"""Volumes of one pool, as records and images together. Snapshots are snapshots.py's, uploads uploads.py's."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pvc_core.errors import Exists, NotFound, Refused, Retry
from pvc_core.model.storage import Volume, VolumeFound
from pvc_storage_ceph.faults import readable
from pvc_storage_ceph.images import Images, is_staged, staged_name, whole_sectors
from pvc_storage_ceph.listing import listed
from pvc_storage_ceph.records import Record, Records

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,90}")
"""Librbd keeps the name in an object's name; characters that its URLs read as something else are not taken."""


class Volumes:
    """Raises the closed set of errors, and rados' and rbd's own, which faults.py translates."""

    def __init__(self, images: Images, records: Records, total_bytes: Any) -> None:
        self.images, self.records, self._total_bytes = images, records, total_bytes

    def list(self) -> list[VolumeFound]:
        return listed(self.images, self.records.all())

    def create(self, volume: Volume) -> VolumeFound:
        doing = f'making volume "{volume.ref}"'
        if self.find(volume) is not None:
            return self.found(self.need(volume))
        self.name_is_free(volume.name)
        self.fits_at_all(doing, volume.size_bytes)
        self.purge(volume.id)
        staged = staged_name("new", volume.id)
        image = self.images.make(staged, volume.size_bytes)
        return self.publish(Record(id=volume.id, name=volume.name, image=image), staged)

    def publish(self, record: Record, staged: str) -> VolumeFound:
        """A whole image becomes a volume: from the record's writing on it is one."""
        self.records.put(record)
        try:
            return self.found(self.settle(record))
        except Exists:
            self.records.forget(record.id)
            self.images.remove(staged)
            raise

    def remove(self, volume: Volume) -> None:
        record = self.records.get(volume.id)
        if record is None:
            if volume.name in self.images.names().values():
                raise Refused(
                    f'"{volume.name}" in pool {volume.pool} is not the volume with id {volume.id}: it stays as it is',
                    help="remove it by hand if nobody needs it",
                )
        elif not record.gone:
            record = self.settle(record)
            name = self.images.names().get(record.image)
            if name is not None:
                self.has_no_clones(record, "removed")
                self.images.unused(name, f'removing volume "{volume.ref}"')
            record = self.records.put(replace(record, gone=True))
        if record is not None:
            self._finish_removal(record)
        self.purge(volume.id)

    def resize(self, volume: Volume, size_bytes: int) -> VolumeFound:
        record = self.need(volume)
        doing = f'resizing volume "{volume.ref}"'
        self.fits_at_all(doing, size_bytes)
        with self.images.opened(record.name) as image:
            if image.size() != whole_sectors(size_bytes):
                image.resize(whole_sectors(size_bytes))
        return self.found(record)

    def rename(self, volume: Volume, new_name: str) -> None:
        record = self.need(volume)
        if record.name == new_name:
            return
        self.name_is_free(new_name)
        old_name = record.name
        record = self.records.put(replace(record, name=new_name))
        try:
            self.settle(record)
        except Exists:
            self.records.put(replace(record, name=old_name))
            raise

    def clone(self, source: Volume, target: Volume, progress: Any) -> VolumeFound:
        """A full copy of a moment of `source`, which may be in use."""
        if self.find(target) is not None:
            return self.found(self.need(target))
        self.name_is_free(target.name)
        origin = self.need(source)
        self.purge(target.id)
        moment = f".pvc-clone-{target.id}"
        staged = staged_name("new", target.id)
        with self.images.opened(origin.name) as image:
            if moment in [one["name"] for one in image.list_snaps()]:
                image.remove_snap(moment)
            image.create_snap(moment)
        try:
            progress(0, 1, f'copying volume "{source.ref}"')
            with self.images.opened(origin.name, read_only=True, snapshot=moment) as image:
                image.copy(self.images.io, staged, features=61)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.purge(target.id)
            raise
        finally:
            with self.images.opened(origin.name) as image:
                image.remove_snap(moment)
        with self.images.opened(staged, read_only=True) as image:
            made = str(image.id())
        progress(1, 1, "the copy is complete")
        return self.publish(Record(id=target.id, name=target.name, image=made), staged)

    def find(self, volume: Volume) -> Record | None:
        """Its record, with the image under the record's name; None if there is none."""
        record = self.records.get(volume.id)
        return None if record is None or record.gone else self.settle(record)

    def need(self, volume: Volume) -> Record:
        """Raises NotFound: there is no such volume, or its bytes are missing."""
        record = self.find(volume)
        if record is None:
            raise NotFound(f'there is no volume "{volume.ref}" with id {volume.id} in Ceph')
        if record.image not in self.images.names():
            raise NotFound(
                f'the bytes of volume "{volume.ref}" are missing: there is no image {record.image}',
                help="they are never made anew by themselves; restore them, or remove the volume",
            )
        return record

    def usable(self, volume: Volume) -> Record:
        """Raises also Retry during an unfinished rollback."""
        record = self.need(volume)
        if record.rollback:
            raise Retry(f'volume "{volume.ref}" is in the middle of a rollback', help="let the rollback be repeated")
        return record

    def has_no_clones(self, record: Record, done: str) -> None:
        """Raises Refused when thin clones need the image."""
        name = self.images.names().get(record.image)
        clones = [one for one in self.images.clones(name) if not is_staged(one)] if name else []
        if clones:
            raise Refused(
                f'volume "{record.name}" cannot be {done}: its thin clones {", ".join(clones)} need it',
                help="flatten them first",
            )

    def settle(self, record: Record) -> Record:
        """What its record says became true: image names follow, replaced images go. Raises Exists."""
        names = self.images.names()
        now = names.get(record.image)
        if now is not None and now != record.name:
            self._clear_name(record, names)
            self.images.rename(now, record.name)
        if record.old:
            old = names.get(record.old)
            if old is not None:
                hidden = self.images.names().get(record.old, old)
                self.images.remove(hidden)
            record = self.records.put(replace(record, old=""))
        return record

    def found(self, record: Record) -> VolumeFound:
        with self.images.opened(record.name, read_only=True) as image:
            size = int(image.size())
        snapshots = tuple(one.name for one in record.snapshots)
        return VolumeFound(
            name=record.name, size_bytes=size, used_bytes=0, format="raw", id=record.id, snapshots=snapshots
        )

    def name_is_free(self, name: str) -> None:
        """Raises Refused, Exists."""
        if not _NAME.fullmatch(name):
            raise Refused(
                f"{name!r} cannot be the name of a volume", help="letters, digits, - _ and . are, 91 of them at most"
            )
        for record in self.records.all():
            if record.gone:
                self._finish_removal(record)
            elif record.name == name:
                raise Exists(f'there is another volume called "{name}"', help="choose another name")
        if name in self.images.names().values():
            raise Exists(f'there is an image called "{name}" that PVC did not make', help="choose another name")

    def fits_at_all(self, doing: str, size_bytes: int) -> None:
        if size_bytes <= 0:
            raise Refused(f"{doing} failed: {size_bytes} bytes is no size", help="give a size like 10G")
        total = self._total_bytes()
        if size_bytes > total:
            raise Refused(
                f"{doing} failed: {readable(size_bytes)} were asked for, the whole pool has room for {readable(total)}",
                help="choose a smaller size, another pool, or add OSDs",
            )

    def purge(self, volume_id: str) -> None:
        """Whatever killed calls left half-made for this volume goes."""
        for name in self.images.names().values():
            if is_staged(name) and volume_id in name:
                self.images.remove(name)

    def _clear_name(self, record: Record, names: dict[str, str]) -> None:
        """The image that an upload replaced still has the volume's name."""
        if record.old and names.get(record.old) == record.name:
            self.images.rename(record.name, staged_name("old", record.id))

    def _finish_removal(self, record: Record) -> None:
        for image in (record.image, record.old):
            name = self.images.names().get(image)
            if name is None:
                continue
            self.images.remove(name if is_staged(name) else self.images.hidden(name, staged_name("gone", record.id)))
        self.records.forget(record.id)
