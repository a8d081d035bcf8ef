"""Every coordinator is lost with its disk, and a hypervisor with a running guest is left: docs/backup.md, "All
coordinators lost", from start to end. The guest that runs is never started a second time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab import LabError
from tests.lab_fixture import RunningLab

pytestmark = [pytest.mark.system, pytest.mark.slow]
COORDINATORS = ("hv1", "hv2", "hv3")
OF_THE_MACHINE = ("machine-uuid", "bmc-password")
JOIN = (
    "pvcnoded join {token} --network upstream=eth0,10.70.0.1{n}/24 --network cluster=eth1,10.71.0.1{n}/24 "
    "--network storage=eth2,10.72.0.1{n}/24"
)


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    running = RunningLab(f"lost{os.getpid()}", nodes=4)
    yield running
    running.down()


def test_a_fresh_store_a_restore_and_the_guest_that_ran_on(lab: RunningLab, tmp_path: Path) -> None:
    lab.guest("kept", node="hv4")
    lab.guest("lost", node="hv2")
    file, kept = tmp_path / "backup.json", tmp_path / "etc-pvc"
    assert lab.pvc("cluster", "backup", str(file)).returncode == 0
    shutil.copytree(lab.root_of("hv1") / "etc/pvc", kept, symlinks=True)
    pid, before = qemu(lab, "hv4", "kept"), lab.ticks("kept")

    for node in COORDINATORS:
        lab.power_off(node)
    for node in COORDINATORS:
        bare(lab.root_of(node))
    shutil.copytree(kept, lab.root_of("hv1") / "etc/pvc", symlinks=True, dirs_exist_ok=True)
    for node in COORDINATORS:
        lab.power_on(node)

    said = lab.exec("hv1", "pvcnoded", "init", "--fresh-store")
    assert "hv1 begins an empty store alone" in said and "[hv1]" in yaml_of(lab, "hv1")
    start(lab, "hv1")
    lab.eventually(lambda: "hv4" in members(lab), "hv4 has found the new store", deadline_s=120)
    assert qemu(lab, "hv4", "kept") == pid
    why = ("pvc", "-c", "local", "node", "why", "hv4")
    lab.eventually(lambda: "the store is not the one this node has served" in lab.exec("hv1", *why), "hv4 knows")
    refused(lab, "hv1", "pvcnoded init --fresh-store", "there is data of the old one")

    for number, node in enumerate(COORDINATORS[1:], 2):
        token = lab.exec("hv1", "pvcnoded", "token", "--for", node, "--coordinators", "hv1,hv2,hv3").split()[-1]
        join = JOIN.format(token=token, n=number)
        lab.eventually(partial(_done, lab, node, join), "its network, made just now, carries", deadline_s=60)
        lab.exec(node, "systemctl", "restart", "pvc-zookeeper")
    lab.exec("hv1", "pvcnoded", "coordinators", "hv1", "hv2", "hv3")
    for node in COORDINATORS[1:]:
        start(lab, node)
    lab.eventually(lambda: all(node in members(lab) for node in lab.nodes), "all are members", deadline_s=120)
    assert qemu(lab, "hv4", "kept") == pid

    shutil.copy(file, lab.root_of("hv1") / "var/backup.json")
    lab.eventually(lambda: restored(lab), "the backup is taken", deadline_s=240)
    lab.eventually(lambda: state(lab, "kept") == "running on hv4", "kept is known again", deadline_s=120)
    lab.eventually(lambda: state(lab, "lost").startswith("running on"), "lost is started anew", deadline_s=120)
    lab.eventually(lambda: lab.ticks("kept") > before + 10, "kept counts on")
    assert qemu(lab, "hv4", "kept") == pid, "it is the process that ran all the time"
    for name in ("kept", "lost"):
        assert sum(qemu(lab, node, name) != "" for node in lab.nodes) == 1


def restored(lab: RunningLab) -> bool:
    """The primary may be another now that there are three coordinators; then it is asked again."""
    try:
        said = lab.exec("hv1", "pvc", "-c", "local", "cluster", "restore", "-y", "/var/backup.json")
    except LabError:
        return False
    return "the store is in its era 2" in said


def bare(root: Path) -> None:
    """A new machine of the old name: nothing of PVC is on its disk."""
    for path in (root / "etc/pvc").iterdir():
        if path.name not in OF_THE_MACHINE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for place in ("var/lib/pvc", "var/lib/libvirt", "var/log/libvirt"):
        for path in (root / place).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def start(lab: RunningLab, node: str) -> None:
    lab.exec(node, "systemctl", "restart", "pvc-zookeeper", "libvirtd", "pvcguard", "pvcnoded", "pvcapid")


def members(lab: RunningLab) -> str:
    try:
        return lab.exec("hv1", "pvc", "-c", "local", "node", "list")
    except LabError:
        return ""


def state(lab: RunningLab, vm: str) -> str:
    try:
        return str(lab.api.get(f"/vm/{vm}")[0]["status"])
    except LabError:
        return ""


def yaml_of(lab: RunningLab, node: str) -> str:
    return (lab.root_of(node) / "etc/pvc/pvc.yaml").read_text()


def refused(lab: RunningLab, node: str, command: str, why: str) -> None:
    with pytest.raises(LabError, match=why):
        lab.exec(node, "bash", "-c", command)


def qemu(lab: RunningLab, node: str, vm: str) -> str:
    """The ids of its QEMUs there."""
    try:
        return lab.exec(node, "pgrep", "-f", f"qemu-system.*guest={vm},").strip()
    except LabError:
        return ""


def _done(lab: RunningLab, node: str, command: str) -> bool:
    lab.exec(node, "bash", "-c", command)
    return True
