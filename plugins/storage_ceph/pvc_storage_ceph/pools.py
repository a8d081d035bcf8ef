"""Ceph's pools: made, measured, removed. Copies and device classes are Ceph's own words for a pool's wishes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marshmallow import ValidationError

from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.model.storage import Pool, PoolUsage
from pvc_storage_ceph.cluster import Cluster
from pvc_storage_ceph.definitions import copies_of
from pvc_storage_ceph.images import Images, is_staged
from pvc_storage_ceph.records import OBJECT

_OWN_OBJECTS = (
    OBJECT, "rbd_directory", "rbd_info", "rbd_children", "rbd_trash", "rbd_mirroring", "rbd_task", "rbd_namespace",
    "rbd_group_directory",
)  # fmt: skip
"""RBD leaves its lists behind when they are empty."""
_RBD_PREFIXES = ("rbd_", "journal")
"""Of images' objects; whose they are is told by the lists of images."""
_LOOK_S = 20.0
"""Some hundred thousand objects; a pool may have millions."""
_DEFAULT_TIER = "default"


class Pools:
    """Raises the closed set of errors."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._cluster, self._prefix = cluster, prefix

    def name(self, pool: Pool) -> str:
        """In Ceph."""
        return f"{self._prefix}{pool.name}"

    def is_there(self, pool: Pool) -> bool:
        """In Ceph, by its newest map."""
        return self._cluster.has_pool(self.name(pool))

    def ensure(self, pool: Pool, *, may_make: bool) -> None:
        name = self.name(pool)
        if not self._cluster.has_pool(name):
            if not may_make:
                raise Permanent(
                    f'Ceph has no pool "{name}", in which pool "{pool.name}" was made',
                    help="is this the same Ceph? it is never made a second time by itself",
                )
            self._make(pool, name)
        self._is_for_rbd(name)

    def change(self, pool: Pool) -> None:
        """Its number of placement groups, or 0 for Ceph's own choice, and its copies are as wanted."""
        name = self.name(pool)
        copies, fewest = self._copies(pool)
        mode = "off" if pool.pgs else "on"
        wanted = {"pg_autoscale_mode": mode, "pg_num": pool.pgs, "size": copies, "min_size": fewest}
        for var, value in wanted.items():
            if value and str(self._cluster.command("osd pool get", pool=name, var=var).get(var)) != str(value):
                self._cluster.command("osd pool set", pool=name, var=var, val=str(value))

    def remove(self, pool: Pool) -> None:
        """Raises Refused while it holds anything."""
        name = self.name(pool)
        if not self._cluster.has_pool(name):
            return
        self._remove_remains(name)
        found = self._first_object(name)
        if found:
            raise Refused(
                f'pool "{pool.name}" is not empty: it holds {found}', help="remove its volumes, and there what is none"
            )
        self._cluster.forget_pool(name)
        words = {"pool": name, "pool2": name, "yes_i_really_really_mean_it": True}
        self._cluster.command("osd pool delete", **words)

    def strangers(self, pool: Pool) -> list[str]:
        """Beside images: what RBD itself keeps elsewhere in the pool, and the first object that is not RBD's, if it is
        found in time.
        """
        name = self.name(pool)
        found = list(self._besides_images(name))
        until_s = time.monotonic() + _LOOK_S
        with self._all_objects(name) as objects:
            for one in objects:
                if not str(one.key).startswith(_RBD_PREFIXES) and not _is_own(str(one.key)) and self._is_there(one):
                    return [*found, f'object "{one.key}"']
                if time.monotonic() > until_s:
                    break
        return found

    def usage(self, pool: Pool, objects_bytes: int = 0) -> PoolUsage:
        """As Ceph counts it: room for new data is divided by copies and bound by the fullest OSD. Ceph counts late, so
        `objects_bytes`, what the volumes' object maps show now, is believed when it is more.
        """
        name = self.name(pool)
        counted = self._cluster.command("df", detail="detail")
        stats = next((one["stats"] for one in counted["pools"] if one["name"] == name), None)
        if stats is None:
            stats = self._not_counted_yet(name, counted["stats"])
        stored, free = int(stats["stored"]), int(stats["max_avail"])
        quota = int(stats.get("quota_bytes", 0))
        free = max(0, min(free, quota - stored)) if quota else free
        if stored + free == 0:
            raise Retry(f'Ceph has not counted the room of pool "{pool.name}" yet', again_in_s=1)
        used = min(max(stored, objects_bytes), stored + free)
        return PoolUsage(total_bytes=stored + free, used_bytes=used, free_bytes=stored + free - used, stored_bytes=used)

    def is_full(self, pool: Pool) -> bool:
        """Ceph lets nobody write into it: its OSDs or its quota are full."""
        dump = self._cluster.command("osd dump")["pools"]
        flags = next((str(one["flags_names"]) for one in dump if one["pool_name"] == self.name(pool)), "")
        return "full" in flags.split(",")

    def _not_counted_yet(self, name: str, raw: dict[str, int]) -> dict[str, int]:
        if not self._cluster.has_pool(name):
            raise Permanent(f'Ceph has no pool "{name}"')
        copies = int(self._cluster.command("osd pool get", pool=name, var="size")["size"])
        return {"stored": 0, "max_avail": int(raw["total_avail_bytes"]) // copies}

    def _make(self, pool: Pool, name: str) -> None:
        copies, fewest = self._copies(pool)
        words = {"size": copies} if copies else {}
        rule = {"rule": self._rule(pool.tier)} if pool.tier != _DEFAULT_TIER else {}
        self._cluster.command(
            "osd pool create", pool=name, pool_type="replicated", pg_num=pool.pgs or 1, **words, **rule
        )
        mode = "off" if pool.pgs else "on"
        self._cluster.command("osd pool set", pool=name, var="pg_autoscale_mode", val=mode)
        if fewest:
            self._cluster.command("osd pool set", pool=name, var="min_size", val=str(fewest))

    def _copies(self, pool: Pool) -> tuple[int, int]:
        try:
            return copies_of(pool.options, pool.replcfg)
        except ValidationError as error:
            raise Permanent(f'the options of pool "{pool.name}" are wrong: {error}') from error

    def _rule(self, tier: str) -> str:
        """The CRUSH rule that takes only OSDs of this device class."""
        classes = self._cluster.command("osd crush class ls")
        if tier not in classes:
            raise Permanent(f'no OSD has the device class "{tier}"', help=f"there are: {', '.join(classes) or 'none'}")
        rule = f"pvc-{tier}"
        if rule not in self._cluster.command("osd crush rule ls"):
            domain = self._failure_domain()
            words = {"name": rule, "root": "default", "type": domain, "class": tier}
            self._cluster.command("osd crush rule create-replicated", **words)
        return rule

    def _failure_domain(self) -> str:
        """The one of Ceph's default rule: host, or osd where all are on one host."""
        for rule in self._cluster.command("osd crush rule dump"):
            for step in rule["steps"]:
                if "type" in step:
                    return str(step["type"])
        return "host"

    def _is_for_rbd(self, name: str) -> None:
        uses = self._cluster.command("osd pool application get", pool=name)
        if "rbd" in uses:
            return
        if uses:
            raise Permanent(f'pool "{name}" of Ceph is used for {", ".join(uses)}', help="choose another name")
        self._cluster.command("osd pool application enable", pool=name, app="rbd")

    def _remove_remains(self, name: str) -> None:
        """Images that a daemon did not come to remove: a benchmark's, when it was killed."""
        images = Images(self._cluster.rbd, self._cluster.pool(name), self._cluster.client())
        for one in images.names().values():
            if is_staged(one):
                images.remove(one)

    def _first_object(self, name: str) -> str:
        """Any namespace's and the trash's too: a pool goes with all of it."""
        for image in self._cluster.rbd.RBD().list(self._cluster.pool(name)):
            return f'the image "{image}"'
        for besides in self._besides_images(name):
            return besides
        with self._all_objects(name) as objects:
            for one in objects:
                if not _is_own(str(one.key)) and self._is_there(one):
                    return f'the object "{one.key}"'
        return ""

    def _besides_images(self, name: str) -> Iterator[str]:
        io, rbd = self._cluster.pool(name), self._cluster.rbd.RBD()
        yield from (f'image "{image["name"]}" in its trash' for image in rbd.trash_list(io))
        yield from (f'namespace "{namespace}"' for namespace in rbd.namespace_list(io))
        yield from (f'group "{group}" of images' for group in rbd.group_list(io))

    @contextmanager
    def _all_objects(self, name: str) -> Iterator[Any]:
        io = self._cluster.pool(name)
        io.set_namespace(self._cluster.rados.LIBRADOS_ALL_NSPACES)
        try:
            yield io.list_objects()
        finally:
            io.set_namespace("")

    def _is_there(self, listed: Any) -> bool:
        """A removed object is listed until the OSDs have trimmed its snapshots, which may take minutes."""
        try:
            listed.stat()
        except self._cluster.rados.ObjectNotFound:
            return False
        return True


def _is_own(key: str) -> bool:
    return key in _OWN_OBJECTS or key.startswith("rbd_id.")
