"""Disks that hold OSDs: what ceph-volume and LVM are told on this node, and what they say. When is osds.py's."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

from pvc_core.contracts.plugin import Completed, PluginContext
from pvc_core.errors import Refused
from pvc_core.units import MIB, format_size
from pvc_storage_ceph.driver import CephStorage

DB_GROUP = "osd-db"
"""The volume group of a fast disk that osd_db makes."""
_MAKE_S, _STEP_S, _LOOK_S = 1800.0, 60.0, 180.0
"""ceph-volume looks at every disk of the node, which takes long where there are many or one of them is slow."""
_EXTENT = 4 * MIB
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
            self._room_for_dbs(count, db_bytes)
            self._make_with_dbs(self._parts(device, count), db_bytes, same)
        elif count > 1:
            argv = ["ceph-volume", "lvm", "batch", "--bluestore", "--osds-per-device", str(count), "--yes", device]
            self.run(argv, f"making {count} OSDs on {device}", _MAKE_S)
        else:
            argv = ["ceph-volume", "lvm", "prepare", "--bluestore", "--data", device, *same]
            self.run(argv, f"making an OSD on {device}", _MAKE_S)

    def _db_bytes(self, args: Args, device: str, count: int) -> int:
        """Of each OSD's database in the volume group osd-db, whole extents of it; 0: it stays with the data."""
        wanted = int(args.get("ext_db_size") or 0)
        if args.get("ext_db_ratio"):
            wanted = int(self._size_of(device) / count * float(args["ext_db_ratio"]))
        return -(-wanted // _EXTENT) * _EXTENT

    def _room_for_dbs(self, count: int, db_bytes: int) -> None:
        """Asked before anything is made of the disk."""
        argv = ["vgs", "--noheadings", "--nosuffix", "--units", "b", "--options", "vg_free", DB_GROUP]
        done = self._context.run(argv, deadline_s=_STEP_S)
        if done.returncode:
            raise Refused(
                f"{self._node} has no volume group {DB_GROUP} for OSDs' databases",
                help=f"make it of a fast disk first: `pvc storage osd create-db-vg {self._node} DEVICE`",
            )
        free = int(float(done.stdout.strip() or 0))
        if free < count * db_bytes:
            raise Refused(
                f"the volume group {DB_GROUP} of {self._node} has {format_size(free)} left, "
                f"not {count} times {format_size(db_bytes)}",
                help=f"give a smaller share or size, or enlarge it: `vgextend {DB_GROUP} DEVICE` on that node",
            )

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

    def _make_with_dbs(self, parts: list[str], db_bytes: int, same: list[str]) -> None:
        """Of a disk that was divided, what became no OSD is given back: the next attempt divides it anew."""
        for made, data in enumerate(parts):
            try:
                self._make_with_db(data, db_bytes, same)
            except Refused:
                left = parts[made:] if len(parts) > 1 else []
                for one in left:
                    self._context.run(["lvremove", "--yes", one], deadline_s=_STEP_S)
                if left and not made:
                    self._context.run(["vgremove", data.partition("/")[0]], deadline_s=_STEP_S)
                raise

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
        return [
            (number, _tag(part, "cluster_fsid"))
            for number, part in self._lvm_parts()
            if device in part.get("devices", []) and part.get("type") == "block"
        ]

    def _lvm_parts(self) -> list[tuple[int, dict[str, Any]]]:
        """(number, volume) of each volume of an OSD on this node: its data ("block"), its database ("db")."""
        listed = self._listed(["ceph-volume", "lvm", "list", "--format", "json"])
        return [(int(number), part) for number, parts in listed.items() for part in parts]

    def _ours(self, number: int) -> list[dict[str, Any]]:
        """Volumes of that OSD of our Ceph: another's may have the same number on this node."""
        fsid = self._fsid()
        return [part for one, part in self._lvm_parts() if one == number and _tag(part, "cluster_fsid") == fsid]

    def activate(self, number: int, device: str) -> None:
        """What the daemon needs of its disk is in place, as after a boot. Of no other OSD: one that was stopped by
        hand stays so.
        """
        if self.raw:
            argv = ["ceph-volume", "raw", "activate", "--device", device, "--no-systemd"]
        else:
            parts = self._ours(number)
            on_it = (_tag(part, "osd_fsid") for part in parts if device in part.get("devices", []))
            osd_fsid = next(on_it, "")
            for part in parts:
                if (
                    _tag(part, "osd_fsid") == osd_fsid
                ):  # of a disk that came while the node ran, nobody may have done it
                    self._context.run(["lvchange", "--activate", "y", str(part["lv_path"])], deadline_s=_STEP_S)
            argv = ["ceph-volume", "lvm", "activate", str(number), osd_fsid]
        self.run(argv, f"activating OSD {number}", _LOOK_S)

    def _listed(self, argv: list[str]) -> dict[str, Any]:
        done = self._context.run(argv, deadline_s=_LOOK_S)
        found: dict[str, Any] = json.loads(done.stdout or "{}") if done.returncode == 0 else {}
        return found

    def _fsid(self) -> str:
        return str(self._driver.ask("fsid")["fsid"])

    def wipe(self, device: str, number: int) -> str:
        """Nothing of the OSD is left on its disk, nor of its database. What cannot be wiped is told, "" if all is: the
        OSD is gone all the same.
        """
        why = self._wipe_raw(device, number) if self.raw else self._wipe_lvm(number)
        if why:
            self._context.log.warning("an OSD's old disk is not wiped", device=device, osd=number, reason=why)
        return f"; its old disk {device or '(unknown)'} is not wiped: {why}" if why else ""

    def _wipe_raw(self, device: str, number: int) -> str:
        """ceph-volume's own zap leaves a disk that is no LVM's as it is; a disk may know no discard."""
        if not self._holds(device, number):
            return "the OSD is not found on it"
        zero = ["dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=100", "conv=fsync"]
        self._context.run(["blkdiscard", "--force", device], deadline_s=_MAKE_S)
        return _why(self._context.run(zero, deadline_s=_MAKE_S))

    def _wipe_lvm(self, number: int) -> str:
        """Its database goes first: with the last one in it, ceph-volume's zap would remove the group itself."""
        parts = self._ours(number)
        dbs = [str(part["lv_path"]) for part in parts if part.get("vg_name") == DB_GROUP]
        lives = sorted({_tag(part, "osd_fsid") for part in parts if part.get("type") == "block"})
        zap = ["ceph-volume", "lvm", "zap", "--destroy", "--osd-id", str(number), "--osd-fsid"]
        steps = [["lvremove", "--yes", db] for db in dbs] + [[*zap, life] for life in lives]
        faults = [_why(self._context.run(argv, deadline_s=_MAKE_S)) for argv in steps]
        return "; ".join(filter(None, faults)) if lives else "the OSD is not found on it"

    def _holds(self, device: str, number: int) -> bool:
        """A disk that an operator names may be any of this node's."""
        try:
            return bool(device) and number in self.on(device)
        except Refused:
            return False

    def device_of(self, number: int) -> str:
        """The disk of this node that holds it; "" when none does."""
        if not self.raw:
            parts = [part for part in self._ours(number) if part.get("type") == "block"]
            return next((str(one) for part in parts for one in part.get("devices", [])), "")
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
            said = _why(done)
            raise Refused(f"{doing} on {self._node} failed: {said}", help=f"it was: {' '.join(argv)}")
        return done.stdout


def _why(done: Completed) -> str:
    """The line of a program's many that names the fault; "" when it did well."""
    if not done.returncode:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    told = [line for line in lines if "rror" in line] or lines
    return told[-1] if told else f"it ended with {done.returncode} and gave no reason"


def _tag(part: Mapping[str, Any], name: str) -> str:
    """ceph-volume's own note on a volume."""
    return str(part.get("tags", {}).get(f"ceph.{name}", ""))


def _list(numbers: list[int]) -> str:
    return ", ".join(str(one) for one in numbers)
