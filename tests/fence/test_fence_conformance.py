"""The conformance suite of fence drivers, asked of the fake and of fence_ipmi with real IPMI endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.contracts.fence import FenceCapabilities
from pvc_core.model.fence import Target
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.contract_fence import FenceContract
from pvc_core.testing.fence import NAME, Behaviour, FakeFence, FakeFenceDefinitions, FakeFenceWorld, FakeMachine
from pvc_core.testing.fence_rig import FenceRig
from tests.fence.ipmi_rig import IpmiRig

UUIDS = {"hv1": "00000000-0000-4000-8000-000000000001", "hv2": "00000000-0000-4000-8000-000000000002"}


class FakeRig(FenceRig):
    name = NAME

    def __init__(self, capabilities: FenceCapabilities | None = None) -> None:
        clock = FakeClock()
        self.definitions = FakeFenceDefinitions(capabilities)
        self.world = FakeFenceWorld(
            machines={node: FakeMachine(uuid) for node, uuid in UUIDS.items()},
            definitions=self.definitions,
            clock=clock,
            sleep=clock.move,
        )

    def driver(self, node: str) -> FakeFence:
        return self.world.driver(node)

    def target(self, node: str, *, incarnation: str = "boot-1", uuid: str | None = None) -> Target:
        return Target(node=node, uuid=UUIDS[node] if uuid is None else uuid, incarnation=incarnation)

    def on(self, node: str) -> bool:
        return self.world.machines[node].on

    def acts(self) -> list[tuple[str, str]]:
        return list(self.world.acts)

    def stored(self) -> str:
        return repr(sorted(self.world.published))

    def kill(self, node: str) -> bool:
        return self._behave(node, Behaviour.DEAD)

    def disobey(self, node: str) -> bool:
        return self._behave(node, Behaviour.DISOBEYS)

    def lock_out(self, node: str) -> bool:
        return self._behave(node, Behaviour.DENIES)

    def swap(self, node: str, other: str) -> bool:
        self.world.machines[node].bmc_of, self.world.machines[other].bmc_of = other, node
        return True

    def _behave(self, node: str, behaviour: Behaviour) -> bool:
        self.world.machines[node].behaviour = behaviour
        return True


class TestFake(FenceContract):
    @pytest.fixture
    def rig(self) -> FenceRig:
        return FakeRig()


class TestFakeThatOnlySwitchesOff(FenceContract):
    @pytest.fixture
    def rig(self) -> FenceRig:
        return FakeRig(FenceCapabilities(power_on=False))


@pytest.mark.system
class TestIpmi(FenceContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[FenceRig]:
        rig = IpmiRig(tmp_path)
        yield rig
        rig.stop()
