"""compute_libvirt on a real libvirtd, as the conformance suite meets it. Guests are emulated boot sectors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import structlog

from pvc_compute_libvirt.definitions import LibvirtDefinitions
from pvc_compute_libvirt.driver import LibvirtDriver, Settings
from pvc_compute_libvirt.permits import Permits
from pvc_compute_libvirt.processes import Processes
from pvc_core.clock import SystemClock
from pvc_core.contracts.compute import RenderRequest
from pvc_core.contracts.targets import Bridge, File
from pvc_core.testing.compute_rig import ComputeRig, SpareDisk, SpareNic
from pvc_core.units import MIB

from . import tick
from .libvirt_node import LibvirtNode

# Old definitions look like this: kvm as type and emulator, the volume as an rbd disk.
DOMAIN = """<domain type="kvm">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit="MiB">32</memory>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <features><acpi/></features>
  <devices>{devices}
    <emulator>/usr/bin/kvm</emulator>
    <controller type="scsi" model="virtio-scsi"/>
    <serial type="pty"/>
    <console type="pty"/>
    <graphics type="vnc" port="-1" listen="0.0.0.0"/>
    <memballoon model="virtio"/>
  </devices>
</domain>
"""
DISK = """
    <disk type="network" device="disk">
      <driver name="qemu" discard="unmap"/>
      <source protocol="rbd" name="{volume}"/>
      <target dev="{dev}" bus="{bus}"/>
    </disk>"""
NIC = """
    <interface type="bridge">{mac}
      <source bridge="vmbr{network}"/>
      <model type="{model}"/>
    </interface>"""
SPARE_MAC = "52:54:00:00:00:77"
SPARE_BYTES = 4 * MIB


class LibvirtRig(ComputeRig):
    console_line = tick.LINE
    screen = True
    patience_s = 30.0

    def __init__(self, node: LibvirtNode, neighbour: LibvirtNode | None = None) -> None:
        self.node, self._neighbour = node, neighbour
        self.definitions = LibvirtDefinitions()
        self.permits = Permits(permits_dir=node.root / "permits", hooks_dir=node.root / "etc/hooks")
        self._drivers: list[LibvirtDriver] = []

    def driver(self, *, restart: Callable[[], str] | None = None) -> LibvirtDriver:
        settings = Settings(
            uri=self.node.uri,
            virt_type="qemu",
            console_log_dir=self.node.root / "console",
            vnc_listen="127.0.0.1",
            migration_uri=f"qemu+tcp://{self.node.address}/system",
            migration_address=self.node.address,
            restart_libvirtd=restart,
        )
        processes = Processes(pid_namespace=self.node.pid_namespace)
        log = structlog.get_logger()
        driver = LibvirtDriver(settings, permits=self.permits, processes=processes, clock=SystemClock(), log=log)
        self._drivers.append(driver)
        return driver

    def neighbour(self) -> LibvirtRig | None:
        """Both nodes see the same images, at the same place."""
        return LibvirtRig(self._neighbour) if self._neighbour is not None else None

    def permit_incoming(self, uuid: str) -> None:
        self.permit(uuid, kind="incoming")

    def close(self) -> None:
        for driver in self._drivers:
            driver.stop_driver()

    def definition(self, name: str, uuid: str, *, volume: str = "", network: str = "") -> str:
        devices = DISK.format(volume=volume, dev="vda", bus="virtio") if volume else ""
        if network:
            devices += NIC.format(mac="", network=network, model="virtio")
        return DOMAIN.format(name=name, uuid=uuid, devices=devices)

    def request(self, name: str, uuid: str) -> RenderRequest:
        image = self.node.root / "images" / f"{name}.img"
        if not image.exists():
            tick.write_image(image)
        text = self.definition(name, uuid, volume=f"vms/{name}")
        return RenderRequest(definition=text, uuid=uuid, name=name, disks={"vda": File(path=str(image))})

    def broken_request(self, name: str, uuid: str) -> RenderRequest:
        text = self.definition(name, uuid).replace('machine="pc"', 'machine="abacus"')
        return RenderRequest(definition=text, uuid=uuid, name=name)

    def permit(self, uuid: str, *, for_s: float = 600.0, generation: int = 1, kind: str = "start") -> None:
        deadline_s = SystemClock().boottime_s() + for_s
        permit = {"generation": generation, "deadline_boottime_s": deadline_s, "kind": kind}
        (self.node.root / "permits" / uuid).write_text(json.dumps(permit))

    def revoke(self, uuid: str) -> None:
        (self.node.root / "permits" / uuid).unlink(missing_ok=True)

    def executions(self, uuid: str) -> int:
        return len(self.node.qemus(uuid))

    def crash(self, uuid: str) -> None:
        for pid in self.node.qemus(uuid):
            os.kill(pid, signal.SIGKILL)

    def restart_hypervisor(self) -> bool:
        self.node.kill_libvirtd()
        self.node.revive_libvirtd()
        return True

    def silence_hypervisor(self) -> Callable[[], None]:
        pid = self.node.libvirtd()
        os.kill(pid, signal.SIGSTOP)
        return lambda: os.kill(pid, signal.SIGCONT)

    def interrupt(self, call: str, request: RenderRequest, moment: float) -> None:
        """A daemon of its own, killed: between 0 and 0.6 s after it begins, which is longer than the call takes."""
        child = self.spawn(call, request)
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"begin"
        time.sleep(moment * 0.6)
        child.kill()
        child.wait()

    def spawn(self, call: str, request: RenderRequest) -> subprocess.Popen[bytes]:
        """A process that builds a driver, says "begin", makes `call` and says "done"."""
        asked = {
            "call": call,
            "root": str(self.node.root),
            "uri": self.node.uri,
            "pid_namespace": self.node.pid_namespace,
            "definition": request.definition,
            "uuid": request.uuid,
            "name": request.name,
            "disks": {dev: asdict(source) for dev, source in request.disks.items() if isinstance(source, File)},
        }
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(Path(__file__).with_name("one_call.py")), json.dumps(asked)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    def spare_disk(self) -> SpareDisk:
        """On SCSI: the guest has no operating system that could let go of a PCI device."""
        image = self.node.root / "images" / "spare.img"
        with image.open("wb") as file:
            file.truncate(SPARE_BYTES)
        text = DISK.format(volume="vms/spare", dev="sda", bus="scsi").strip()
        return SpareDisk(text, "sda", File(path=str(image)), SPARE_BYTES)

    def spare_nic(self) -> SpareNic:
        """On USB, for the same reason."""
        text = NIC.format(mac=f'<mac address="{SPARE_MAC}"/>', network="100", model="usb-net").strip()
        return SpareNic(text, SPARE_MAC, Bridge(bridge="vmbr100"))
