"""The fake answers the questions that every compute driver is asked, and keeps its ledger honestly."""

from __future__ import annotations

import pytest

from pvc_core.testing.compute import FakeComputeWorld
from pvc_core.testing.contract_compute import ComputeContract

from .fake_rig import FakeComputeRig

UUID = "11111111-2222-3333-4444-555555555555"


class TestFake(ComputeContract):
    @pytest.fixture
    def rig(self) -> FakeComputeRig:
        return FakeComputeRig()


def test_the_ledger_sees_a_guest_that_runs_twice() -> None:
    world = FakeComputeWorld(check_permits=False)
    request = FakeComputeRig().request("twice", UUID)
    for node in ("hv1", "hv2"):
        world.driver(node).start(request, deadline_s=1.0)
    assert world.executing(UUID) == ["hv1", "hv2"] and world.double == [f"guest {UUID} executes on hv1 and hv2"]


def test_a_paused_copy_does_not_execute() -> None:
    world = FakeComputeWorld(check_permits=False)
    request = FakeComputeRig().request("moving", UUID)
    world.driver("hv1").start(request, deadline_s=1.0)
    world.driver("hv2").start(request, paused=True, deadline_s=1.0)
    assert world.executing(UUID) == ["hv1"] and world.double == []
    world.driver("hv2").resume(UUID, deadline_s=1.0)
    assert world.double
