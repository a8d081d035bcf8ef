"""The libvirt definition of a lab's guest, as a person would write it for PVC: the disk by pool and volume, the NIC
by bridge.
"""

from __future__ import annotations

import uuid
import zlib

UPSTREAM = "brupstream"

TEMPLATE = """<domain type="kvm">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <description>a guest of the lab</description>
  <memory unit="MiB">{memory_mib}</memory>
  <vcpu>1</vcpu>
  <sysinfo type="smbios">
    <system>
      <entry name="serial">{name}</entry>
    </system>
  </sysinfo>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <boot dev="hd"/>
    <smbios mode="sysinfo"/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <clock offset="utc"/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>restart</on_crash>
  <devices>
    <disk type="network" device="disk">
      <driver name="qemu" type="raw" discard="unmap"/>
      <source protocol="rbd" name="{pool}/{volume}"/>
      <target dev="sda" bus="scsi"/>
    </disk>
    <interface type="bridge">
      <mac address="{mac}"/>
      <source bridge="{bridge}"/>
      <model type="virtio"/>
    </interface>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <controller type="usb" model="none"/>
    <serial type="pty">
      <target port="0"/>
    </serial>
    <console type="pty">
      <target type="serial" port="0"/>
    </console>
    <memballoon model="virtio"/>
  </devices>
</domain>
"""


def guest_xml(name: str, *, pool: str, volume: str, bridge: str = UPSTREAM, memory_mib: int = 160) -> str:
    """Return the definition of guest `name`, whose only disk is `pool`/`volume`. UUID and MAC follow from the name."""
    return TEMPLATE.format(
        name=name,
        uuid=uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.pvc-lab"),
        memory_mib=memory_mib,
        pool=pool,
        volume=volume,
        bridge=bridge,
        mac=mac_of(name),
    )


def mac_of(name: str) -> str:
    """Return a MAC address of QEMU's own range that is always the same for `name`."""
    number = zlib.crc32(name.encode())
    return "52:54:00:" + ":".join(f"{number >> shift & 255:02x}" for shift in (16, 8, 0))
