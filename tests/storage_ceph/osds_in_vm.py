"""OSDs on logical volumes: osds_on_lvm.py, asked in an emulated machine with Debian's kernel and five disks of its own.

A container has no device mapper. It takes some minutes, for ceph-volume is slow on emulated processors, and is not
part of script/test:

    script/soak --osds
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from pvc_core.units import GIB
from tests.tcg import VIRTIOFSD, run

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".cache" / "sriov"
SCRIPT = """
modprobe -d {root} -a virtio_blk dm-mod
cp -a {root}/lib/udev/. /usr/lib/udev/
cp {root}/bin/udevadm /usr/bin/
ln -s /usr/bin/udevadm /run/systemd-udevd
/run/systemd-udevd --daemon && udevadm trigger && udevadm settle
echo hv1 >/proc/sys/kernel/hostname
mkdir -p /dev/shm && mount -t tmpfs t /dev/shm
cd {here}
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=.
exec {python} -m pytest -q -x -s --color=no -p no:cacheprovider -p no:xdist tests/storage_ceph/osds_on_lvm.py
"""
WITHIN_S = 1500.0
DISKS = 5

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="virtiofsd needs root"),
    pytest.mark.skipif(not VIRTIOFSD.exists(), reason="virtiofsd is not installed"),
    pytest.mark.skipif(
        not (PLACE / "done").exists(), reason="needs a kernel and a QEMU: tests/net_sriov/fetch gets them"
    ),
]


def test_the_story_of_osds_on_disks(tmp_path: Path) -> None:
    words = []
    for number in range(DISKS):
        image = tmp_path / f"disk{number}"
        with image.open("wb") as new:
            new.truncate((12 if number == 1 else 6) * GIB)
        words += ["-drive", f"if=none,id=d{number},file={image},format=raw,cache=unsafe,discard=unmap"]
        words += ["-device", f"virtio-blk-pci,drive=d{number},serial=disk{number}"]
    names = {"root": str(PLACE / "root"), "here": str(ROOT), "python": sys.executable}
    script = SCRIPT.format(**{name: shlex.quote(word) for name, word in names.items()})
    ended = run(script, PLACE, words, within_s=WITHIN_S, memory_mb=3072)
    print(ended.said)
    assert ended.code == 0, ended.said
