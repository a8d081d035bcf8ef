"""OSDs on this node: made, moved in, replaced, drained and removed, through ceph-volume.

What Ceph knows is asked each time, so that a call that is made again after a crash goes on where it was. Two ways to
keep an OSD on a disk (`plugins.storage_ceph.osd_mode`): lvm, which systemd starts again after a boot, and raw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pvc_core.contracts.actions import ActionCall, Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_storage_ceph import devices
from pvc_storage_ceph.driver import CephStorage
from pvc_storage_ceph.osd_disks import DB_GROUP, OsdDisks

_UP_S, _STEP_S = 120.0, 60.0
_LOOK_S = 1.0
Args = Mapping[str, Any]


class Osds:
    """Raises Refused, NotFound, Retry, Permanent."""

    def __init__(
        self, context: PluginContext, driver: CephStorage, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._context, self._driver, self._sleep = context, driver, sleep
        self._node = context.node.name
        self._disks = OsdDisks(context, driver)

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
        there = self._disks.on(device)
        self._none_is_left_over(device, there)
        if len(there) < count:
            if there:
                raise Refused(f"{device} of {self._node} has OSD {_list(there)} already", help="remove it first")
            progress(0, 3, f"making {count} OSD on {device} of {self._node}")
            self._disks.make(device, count, args, None)
            there = self._disks.on(device)
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
        there = self._disks.on(device)
        if number not in there:
            has = f"OSD {_list(there)}" if there else "no OSD"
            raise Refused(f"{device} of {self._node} holds {has}, not OSD {number}")
        progress(0, 2, f"starting OSD {number} on {device}")
        self._start(number, device)
        return {"osd": str(number), "device": device, "message": f"OSD {number} is up on {device} of {self._node}"}

    def replace(self, args: Args, progress: Progress) -> dict[str, object]:
        """The OSD of this number, on another disk: its data come from the other copies."""
        number, device = int(args["osd"]), devices.named(self._context, str(args["new_device"]))
        left = ""
        if number not in self._disks.on(device):
            self._known(number)
            if self._disks.on(device):
                raise Refused(f"{device} of {self._node} has OSD {_list(self._disks.on(device))} already")
            self._ok_to_stop(number)
            progress(0, 4, f"taking OSD {number} off its old disk")
            self._stop(number)
            old = str(args["old_device"] or self._disks.device_of(number))
            self._driver.ask("osd destroy-actual", id=number, yes_i_really_mean_it=True)
            left = self._disks.wipe(old, number)
            progress(1, 4, f"making OSD {number} on {device}")
            self._disks.make(device, 1, args, number)
        progress(2, 4, f"starting OSD {number}")
        self._start(number, device)
        self._weigh(args, [number])
        return {
            "osd": str(number),
            "device": device,
            "message": f"OSD {number} is up on {device} of {self._node}{left}",
        }

    def remove(self, args: Args, progress: Progress) -> dict[str, object]:
        """Its data go to the other OSDs first, and only what Ceph calls safe is destroyed. `force`: without waiting."""
        number, force = int(args["osd"]), bool(args["force"])
        device = self._disks.device_of(number)
        if number not in self._numbers():
            left = self._disks.wipe(device, number) if device else ""  # of an attempt that was interrupted
            return {"osd": str(number), "message": f"there is no OSD {number}{left}"}
        self._driver.ask("osd out", ids=[str(number)])
        if not force:
            self._drain(number, progress)
        progress(90, 100, f"stopping OSD {number}")
        self._stop(number)
        self._driver.ask("osd purge-actual", id=number, yes_i_really_mean_it=True)
        left = self._disks.wipe(device, number)
        self._forget_empty_host()
        return {"osd": str(number), "device": device, "message": f"OSD {number} of {self._node} is removed{left}"}

    def make_db(self, args: Args, progress: Progress) -> dict[str, object]:
        """A volume group on a fast disk, from which databases of OSDs get their part. There already: fine."""
        device = devices.named(self._context, str(args["device"]))
        if self._context.run(["vgs", DB_GROUP], deadline_s=_STEP_S).returncode:
            progress(0, 1, f"making volume group {DB_GROUP} on {device}")
            self._disks.run(["pvcreate", "--yes", device], f"preparing {device}")
            self._disks.run(["vgcreate", DB_GROUP, device], f"making volume group {DB_GROUP}")
        said = f"volume group {DB_GROUP} of {self._node} is there for OSDs' databases"
        return {"group": DB_GROUP, "device": device, "message": said}

    # -- the daemon ----------------------------------------------------------------------------------------------------

    def _start(self, number: int, device: str) -> None:
        unit = f"ceph-osd@{number}.service"
        here = self._context.run(["systemctl", "is-active", unit], deadline_s=_STEP_S).returncode == 0
        if not (here and self._up(number)):  # Ceph may not have missed the one on its former node yet
            self._disks.activate(number, device)
            self._disks.run(["systemctl", "start", unit], f"starting OSD {number}")
        end = self._context.clock.boottime_s() + _UP_S
        while not self._up(number):
            self._pause(end, f"OSD {number} of {self._node} does not come up", "see the log of ceph-osd")

    def _stop(self, number: int) -> None:
        self._disks.run(["systemctl", "stop", f"ceph-osd@{number}.service"], f"stopping OSD {number}")
        self._driver.ask("osd down", ids=[str(number)])

    # -- Ceph ----------------------------------------------------------------------------------------------------------

    def _numbers(self) -> list[int]:
        return [int(one) for one in self._driver.ask("osd ls")]

    def _known(self, number: int) -> None:
        if number not in self._numbers():
            raise NotFound(f"there is no OSD {number}", help="`pvc storage osd list` shows them")

    def _none_is_left_over(self, device: str, there: list[int]) -> None:
        known = self._numbers() if there else []
        gone = [one for one in there if one not in known]
        if gone:
            raise Refused(
                f"{device} of {self._node} holds what is left of OSD {_list(gone)}, which Ceph has no more",
                help="wipe the disk if nobody needs that",
            )

    def _up(self, number: int) -> bool:
        dump = self._driver.ask("osd dump")["osds"]
        return any(int(one["osd"]) == number and one["up"] for one in dump)

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

    def _pause(self, end_s: float | None, late: str, helps: str) -> None:
        if self._context.stopping():
            raise Retry("interrupted: the daemon is ending", help="it is begun again by itself")
        if end_s is not None and self._context.clock.boottime_s() > end_s:
            raise Permanent(late, help=helps)
        self._sleep(_LOOK_S)


def _list(numbers: list[int]) -> str:
    return ", ".join(str(one) for one in numbers)
