"""OSDs on this node: made, moved in, replaced, drained and removed, through ceph-volume.

What Ceph knows is asked each time, so that a call that is made again after a crash goes on where it was. Two ways to
keep an OSD on a disk (`plugins.storage_ceph.osd_mode`): lvm, which systemd starts again after a boot, and raw.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from pvc_core.contracts.actions import ActionCall, Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_storage_ceph import devices
from pvc_storage_ceph.driver import CephStorage

DB_GROUP = "osd-db"
"""The volume group that osd_db makes."""
_MAKE_S, _UP_S, _STEP_S = 1800.0, 120.0, 60.0
_LOOK_S = 1.0
Args = Mapping[str, Any]


class Osds:
    """Raises Refused, NotFound, Retry, Permanent."""

    def __init__(
        self, context: PluginContext, driver: CephStorage, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._context, self._driver, self._sleep = context, driver, sleep
        self._node = context.node.name

    def actions(self) -> dict[str, ActionCall]:
        return {
            "osd_add": self.add,
            "osd_replace": self.replace,
            "osd_refresh": self.refresh,
            "osd_remove": self.remove,
            "osd_db": self.make_db,
            "osd_in": lambda args, progress: self._mark(args, "in"),
            "osd_out": lambda args, progress: self._mark(args, "out"),
            "flag_set": lambda args, progress: self._flag(args, "set"),
            "flag_unset": lambda args, progress: self._flag(args, "unset"),
        }

    def add(self, args: Args, progress: Progress) -> dict[str, object]:
        """OSDs on the disk; those that are on it already are started and counted."""
        device, count = devices.named(self._context, str(args["device"])), int(args["osd_count"])
        there = self._on(device)
        if len(there) < count:
            if there:
                raise Refused(f"{device} of {self._node} has OSD {_list(there)} already", help="remove it first")
            progress(0, 3, f"making {count} OSD on {device} of {self._node}")
            self._make(device, count, self._db(args, device, count), None)
            there = self._on(device)
        if len(there) < count:
            raise Permanent(f"ceph-volume made {len(there)} of {count} OSDs on {device}", help="see its log")
        progress(1, 3, f"starting OSD {_list(there)}")
        for number in there:
            self._start(number, device)
        self._weigh(args, there)
        said = f"OSD {_list(there)} of {self._node} is up on {device}"
        return {"osds": [str(one) for one in there], "device": device, "node": self._node, "message": said}

    def refresh(self, args: Args, progress: Progress) -> dict[str, object]:
        """The disk of this OSD was moved to this node, or is new to its systemd: start it here."""
        number, device = int(args["osd"]), devices.named(self._context, str(args["device"]))
        self._known(number)
        there = self._on(device)
        if number not in there:
            has = f"OSD {_list(there)}" if there else "no OSD"
            raise Refused(f"{device} of {self._node} holds {has}, not OSD {number}")
        progress(0, 2, f"starting OSD {number} on {device}")
        self._start(number, device)
        return {"osd": str(number), "device": device, "message": f"OSD {number} is up on {device} of {self._node}"}

    def replace(self, args: Args, progress: Progress) -> dict[str, object]:
        """The OSD of this number, on another disk: its data come from the other copies."""
        number, device = int(args["osd"]), devices.named(self._context, str(args["new_device"]))
        if number not in self._on(device):
            self._known(number)
            if self._on(device):
                raise Refused(f"{device} of {self._node} has OSD {_list(self._on(device))} already")
            self._ok_to_stop(number)
            progress(0, 4, f"taking OSD {number} off its old disk")
            self._stop(number)
            old = str(args["old_device"] or self._device_of(number))
            self._driver.ask("osd destroy-actual", id=number, yes_i_really_mean_it=True)
            self._wipe(old, number)
            progress(1, 4, f"making OSD {number} on {device}")
            self._make(device, 1, self._db(args, device, 1), number)
        progress(2, 4, f"starting OSD {number}")
        self._start(number, device)
        self._weigh(args, [number])
        return {"osd": str(number), "device": device, "message": f"OSD {number} is up on {device} of {self._node}"}

    def remove(self, args: Args, progress: Progress) -> dict[str, object]:
        """Its data go to the other OSDs first, and only what Ceph calls safe is destroyed. `force`: without waiting."""
        number, force = int(args["osd"]), bool(args["force"])
        if number not in self._numbers():
            return {"osd": str(number)}
        device = self._device_of(number)
        self._driver.ask("osd out", ids=[str(number)])
        if not force:
            self._drain(number, progress)
        progress(90, 100, f"stopping OSD {number}")
        self._stop(number)
        self._driver.ask("osd purge-actual", id=number, yes_i_really_mean_it=True)
        if device:
            self._wipe(device, number)
        self._forget_empty_host()
        return {"osd": str(number), "device": device, "message": f"OSD {number} of {self._node} is removed"}

    def make_db(self, args: Args, progress: Progress) -> dict[str, object]:
        """A volume group on a fast disk, from which databases of OSDs get their part. There already: fine."""
        device = devices.named(self._context, str(args["device"]))
        if self._context.run(["vgs", DB_GROUP], deadline_s=_STEP_S).returncode:
            progress(0, 1, f"making volume group {DB_GROUP} on {device}")
            self._run(["pvcreate", "--yes", device], f"preparing {device}")
            self._run(["vgcreate", DB_GROUP, device], f"making volume group {DB_GROUP}")
        said = f"volume group {DB_GROUP} of {self._node} is there for OSDs' databases"
        return {"group": DB_GROUP, "device": device, "message": said}

    # -- ceph-volume ---------------------------------------------------------------------------------------------------

    @property
    def _raw(self) -> bool:
        return str(self._context.config["osd_mode"]) == "raw"

    def _make(self, device: str, count: int, db: list[str], number: int | None) -> None:
        self._bootstrap_key()
        same = [] if number is None else ["--osd-id", str(number)]
        if self._raw:
            if count > 1 or db:
                raise Refused("several OSDs on a disk, or a DB device, need plugins.storage_ceph.osd_mode: lvm")
            argv = ["ceph-volume", "raw", "prepare", "--bluestore", "--data", device, *same]
        elif count > 1:
            split = ["--osds-per-device", str(count), "--yes", *(["--block-db-size", db[-1]] if db else [])]
            argv = ["ceph-volume", "lvm", "batch", "--bluestore", *split, device]
        else:
            argv = ["ceph-volume", "lvm", "prepare", "--bluestore", "--data", device, *db, *same]
        self._run(argv, f"making an OSD on {device}", _MAKE_S)

    def _db(self, args: Args, device: str, count: int) -> list[str]:
        """Words for ceph-volume: a part of the volume group osd-db."""
        size = args.get("ext_db_size")
        if args.get("ext_db_ratio"):
            size = int(self._size_of(device) / count * float(args["ext_db_ratio"]))
        if not size:
            return []
        name = f"db-{os.urandom(4).hex()}"
        self._run(["lvcreate", "--yes", "--name", name, "--size", f"{int(size)}b", DB_GROUP], "making room for the DB")
        return ["--block.db", f"{DB_GROUP}/{name}"]

    def _on(self, device: str) -> list[int]:
        """The OSDs of our Ceph on this disk, by ceph-volume's own look at it."""
        if self._raw:
            done = self._context.run(["ceph-volume", "raw", "list", device], deadline_s=_STEP_S)
            found = json.loads(done.stdout or "{}") if done.returncode == 0 else {}
            return sorted(int(one["osd_id"]) for one in found.values())
        done = self._context.run(["ceph-volume", "lvm", "list", "--format", "json"], deadline_s=_STEP_S)
        found = json.loads(done.stdout or "{}") if done.returncode == 0 else {}
        return sorted(
            int(number)
            for number, parts in found.items()
            if any(device in part.get("devices", []) and part.get("type") == "block" for part in parts)
        )

    def _start(self, number: int, device: str) -> None:
        if self._raw:
            argv = ["ceph-volume", "raw", "activate", "--device", device, "--no-systemd"]
        else:
            argv = ["ceph-volume", "lvm", "activate", "--all"]
        if not self._up(number):
            self._run(argv, f"activating OSD {number}")
            self._run(["systemctl", "start", f"ceph-osd@{number}.service"], f"starting OSD {number}")
        end = self._context.clock.boottime_s() + _UP_S
        while not self._up(number):
            self._pause(end, f"OSD {number} of {self._node} does not come up", "see the log of ceph-osd")

    def _stop(self, number: int) -> None:
        self._run(["systemctl", "stop", f"ceph-osd@{number}.service"], f"stopping OSD {number}")
        self._driver.ask("osd down", ids=[str(number)])

    def _wipe(self, device: str, number: int) -> None:
        """Nothing of the OSD is left on its disk; what cannot be wiped is said, the OSD is gone all the same."""
        if self._raw:
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

    # -- Ceph ----------------------------------------------------------------------------------------------------------

    def _numbers(self) -> list[int]:
        return [int(one) for one in self._driver.ask("osd ls")]

    def _known(self, number: int) -> None:
        if number not in self._numbers():
            raise NotFound(f"there is no OSD {number}", help="`pvc storage osd list` shows them")

    def _up(self, number: int) -> bool:
        dump = self._driver.ask("osd dump")["osds"]
        return any(int(one["osd"]) == number and one["up"] for one in dump)

    def _device_of(self, number: int) -> str:
        """The disk it lies on; "" when nobody knows."""
        if self._raw:
            done = self._context.run(["ceph-volume", "raw", "list"], deadline_s=_STEP_S)
            found = json.loads(done.stdout or "{}") if done.returncode == 0 else {}
            return next((str(one["device"]) for one in found.values() if int(one["osd_id"]) == number), "")
        try:
            about = self._driver.ask("osd metadata", id=number)
        except (Refused, Retry, Permanent):
            return ""
        return f"/dev/{str(about.get('bluestore_bdev_devices', '')).split(',')[0]}"

    def _drain(self, number: int, progress: Progress) -> None:
        """Ceph's "safe-to-destroy" must name it: the answer's code alone says nothing."""
        most = 0
        while True:
            try:
                answer = self._driver.ask("osd safe-to-destroy", ids=[str(number)])
            except Retry:  # placement groups on their way
                answer = {}
            if number in answer.get("safe_to_destroy", []):
                return
            left = self._groups(number)
            most = max(most, left)
            done = 90 * (most - left) // most if most else 0
            progress(done, 100, f"OSD {number} is drained: {left} placement groups are left on it")
            self._pause(None, "", "")

    def _groups(self, number: int) -> int:
        nodes = self._driver.ask("osd df", output_method="tree")["nodes"]
        return next((int(one["pgs"]) for one in nodes if one["id"] == number), 0)

    def _ok_to_stop(self, number: int) -> None:
        answer = self._driver.ask("osd ok-to-stop", ids=[str(number)])
        if not answer.get("ok_to_stop"):
            raise Refused(
                f"OSD {number} cannot be stopped now: data would be out of reach",
                help="wait until Ceph is healthy, or remove it so that it is drained first",
            )

    def _forget_empty_host(self) -> None:
        nodes = self._driver.ask("osd tree")["nodes"]
        if any(one["name"] == self._node and not one.get("children") for one in nodes):
            self._driver.ask("osd crush rm", name=self._node)

    def _weigh(self, args: Args, numbers: list[int]) -> None:
        """The wire's weight 1.0 means: as large as it is, which Ceph sees by itself."""
        weight = args.get("weight")
        for number in numbers if weight not in (None, 1.0) else []:
            self._driver.ask("osd crush reweight", name=f"osd.{number}", weight=weight)

    def _mark(self, args: Args, how: str) -> dict[str, object]:
        number = int(args["osd"])
        self._known(number)
        self._driver.ask(f"osd {how}", ids=[str(number)])
        return {"osd": str(number), "state": how}

    def _flag(self, args: Args, how: str) -> dict[str, object]:
        self._driver.ask(f"osd {how}", key=str(args["flag"]))
        return {"flag": str(args["flag"]), "state": how}

    # -- this node -----------------------------------------------------------------------------------------------------

    def _size_of(self, device: str) -> int:
        return int(self._run(["blockdev", "--getsize64", device], f"measuring {device}"))

    def _run(self, argv: list[str], doing: str, deadline_s: float = _STEP_S) -> str:
        done = self._context.run(argv, deadline_s=deadline_s)
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            told = [line for line in lines if "rror" in line] or lines
            said = told[-1] if told else f"{argv[0]} gave no reason"
            raise Refused(f"{doing} on {self._node} failed: {said}", help=f"it was: {' '.join(argv)}")
        return done.stdout

    def _pause(self, end_s: float | None, late: str, helps: str) -> None:
        if self._context.stopping():
            raise Retry("interrupted: the daemon is ending", help="it is begun again by itself")
        if end_s is not None and self._context.clock.boottime_s() > end_s:
            raise Permanent(late, help=helps)
        self._sleep(_LOOK_S)


def _list(numbers: list[int]) -> str:
    return ", ".join(str(one) for one in numbers)
