"""A guest on an RBD volume in a lab with a real Ceph: it boots, PVC and Ceph say the same of its disk, power goes and
comes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.lab_fixture import RunningLab as MakeLab

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytestmark = pytest.mark.system


@pytest.fixture
def ceph_lab() -> Iterator[RunningLab]:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    running = MakeLab(f"ceph{os.getpid()}", storage="ceph")
    yield running
    running.down()


def test_a_guest_boots_from_ceph(ceph_lab: RunningLab) -> None:
    lab = ceph_lab
    assert "PVC demo guest stored" in lab.guest("stored")
    assert lab.exec("hv1", "rbd", "ls", "vms").split() == ["stored-root"]
    disk = lab.exec("hv1", "virsh", "dumpxml", "stored")
    assert "protocol='rbd'" in disk and "name='vms/stored-root'" in disk
    watchers = lab.exec("hv1", "rbd", "status", "vms/stored-root")
    assert "watcher=10.72.0.11:0/" in watchers, "the guest's QEMU comes from the storage network"
    lab.eventually(lambda: lab.ticks("stored") > 1, "it counts")
    lab.power_off("hv1")
    lab.power_on("hv1")
    lab.eventually(lab.api.answers, "the API answers after power on")
    lab.eventually(lambda: "1 up" in lab.exec("hv1", "ceph", "osd", "stat"), "the OSD is back with the power")
    # What the dead QEMU had locked hinders nobody: it boots from its disk, and counts anew.
    counted = lab.ticks("stored")
    lab.eventually(lambda: lab.ticks("stored") not in (0, counted), "it has booted again", deadline_s=180)
    assert [one["name"] for one in lab.api.get("/storage/ceph/volume")] == ["stored-root"]
