"""Asked inside a machine with Debian's kernel and empty disks (osds_in_vm.py starts it): OSDs on logical volumes, by
the plugin's own actions and the real ceph-volume and LVM. What Ceph holds is read back after every step.

One story, told in the order of the file: each test goes on where the one above it ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.ceph_conf import Monitor, client_conf
from lab.ceph_make import Ceph, run_here
from pvc_core.errors import Refused, Retry
from pvc_core.testing.context import FakeContext
from pvc_core.units import GIB
from pvc_storage_ceph.actions import ACTIONS
from pvc_storage_ceph.driver import CephStorage
from pvc_storage_ceph.osd_disks import DB_GROUP
from pvc_storage_ceph.osds import Osds

NODE, POOL = "hv1", "data"
ONE, MANY, WITH_DB, FAST, SPARE = (f"/dev/vd{letter}" for letter in "abcde")
LONG_S = 300.0
BOUND = Path("/sys/bus/virtio/drivers/virtio_blk")
CONF = """\
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
[osd]
run_dir = /run/ceph
pid_file = /run/ceph/$name.pid
bluestore_fsck_on_mkfs = false
bdev_aio_poll_ms = 10
bluestore_cache_autotune = false
bluestore_cache_size = 33554432
osd_mclock_skip_benchmark = true
osd_heartbeat_grace = 60
"""
SYSTEMCTL = """#!/bin/sh
number=${2#ceph-osd@}; number=${number%.service}
runs() { pid=$(cat "/run/ceph/osd.$number.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null; }
case "$1" in
is-active) runs ;;
start) runs || exec ceph-osd -i "$number" --setuser ceph --setgroup ceph ;;
stop) runs && kill "$pid" && while runs; do sleep 0.1; done; exit 0 ;;
esac
"""
"""There is no systemd in the machine."""


class Story:
    def __init__(self, ceph: Ceph) -> None:
        self.ceph = ceph
        config = {
            "conf": str(ceph.conf), "user": "admin", "keyring": "", "pool_prefix": "", "state": "/run/pvc-ceph",
            "osd_mode": "lvm", "bootstrap": "/var/lib/ceph/bootstrap-osd/ceph.keyring",
        }  # fmt: skip
        self.context = FakeContext(config, node=NODE)
        self.driver = CephStorage(self.context)
        self._actions = Osds(self.context, self.driver).actions()
        self._began_s = time.monotonic()

    def do(self, action: str, **args: Any) -> dict[str, Any]:
        schema = next(one.schema for one in ACTIONS if one.name == action)
        self.say(f"{action} {args}")
        return dict(self._actions[action](schema().load(args), lambda *said: self.say(str(said[-1]))))

    def say(self, what: str) -> None:
        print(f"[{time.monotonic() - self._began_s:5.0f} s] {what}", flush=True)

    def up(self) -> set[int]:
        return {int(one["osd"]) for one in self.ask("osd dump")["osds"] if one["up"] and one["in"]}

    def keeps_all(self) -> bool:
        """What was written before any OSD was touched, now that all placement groups are whole again."""
        eventually(lambda: set(self._states()) == {"active+clean"}, "all placement groups are clean")
        return _rados("get", "all", "-") == _content()

    def _states(self) -> list[str]:
        return [str(one["state_name"]) for one in self.ask("status")["pgmap"].get("pgs_by_state", [])]

    def ask(self, prefix: str, **words: Any) -> Any:
        """Of a connection that stands: `ceph` itself takes long to start here."""
        return self.driver.ask(prefix, **words)


def eventually(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LONG_S
    while True:
        with suppress(Retry):
            if true():
                return
        assert time.monotonic() < end, f"not within {LONG_S:.0f} s: {what}"
        time.sleep(0.5)


def _content() -> str:
    return "what was written stays " * 4000


def _rados(*words: str, given: str = "") -> str:
    argv = ["timeout", "120", "rados", "-c", "/etc/ceph/ceph.conf", "--pool", POOL, *words]
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    directory = Path("/run/lab-ceph")
    directory.mkdir()
    ceph = Ceph(
        directory=directory,
        monitors=[Monitor(name="a", address="127.0.0.1")],
        mon_runs=[run_here],
        osds=[],
        network="127.0.0.0/8",
        copies=2,
    )
    _furnish(ceph)
    ceph.make()
    story = Story(ceph)
    eventually(lambda: story.driver.ask("fsid"), "the node has its keys")  # a child's first start takes long here
    yield story
    story.driver.close()


def _furnish(ceph: Ceph) -> None:
    """What an installed node has: its files, a systemctl. Its udev runs already: ceph-volume takes a logical volume for
    one by the links that udev makes.
    """
    for place in (
        "/var/lib/ceph/osd",
        "/var/lib/ceph/bootstrap-osd",
        "/var/lib/ceph/tmp",
        "/var/log/ceph",
        "/run/ceph",
    ):
        Path(place).mkdir(parents=True, exist_ok=True)
        shutil.chown(place, "ceph", "ceph")
    for place in ("/etc/ceph", "/run/lock", "/run/bin", "/dev/shm"):
        Path(place).mkdir(parents=True, exist_ok=True)
    Path("/etc/ceph/ceph.conf").write_text(client_conf(ceph.fsid, ceph.monitors).replace("[client]", f"{CONF}[client]"))
    Path("/etc/ceph/ceph.client.admin.keyring").symlink_to(ceph.directory / "client.admin.keyring")
    Path("/run/bin/systemctl").write_text(SYSTEMCTL)
    Path("/run/bin/systemctl").chmod(0o755)
    os.environ["PATH"] = f"/run/bin:{os.environ['PATH']}"


def test_one_on_a_whole_disk(story: Story) -> None:
    made = story.do("osd_add", device=ONE)
    assert made["osds"] == ["0"] and story.up() == {0}
    assert story.do("osd_add", device=ONE)["osds"] == ["0"], "a second time nothing"


def test_its_database_in_a_volume_group_of_a_fast_disk(story: Story) -> None:
    with pytest.raises(Refused, match="no volume group osd-db"):
        story.do("osd_add", device=WITH_DB, ext_db_ratio=0.1)
    story.do("osd_db", device=FAST)
    assert "is there" in story.do("osd_db", device=FAST)["message"]
    made = story.do("osd_add", device=WITH_DB, ext_db_ratio=0.123)
    assert made["osds"] == ["1"] and story.up() == {0, 1}
    about = story.ask("osd metadata", id=1)
    assert about["bluefs_dedicated_db"] == "1" and about["bluefs_db_devices"] == Path(FAST).name
    assert 0.123 * 6 * GIB <= int(about["bluefs_db_size"]) < 0.124 * 6 * GIB
    story.ask("osd pool create", pool=POOL, pg_num=8)
    _rados("put", "all", "-", given=_content())


def test_its_disk_got_another_name(story: Story) -> None:
    """As after a move to another slot: taken out, and found again after another one."""
    story.context.run(["systemctl", "stop", "ceph-osd@0"], deadline_s=60.0)
    group = story.context.run(["pvs", "--noheadings", "-o", "vg_name", ONE], deadline_s=60.0).stdout.strip()
    assert story.context.run(["vgchange", "--activate", "n", group], deadline_s=60.0).returncode == 0
    _swap_names(Path(ONE).name, Path(SPARE).name)
    with pytest.raises(Refused, match="no OSD, not OSD 0"):
        story.do("osd_refresh", osd=0, device=ONE)
    assert f"OSD 0 is up on {SPARE}" in story.do("osd_refresh", osd=0, device=SPARE)["message"]
    assert story.up() == {0, 1} and story.keeps_all()


def test_the_same_number_on_another_disk(story: Story) -> None:
    """ONE is empty now: it was the spare disk before its name."""
    story.do("osd_replace", osd=0, new_device=ONE)
    assert story.up() == {0, 1} and story.keeps_all()
    assert _is_blank(SPARE)


def test_two_on_one_disk(story: Story) -> None:
    assert story.do("osd_add", device=MANY, osd_count=2)["osds"] == ["2", "3"]
    assert story.up() == {0, 1, 2, 3} and story.keeps_all()


def test_removed_one_after_the_other(story: Story) -> None:
    story.do("osd_remove", osd=1)
    assert _is_blank(WITH_DB) and story.keeps_all()
    room = ["vgs", "--noheadings", "-o", "lv_count", DB_GROUP]
    assert story.context.run(room, deadline_s=60.0).stdout.strip() == "0", "the group stays, its part is given back"
    story.do("osd_remove", osd=2)
    assert not _is_blank(MANY) and story.keeps_all(), "the other OSD of that disk lives"
    story.do("osd_remove", osd=3, force=True)
    assert _is_blank(MANY) and story.up() == {0}
    assert story.ask("osd ls") == [0]


def _swap_names(one: str, other: str) -> None:
    """Both disks are taken away; the kernel gives names in the order in which they come."""
    devices = {name: Path(f"/sys/block/{name}/device").resolve().name for name in (one, other)}
    for device in devices.values():
        (BOUND / "unbind").write_text(device)
    for name in (other, one):
        (BOUND / "bind").write_text(devices[name])


def _is_blank(device: str) -> bool:
    """Nothing known is on it, for LVM, for Ceph and for anybody else."""
    said = subprocess.run(["blkid", "--probe", device], capture_output=True, text=True, check=False)
    held = os.listdir(f"/sys/block/{Path(device).name}/holders")
    return said.returncode == 2 and said.stdout == "" and not held
