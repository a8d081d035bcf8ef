"""The main job on a real lab: guests made over HTTP boot, count, keep running when daemons die; and the demo, twice."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.state import REPOSITORY

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = pytest.mark.system


def test_a_guest_boots_and_is_not_disturbed_when_daemons_die(lab: RunningLab) -> None:
    started = time.monotonic()
    console = lab.guest("counts")
    print(f"login after {time.monotonic() - started:.1f} s")
    assert "PVC demo guest counts" in console
    lab.eventually(lambda: "eth0: 10.70.0." in lab.console("counts"), "the guest has an address from the DHCP server")
    lab.eventually(lambda: lab.ticks("counts") > 2, "the guest counts")
    pid = lab.exec("hv1", "pgrep", "-f", "guest=counts")
    before = lab.ticks("counts")
    for process in ("pvcnoded", "libvirtd", "pvcapid", "pvcguard", "pvcstored"):
        lab.kill("hv1", process)
    lab.eventually(lambda: all(unit["state"] == "active" for unit in lab.units("hv1").values()), "all daemons are back")
    lab.eventually(lambda: lab.api.answers(), "the API answers again")
    lab.eventually(lambda: lab.ticks("counts") > before + 5, "the guest counts on")
    assert lab.exec("hv1", "pgrep", "-f", "guest=counts") == pid
    assert "running" in lab.exec("hv1", "virsh", "domstate", "counts")
    lab.remove_guest("counts")
    lab.eventually(lambda: "counts" not in lab.exec("hv1", "virsh", "list", "--all", "--name"), "the guest is gone")


def test_the_command_line_reaches_the_lab(lab: RunningLab) -> None:
    done = lab.pvc("node", "list", "-f", "raw")
    assert (done.returncode, done.stdout.split()) == (0, ["hv1"]), done.stderr


def test_a_node_comes_back_after_a_power_cut(own_lab: RunningLab) -> None:
    own_lab.guest("kept")
    own_lab.power_off("hv1")
    assert not own_lab.api.answers()
    own_lab.power_on("hv1")
    own_lab.eventually(own_lab.api.answers, "the API answers after power on")
    assert [volume["name"] for volume in own_lab.api.get("/storage/ceph/volume")] == ["kept-root"]
    assert [vm["name"] for vm in own_lab.api.get("/vm")] == ["kept"]


def test_the_demo_twice(labs: Path) -> None:
    first = _demo()
    assert "| demo login:" in first
    assert "| eth0: 10.70.0." in first
    assert "script/lab down --name demo" in first
    started = time.monotonic()
    again = _demo()
    print(f"second run: {time.monotonic() - started:.1f} s")
    assert "runs already" in again
    assert "| demo login:" in again


def _demo() -> str:
    done = subprocess.run([REPOSITORY / "script/demo"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
