"""The most telling pairs of (step, fault) on real nodes; `script/soak --migrations` plays them all, tests/sim plays
them without real parts. Whoever executes the guest is watched from outside (execution.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab_fixture import RunningLab
from tests.system.move_grid import ANEW, CUT, MOVED, STAYED, Pair, Rig

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]
VM = "traveller"


@pytest.fixture(scope="module")
def rig(lab3: RunningLab) -> Iterator[Rig]:
    with lab3.unfenced():
        yield Rig(lab3, VM)
    lab3.remove_guest(VM)


@pytest.mark.parametrize(
    ("step", "side", "fault", "outcomes"),
    [
        ("gone", "source", "pvcnoded dies", {MOVED}),
        ("arrived", "target", "pvcnoded dies", {MOVED}),
        ("stamped", "target", "pvcnoded dies", {MOVED}),
        ("copying", "source", "libvirtd dies", {MOVED, STAYED}),
        ("copying", "target", "libvirtd dies", {MOVED, STAYED}),
        ("gone", "source", CUT, {MOVED}),
        ("stamped", "target", CUT, {MOVED}),
        ("set out", "source", "power fails", {ANEW}),
        ("arrived", "target", "power fails", {ANEW}),
    ],
)
def test_one_guest_is_left(rig: Rig, step: str, side: str, fault: str, outcomes: set[str]) -> None:
    came = rig.play(Pair(step, side, fault))
    assert came.outcome in outcomes, str(came)
