"""Guests that move between real nodes while their console counts seconds, on ZooKeeper and TLS: with daemons killed and
the target's libvirtd stopped in the middle (schedule X4, where libvirt alone ran the guest on both nodes).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab import LabError
from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VM = "mover"


@pytest.fixture(scope="module")
def guest(lab3: RunningLab) -> Iterator[RunningLab]:
    """The lab, with a guest that ticks."""
    lab3.guest(VM, node="hv1")
    yield lab3
    lab3.remove_guest(VM)


def test_it_moves_and_counts_on(guest: RunningLab) -> None:
    for action, node in (("migrate", "hv2"), ("unmigrate", "hv1"), ("move", "hv3")):
        before, began = _ticks(guest), time.monotonic()
        guest.api.post(
            f"/vm/{VM}/node", action=action, wait="true", **({} if action == "unmigrate" else {"node": node})
        )
        print(f"{action} to {node}: {time.monotonic() - began:.2f} s")
        vm = _vm(guest)
        assert (vm["node"], vm["migrated"]) == (node, "yes" if action == "migrate" else "no")
        _counts_on(guest, before)
        assert _processes(guest) == _arrived(guest) == {node: 1}


def test_who_waits_hears_the_end_though_every_api_is_killed_meanwhile(guest: RunningLab) -> None:
    source, target = _sides(guest)
    before = _ticks(guest)
    guest.exec(source, "virsh", "migrate-setspeed", VM, "--bandwidth", "2")
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(guest.pvc, "vm", "move", VM, "-t", target, "--force-live", "-w")
        guest.eventually(lambda: "% copied" in _says(guest), "memory is copied")
        for name in guest.coordinators:
            guest.kill(name, "pvcapid")
        _hurry(guest, source)
        done = waiting.result()
    assert (done.returncode, done.stdout) == (0, f"VM {VM} lives on {target}.\n"), done.stderr
    assert "The answer was lost; what was asked for goes on." in done.stderr
    _counts_on(guest, before)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_daemon_is_killed_while_memory_is_copied(guest: RunningLab, side: str) -> None:
    source, target = _sides(guest)
    before = _ticks(guest)
    _begin_slowly(guest, source, target)
    guest.kill(source if side == "source" else target, "pvcnoded")
    _hurry(guest, source)
    guest.eventually(lambda: _node(guest) == target and _state(guest) == "start", "it has arrived", deadline_s=90)
    _counts_on(guest, before)
    assert _processes(guest) == _arrived(guest) == {target: 1}


def test_x4_the_targets_libvirtd_is_stopped_while_memory_is_copied(guest: RunningLab) -> None:
    source, target = _sides(guest)
    before = _ticks(guest)
    _begin_slowly(guest, source, target)
    guest.kill(target, "libvirtd", signal="SIGSTOP")
    try:
        guest.eventually(lambda: "trying again" in _says(guest), "libvirt gives up", deadline_s=120)
        assert _node(guest) == source
    finally:
        guest.kill(target, "libvirtd", signal="SIGCONT")
    guest.api.post(f"/vm/{VM}/node", action="move", node=source)
    guest.eventually(lambda: _processes(guest) == {source: 1}, "no copy is left on the target", deadline_s=60)
    _counts_on(guest, before)


def _sides(lab: RunningLab) -> tuple[str, str]:
    source = _node(lab)
    return source, next(node for node in lab.nodes if node != source)


def _begin_slowly(lab: RunningLab, source: str, target: str) -> None:
    """It is in the middle of being copied when this returns."""
    lab.exec(source, "virsh", "migrate-setspeed", VM, "--bandwidth", "2")
    lab.api.post(f"/vm/{VM}/node", action="move", node=target, force_live="true")
    lab.eventually(lambda: "% copied" in _says(lab), "memory is copied")


def _hurry(lab: RunningLab, source: str) -> None:
    lab.exec(source, "virsh", "migrate-setspeed", VM, "--bandwidth", "1000")


def _counts_on(lab: RunningLab, before: int) -> None:
    lab.eventually(lambda: _ticks(lab) > before + 1 > 1, "it counts on")


def _arrived(lab: RunningLab) -> dict[str, int]:
    """How many QEMUs that took it over from another node carry it: one that was started anew is none of them."""
    return _processes(lab, "-incoming")


def _ticks(lab: RunningLab) -> int:
    """0 while the daemon that would tell is being started again."""
    try:
        return lab.ticks(VM)
    except LabError:
        return 0


def _processes(lab: RunningLab, option: str = "") -> dict[str, int]:
    """How many QEMUs carry it, by node."""
    found = {}
    for node in lab.nodes:
        try:
            lines = lab.exec(node, "pgrep", "-fc", f"qemu-system.*guest={VM},.*{option}")
        except LabError:
            continue  # none
        found[node] = int(lines.strip())
    return found


def _vm(lab: RunningLab) -> dict[str, Any]:
    (vm,) = lab.api.get(f"/vm/{VM}")
    return dict(vm)


def _node(lab: RunningLab) -> str:
    return str(_vm(lab)["node"])


def _state(lab: RunningLab) -> str:
    return str(_vm(lab)["state"])


def _says(lab: RunningLab) -> str:
    return str(_vm(lab)["status"])
