"""Three real nodes lose their power, their networks, their controllers, their daemons: no guest executes twice, none is
lost, and what cannot be proved is said in words. Seen by a watcher that asks nobody (doubles.py).

Each fault ends with the cluster whole again. The others of failover_faults.py are script/soak --rounds'.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.failover import Rig
from tests.lab.failover_faults import FAULTS, play
from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

PLAYED = (
    "power of the store's leader fails",
    "cut off",
    "cut off, BMC dead",
    "power fails, BMC dead, a person vouches",
    "storage network cut",
    "the primary's pvcnoded dies while it fences",
    "power of all fails and comes back",
)


@pytest.fixture(scope="module")
def rig(lab3: RunningLab) -> Iterator[Rig]:
    made = Rig(lab3, count=3)
    yield made
    made.close()
    assert not made.watch.found, made.watch.found


@pytest.mark.parametrize("name", PLAYED)
def test_every_guest_runs_exactly_once(rig: Rig, name: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    came = play(rig, fault)
    print(f"{name}: node {came.node}, elsewhere after {came.elsewhere_s} s, whole after {came.took_s:.0f} s")
    print("\n".join(came.notes))
    assert not came.doubles
