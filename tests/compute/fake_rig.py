"""The fake compute driver, as the conformance suite meets it."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.contracts.compute import ComputeDriver, RenderRequest
from pvc_core.contracts.targets import Bridge, File
from pvc_core.testing.compute import FakeComputeWorld, FakePermits
from pvc_core.testing.compute_rig import ComputeRig, SpareDisk, SpareNic
from pvc_core.testing.compute_text import FakeComputeDefinitions
from pvc_core.testing.storage import Crashed
from pvc_core.units import MIB

MAC = "52:54:00:00:00:77"


class FakeComputeRig(ComputeRig):
    patience_s = 1.0
    console_line = "tick"

    def __init__(self, world: FakeComputeWorld | None = None, node: str = "hv1") -> None:
        self.definitions = FakeComputeDefinitions()
        self.world, self.node = world or FakeComputeWorld(), node
        self.world.first_words = b"tick\n" * 5
        self.world.moves_by_looking = True
        self.guard = FakePermits(self.world.host(node))

    def neighbour(self) -> ComputeRig:
        return FakeComputeRig(self.world, "hv2")

    def driver(self) -> ComputeDriver:
        return self.world.driver(self.node)

    def definition(self, name: str, uuid: str, *, volume: str = "", network: str = "") -> str:
        disk = f'<disk dev="vda" volume="{volume}"/>' if volume else ""
        nic = f'<nic mac="52:54:00:00:00:01" network="{network}"/>' if network else ""
        return f"<domain><name>{name}</name><uuid>{uuid}</uuid><memory>64</memory><vcpu>1</vcpu>{disk}{nic}</domain>"

    def request(self, name: str, uuid: str) -> RenderRequest:
        text = self.definition(name, uuid, volume=f"vms/{name}")
        return RenderRequest(definition=text, uuid=uuid, name=name, disks={"vda": File(path=f"/v/{name}")})

    def broken_request(self, name: str, uuid: str) -> RenderRequest:
        text = self.definition(name, uuid).replace("</domain>", '<boot fails="no such machine"/></domain>')
        return RenderRequest(definition=text, uuid=uuid, name=name)

    def permit(self, uuid: str) -> None:
        self.guard.permit(uuid, generation=1)

    def revoke(self, uuid: str) -> None:
        self.guard.revoke(uuid)

    def executions(self, uuid: str) -> int:
        return self.world.executing(uuid).count(self.node)

    def crash(self, uuid: str) -> None:
        self.world.end("hv1", uuid)

    def restart_hypervisor(self) -> bool:
        self.world.restart_hypervisor("hv1")
        return True

    def silence_hypervisor(self) -> Callable[[], None]:
        self.world.host().away = True

        def go_on() -> None:
            self.world.host().away = False

        return go_on

    def interrupt(self, call: str, request: RenderRequest, moment: float) -> None:
        faults = self.world.host().faults
        (faults.before if moment < 0.5 else faults.after).append(Crashed())
        try:
            super().interrupt(call, request, moment)
        except Crashed:
            return

    def spare_disk(self) -> SpareDisk:
        return SpareDisk('<disk dev="vdb" volume="vms/spare"/>', "vdb", File(path="/v/spare"), MIB)

    def spare_nic(self) -> SpareNic:
        return SpareNic(f'<nic mac="{MAC}" network="100"/>', MAC, Bridge(bridge="vmbr100"))
