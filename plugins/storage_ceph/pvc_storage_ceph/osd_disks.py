"""Disks that hold OSDs: what ceph-volume and LVM are told on this node, and what they say. When is osds.py's."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Refused
from pvc_storage_ceph.driver import CephStorage

DB_GROUP = "osd-db"
"""The volume group of a fast disk that osd_db makes."""
_MAKE_S, _STEP_S = 1800.0, 60.0
Args = Mapping[str, Any]


class OsdDisks:
    """Raises Refused in the words of the program that failed."""

    def __init__(self, context: PluginContext, driver: CephStorage) -> None:
        self._context, self._driver = context, driver
        self._node = context.node.name

    @property
    def raw(self) -> bool:
        return str(self._context.config["osd_mode"]) == "raw"

    def make(self, device: str, count: int, args: Args, number: int | None) -> None:
        """`count` OSDs on the disk; `number`: one that was destroyed before, made anew."""
        self._bootstrap_key()
        same = [] if number is None else ["--osd-id", str(number)]
        db_bytes = self._db_bytes(args, device, count)
        if self.raw:
            if count > 1 or db_bytes:
                raise Refused("several OSDs on a disk, or a DB device, need plugins.storage_ceph.osd_mode: lvm")
            argv = ["ceph-volume", "raw", "prepare", "--bluestore", "--data", device, *same]
            self.run(argv, f"making an OSD on {device}", _MAKE_S)
        elif db_bytes:
            for data in self._parts(device, count):
                self._make_with_db(data, db_bytes, same)
        elif count > 1:
            argv = ["ceph-volume", "lvm", "batch", "--bluestore", "--osds-per-device", str(count), "--yes", device]
            self.run(argv, f"making {count} OSDs on {device}", _MAKE_S)
        else:
            argv = ["ceph-volume", "lvm", "prepare", "--bluestore", "--data", device, *same]
            self.run(argv, f"making an OSD on {device}", _MAKE_S)

    def _db_bytes(self, args: Args, device: str, count: int) -> int:
        """Of each OSD's database in the volume group osd-db; 0: it stays with the data."""
        if args.get("ext_db_ratio"):
            return int(self._size_of(device) / count * float(args["ext_db_ratio"]))
        return int(args.get("ext_db_size") or 0)

    def _parts(self, device: str, count: int) -> list[str]:
        """ceph-volume's batch takes no part of a volume group for databases, so a disk for several is divided here."""
        if count == 1:
            return [device]
        group = f"ceph-{uuid.uuid4()}"
        self.run(["vgcreate", "--yes", group, device], f"making volume group {group} on {device}")
        names = [f"osd-block-{index}" for index in range(count)]
        for index, name in enumerate(names):
            share = f"{100 // (count - index)}%FREE"
            self.run(["lvcreate", "--yes", "--name", name, "--extents", share, group], f"dividing {device}")
        return [f"{group}/{name}" for name in names]

    def _make_with_db(self, data: str, db_bytes: int, same: list[str]) -> None:
        name = f"db-{os.urandom(4).hex()}"
        self.run(["lvcreate", "--yes", "--name", name, "--size", f"{db_bytes}b", DB_GROUP], "making room for the DB")
        db = f"{DB_GROUP}/{name}"
        argv = ["ceph-volume", "lvm", "prepare", "--bluestore", "--data", data, "--block.db", db, *same]
        try:
            self.run(argv, f"making an OSD on {data}", _MAKE_S)
        except Refused:
            self._context.run(["lvremove", "--yes", db], deadline_s=_STEP_S)
            raise

    def on(self, device: str) -> list[int]:
        """The OSDs on this disk, by ceph-volume's own look at it. Raises Refused when they are another Ceph's: its
        numbers mean nothing here.
        """
        found = self._found_raw(device) if self.raw else self._found_lvm(device)
        foreign = sorted(number for number, fsid in found if fsid and fsid != self._fsid())
        if foreign:
            raise Refused(
                f"{device} of {self._node} holds OSD {_list(foreign)} of another Ceph",
                help="wipe the disk if nobody needs that",
            )
        return sorted(number for number, _fsid in found)

    def _found_raw(self, device: str) -> list[tuple[int, str]]:
        """(number, fsid of its Ceph) of each OSD."""
        listed = self._listed(["ceph-volume", "raw", "list", device])
        return [(int(one["osd_id"]), str(one.get("ceph_fsid", ""))) for one in listed.values()]

    def _found_lvm(self, device: str) -> list[tuple[int, str]]:
        listed = self._listed(["ceph-volume", "lvm", "list", "--format", "json"])
        parts = [(int(number), part) for number, parts in listed.items() for part in parts]
        return [
            (number, str(part.get("tags", {}).get("ceph.cluster_fsid", "")))
            for number, part in parts
            if device in part.get("devices", []) and part.get("type") == "block"
        ]

    def _listed(self, argv: list[str]) -> dict[str, Any]:
        done = self._context.run(argv, deadline_s=_STEP_S)
        found: dict[str, Any] = json.loads(done.stdout or "{}") if done.returncode == 0 else {}
        return found

    def _fsid(self) -> str:
        return str(self._driver.ask("fsid")["fsid"])

    def wipe(self, device: str, number: int) -> None:
        """Nothing of the OSD is left on its disk; what cannot be wiped is said, the OSD is gone all the same."""
        if self.raw and not self._holds(device, number):
            self._context.log.warning("what is not the OSD's disk is not wiped", device=device, osd=number)
            return
        if self.raw:
            # ceph-volume's own zap leaves a disk that is no LVM's as it is; a disk may know no discard.
            zero = ["dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=100", "conv=fsync"]
            self._context.run(["blkdiscard", "--force", device], deadline_s=_MAKE_S)
            done = self._context.run(zero, deadline_s=_MAKE_S)
        else:
            done = self._context.run(
                ["ceph-volume", "lvm", "zap", "--destroy", "--osd-id", str(number)], deadline_s=_MAKE_S
            )
        if done.returncode:
            self._context.log.warning("an OSD's old disk is not wiped", device=device, osd=number)

    def _holds(self, device: str, number: int) -> bool:
        """A disk that an operator names may be any of this node's."""
        try:
            return bool(device) and number in self.on(device)
        except Refused:
            return False

    def raw_device(self, number: int) -> str:
        """The disk of this node that holds it; "" when none does."""
        found = self._listed(["ceph-volume", "raw", "list"])
        return next((str(one["device"]) for one in found.values() if int(one["osd_id"]) == number), "")

    def _bootstrap_key(self) -> None:
        """With which ceph-volume makes OSDs known; where ceph-volume looks for it."""
        path = str(self._context.config["bootstrap"])
        if os.path.exists(path):
            return
        caps = ["mon", "allow profile bootstrap-osd"]
        key = self._driver.ask("auth get-or-create", entity="client.bootstrap-osd", caps=caps)[0]["key"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"[client.bootstrap-osd]\n\tkey = {key}\n")

    def _size_of(self, device: str) -> int:
        return int(self.run(["blockdev", "--getsize64", device], f"measuring {device}"))

    def run(self, argv: list[str], doing: str, deadline_s: float = _STEP_S) -> str:
        done = self._context.run(argv, deadline_s=deadline_s)
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            told = [line for line in lines if "rror" in line] or lines
            said = told[-1] if told else f"{argv[0]} gave no reason"
            raise Refused(f"{doing} on {self._node} failed: {said}", help=f"it was: {' '.join(argv)}")
        return done.stdout


def _list(numbers: list[int]) -> str:
    return ", ".join(str(one) for one in numbers)
