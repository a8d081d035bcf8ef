"""A cluster's records in a store, as services and nodes would have written them; definitions of usual size."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from uuid import NAMESPACE_DNS, uuid5

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Repository
from pvc_core.model.cluster import NameIndex
from pvc_core.model.node import DaemonState, DomainState, NodeSeen, NodeStats
from pvc_core.model.vm import Claim, GuestState, Phase, Tag, VmSeen, VmWanted, Want

NODES = 20
MARKED = "5ee00000-0000-4000-8000-000000000002"
"""The VM, off for ever, whose first tag is a marker: most writes are such, and concern one node's guests."""
AT_ONCE = 25
"""VMs a commit; four records of together some 5 kB each, and a packet holds 1 MiB."""

DEFINITION = """<domain type="kvm">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <description>web server of customer {number}, ticket 4711</description>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/12"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit="MiB">2048</memory>
  <currentMemory unit="MiB">2048</currentMemory>
  <vcpu placement="static">2</vcpu>
  <cputune>
    <shares>1024</shares>
  </cputune>
  <os>
    <type arch="x86_64" machine="pc-q35-7.2">hvm</type>
    <boot dev="hd"/>
  </os>
  <features>
    <acpi/>
    <apic/>
    <vmport state="off"/>
  </features>
  <cpu mode="host-model" check="partial">
    <topology sockets="1" dies="1" cores="2" threads="1"/>
  </cpu>
  <clock offset="utc">
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="pit" tickpolicy="delay"/>
    <timer name="hpet" present="no"/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>restart</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="network" device="disk">
      <driver name="qemu" type="raw" discard="unmap" cache="none" io="native"/>
      <source protocol="rbd" name="vms/{name}-root"/>
      <target dev="sda" bus="scsi"/>
    </disk>
    <disk type="network" device="disk">
      <driver name="qemu" type="raw" discard="unmap" cache="none" io="native"/>
      <source protocol="rbd" name="vms/{name}-data"/>
      <target dev="sdb" bus="scsi"/>
    </disk>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <controller type="usb" index="0" model="qemu-xhci" ports="15"/>
    <controller type="virtio-serial" index="0"/>
    <interface type="bridge">
      <mac address="{mac}:01"/>
      <source bridge="brupstream"/>
      <model type="virtio"/>
      <mtu size="1500"/>
    </interface>
    <interface type="bridge">
      <mac address="{mac}:02"/>
      <source bridge="brstorage"/>
      <model type="virtio"/>
      <mtu size="9000"/>
    </interface>
    <serial type="pty">
      <target type="isa-serial" port="0"/>
    </serial>
    <console type="pty">
      <target type="serial" port="0"/>
    </console>
    <channel type="unix">
      <target type="virtio" name="org.qemu.guest_agent.0"/>
    </channel>
    <input type="tablet" bus="usb"/>
    <graphics type="vnc" port="-1" autoport="yes" listen="127.0.0.1">
      <listen type="address" address="127.0.0.1"/>
    </graphics>
    <video>
      <model type="virtio" heads="1" primary="yes"/>
    </video>
    <watchdog model="i6300esb" action="reset"/>
    <memballoon model="virtio">
      <stats period="10"/>
    </memballoon>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
    <panic model="isa"/>
  </devices>
</domain>
"""


def fill(repository: Repository, count: int) -> list[str]:
    """`count` running VMs on NODES nodes, with statistics; the layout must be prepared. Returns the VMs' UUIDs."""
    uuids = [str(uuid5(NAMESPACE_DNS, f"bench-{number}")) for number in range(count)]
    for node in (f"hv{number + 1}" for number in range(NODES)):
        seen = NodeSeen(name=node, daemon_state=DaemonState.RUN, domain_state=DomainState.READY, cpu_count=64)
        repository.add(layout.NODE_SEEN, node, replace(seen, memory_total_bytes=512 << 30))
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, count))
        repository.commit([write for number in numbers for write in _vm(number, uuids[number])])
    renew_stats(repository, uuids)
    return uuids


def renew_stats(repository: Repository, uuids: list[str]) -> None:
    """What every node reports anew each interval: the counters of all its guests."""
    for number in range(NODES):
        guests = {uuid: _counters(uuid) for uuid in uuids[number::NODES]}
        stats = NodeStats(node=_node(number), at_s=time.time(), guests=guests)
        repository.save(layout.STATS, stats.node, stats, repository.find(layout.STATS, stats.node))


def definition(number: int, uuid: str) -> str:
    mac = f"52:54:00:{number >> 8 & 255:02x}:{number & 255:02x}"
    return DEFINITION.format(name=name(number), uuid=uuid, number=number, mac=mac)


def bare_definition(number: int, uuid: str) -> str:
    """Without disks and NICs: nothing outside of the cluster's records is needed to define it."""
    return re.sub(r" *<(disk|interface).*?</\1>\n", "", definition(number, uuid), flags=re.DOTALL)


def name(number: int) -> str:
    return f"vm{number:05}"


def _node(number: int) -> str:
    return f"hv{number % NODES + 1}"


def _vm(number: int, uuid: str) -> Iterator[Add]:
    wanted = VmWanted(
        uuid=uuid, name=name(number), definition=definition(number, uuid), want=Want.START, tags=(Tag(name="web"),)
    )
    volumes = (f"vms/{name(number)}-root", f"vms/{name(number)}-data")
    claim = Claim(uuid=uuid, holder=_node(number), incarnation="bench", generation=1, phase=Phase.RUN, volumes=volumes)
    seen = VmSeen(
        uuid=uuid, node=_node(number), guest=GuestState.RUNNING, sentence=f"running on {_node(number)}", vnc_port=5900
    )
    yield Add(layout.VM_WANTED, uuid, wanted)
    yield Add(layout.VM_NAMES, name(number), NameIndex(uuid=uuid))
    yield Add(layout.CLAIMS, uuid, claim)
    yield Add(layout.VM_SEEN, uuid, seen)


def _counters(uuid: str) -> dict[str, object]:
    disk = {"rd_req": 1234, "rd_bytes": 12345678, "wr_req": 4321, "wr_bytes": 87654321}
    nic = {f"{way}_{what}": 123456 for way in ("rd", "wr") for what in ("bytes", "packets", "errors", "drops")}
    return {
        "uuid": uuid,
        "cpu_time_ns": time.monotonic_ns(),
        "memory": {"actual": 2097152, "rss": 1048576, "unused": 524288},
        "disks": {"sda": disk, "sdb": disk},
        "nics": {"52:54:00:00:00:01": nic, "52:54:00:00:00:02": nic},
    }
