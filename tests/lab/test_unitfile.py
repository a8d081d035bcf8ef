"""The units that ship are read; words the lab's init would not honour are refused, with file and line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lab import LabError
from lab.node import STORES, all_units, units_of
from lab.state import REPOSITORY, Plan
from lab.unitfile import Command, read_unit, seconds

SHIPPED = sorted([*(REPOSITORY / "deploy").glob("*.service"), *(REPOSITORY / "lab/units").rglob("*.service")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_unit_is_understood(path: Path) -> None:
    unit = read_unit(path)
    assert unit.description
    assert unit.restart == ("no" if unit.type == "oneshot" else "always")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_itself_understands_them(tmp_path: Path) -> None:
    """Only that PVC's programs are not installed on this machine may be wrong with them."""
    units = [shutil.copy(path, tmp_path) for path in SHIPPED if path.parent.name == "deploy"]
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True).stderr
    assert [line for line in said.splitlines() if "is not executable" not in line] == []


@pytest.mark.parametrize("store", sorted(STORES))
def test_the_order_of_the_daemons_is_store_guard_node_api(store: str) -> None:
    enabled = units_of(Plan("t", ["hv1"], store=store), "hv1")
    units = [read_unit(path) for path in all_units() if path.name in enabled]
    here = {unit.name for unit in units}
    started: list[str] = []
    while len(started) < len(units):
        ready = [u.name for u in units if u.name not in started and here & set(u.after) <= set(started)]
        assert ready, "the units wait for each other in a circle"
        started += sorted(ready)
    of_pvc = [name.removesuffix(".service") for name in started if name.startswith("pvc")]
    store_unit = STORES[store].removesuffix(".service")
    assert of_pvc == ["pvc-hostnet", store_unit, "pvcguard", "pvcnoded", "pvcapid", "pvc-leave"]
    assert started.index("libvirtd.service") < started.index("pvcnoded.service")


def test_coordinators_serve_the_api_and_the_store_and_hypervisors_neither() -> None:
    plan = Plan("t", ["hv1", "hv2", "hv3", "hv4"], store="zookeeper")
    assert plan.coordinators == ["hv1", "hv2", "hv3"]
    both = ["pvc-hostnet.service", "libvirtd.service", "pvcguard.service", "pvcnoded.service", "pvc-leave.service"]
    assert units_of(plan, "hv3") == ["pvc-zookeeper.service", *both, "pvcapid.service"]
    assert units_of(plan, "hv4") == both


def test_the_node_daemon_does_not_go_down_with_libvirtd() -> None:
    assert read_unit(REPOSITORY / "deploy/pvcnoded.service").requires == []


def test_all_words(tmp_path: Path) -> None:
    path = tmp_path / "all.service"
    path.write_text(
        "# a comment\n[Unit]\nDescription=Everything\nAfter=a.service b.service\nWants=a.service\n"
        "Requires=b.service\n\n"
        "[Service]\nType=notify\nUser=pvc\nEnvironment=ONE=1 'TWO=two words'\nExecStartPre=-false\nExecStartPre=true\n"
        "ExecStop=daemon --end\nRemainAfterExit=yes\n"
        "ExecStart=daemon --flag 'a b' \\\n  --dir ${CREDENTIALS_DIRECTORY}/x\nRestart=on-failure\nRestartSec=500ms\n"
        "TimeoutStartSec=1min 30s\nRuntimeDirectory=pvc\nStateDirectory=pvc/store\nLoadCredential=key:/etc/key\n"
        "KillMode=process\n"
    )
    unit = read_unit(path)
    assert (unit.after, unit.wants, unit.requires) == (["a.service", "b.service"], ["a.service"], ["b.service"])
    assert unit.environment == {"ONE": "1", "TWO": "two words"}
    assert unit.exec_start_pre == [Command(("false",), may_fail=True), Command(("true",))]
    assert unit.exec_stop == [Command(("daemon", "--end"))]
    assert unit.exec_start.expanded({"CREDENTIALS_DIRECTORY": "/c"}) == ["daemon", "--flag", "a b", "--dir", "/c/x"]
    assert (unit.type, unit.user, unit.restart, unit.restart_s, unit.timeout_start_s) == (
        "notify",
        "pvc",
        "on-failure",
        0.5,
        90,
    )
    assert (unit.runtime_directory, unit.state_directory, unit.credentials) == (
        ["pvc"],
        ["pvc/store"],
        {"key": "/etc/key"},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Service]\nExecStart=x\nProtectSystem=strict\n", "line 3: the lab's init does not know ProtectSystem="),
        ("[Service]\nExecStart=x\nKillMode=mixed\n", "line 3: KillMode=mixed: allowed are process"),
        ("[Service]\nType=forking\n", "line 2: Type=forking: allowed are simple, notify, oneshot"),
        ("[Service]\nRestartSec=soon\n", "line 2: RestartSec=soon: not a time"),
        ("[Service]\nExecStart=+x\n", "line 2: ExecStart=+x: of the prefixes only '-' is known"),
        ("[Service]\nwhat is this\n", "line 2: 'what is this' is not KEY=value"),
        ("[Unit]\nDescription=nothing\n", "there is no ExecStart="),
    ],
)
def test_what_it_does_not_know_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.service"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        read_unit(path)
    assert said in str(caught.value)
    assert "bad.service" in str(caught.value)


def test_times() -> None:
    assert [seconds(text) for text in ("5", "250ms", "2min", "1h 1s")] == [5, 0.25, 120, 3601]
