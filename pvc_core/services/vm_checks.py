"""What a definition may say: does it fit, do its volumes and networks exist, can these drivers work together."""

from __future__ import annotations

from pvc_core.errors import Invalid, NotFound, Refused
from pvc_core.model.network import NetworkPhase
from pvc_core.model.storage import VolumePhase
from pvc_core.model.vm import Description, VmWanted
from pvc_core.services.desk import Desk
from pvc_core.units import MIB

HOST_NETWORKS = ("upstream", "cluster", "storage")


def check_definition(desk: Desk, vm: VmWanted, description: Description) -> None:
    """Raises Refused or Invalid with everything that speaks against it being what it says."""
    _check_size(desk, vm, description)
    for disk in description.disks:
        if disk.volume:
            _check_volume(desk, vm, disk.volume, disk.read_only)
    _check_unique([disk.volume for disk in description.disks if disk.volume], "volume")
    _check_unique([disk.dev for disk in description.disks], "disk target")
    _check_unique([nic.mac for nic in description.nics], "MAC address")
    for nic in description.nics:
        check_mac(desk, vm, nic.mac)
        if nic.network and nic.network not in HOST_NETWORKS:
            check_network(desk, vm, nic.network)
    desk.checks.check("pvc_check_vm_define", vm=vm, description=description)


def check_mac(desk: Desk, vm: VmWanted, mac: str) -> None:
    """A MAC names one NIC of the cluster: switches, leases and filters know it by that. Raises Invalid, Refused."""
    if not mac:
        return
    if int(mac[:2], 16) & 1 or not int(mac.replace(":", ""), 16):
        raise Invalid(
            f"{mac} cannot be the MAC of a NIC: it names a group of them, or none",
            help="leave <mac> out to get one, or begin it with 52:54:00",
            fields={"xml": "no MAC of a NIC"},
        )
    for kept in desk.view.vm_wanted.values():
        other = kept.value
        if other.uuid != vm.uuid and any(nic.mac == mac for nic in desk.descriptions.of(other).nics):
            raise Refused(
                f"MAC {mac} belongs to a NIC of VM {other.name}", help="leave <mac> out to get one, or choose another"
            )


def check_network(desk: Desk, vm: VmWanted, word: str) -> None:
    kept = desk.view.networks.get(word)
    if kept is None:
        raise Refused(f"VM {vm.name} wants network {word}, which does not exist", help="make the network first")
    if kept.value.phase is NetworkPhase.REMOVING:
        raise Refused(f"VM {vm.name} wants network {kept.value.ref}, which is being removed", help="use another one")
    definitions = desk.networks.get(kept.value.nettype)
    if definitions is None:
        raise Refused(
            f"network {kept.value.ref} is of type {kept.value.nettype}, which no plugin here makes",
            help=f"name a plugin in pvc.yaml, under use.networks.{kept.value.nettype}",
        )
    if not set(definitions.capabilities.nic_targets) & set(desk.compute.capabilities.nic_targets):
        offered = ", ".join(kind.__name__ for kind in definitions.capabilities.nic_targets)
        raise Refused(
            f"network {kept.value.ref} comes as {offered}, which the compute driver does not take",
            help="use a network of another type",
        )


def check_stays_the_same(vm: VmWanted, description: Description) -> None:
    """A definition given for a VM must be that VM's."""
    if description.uuid and description.uuid.lower() != vm.uuid:
        raise Invalid(
            f"the definition has UUID {description.uuid}, but VM {vm.name} is {vm.uuid}",
            help="a VM's UUID cannot be changed",
            fields={"xml": "UUID of another VM"},
        )
    if description.name != vm.name:
        raise Invalid(
            f"the definition is called {description.name!r}, but the VM {vm.name!r}",
            help="rename a VM with `pvc vm rename`",
            fields={"xml": "another name"},
        )


def _check_size(desk: Desk, vm: VmWanted, description: Description) -> None:
    if description.memory_bytes < MIB or description.vcpus < 1:
        raise Invalid(f"VM {vm.name} needs at least 1 MiB of memory and one vCPU", fields={"xml": "too small"})
    nodes = [
        kept.value for kept in desk.view.node_seen.values() if not vm.node_limit or kept.value.name in vm.node_limit
    ]
    largest = max((node.memory_total_bytes for node in nodes), default=0)
    if nodes and description.memory_bytes > largest:
        raise Refused(
            f"VM {vm.name} wants {description.memory_bytes // MIB} MiB of memory; "
            f"the largest node it may run on has {largest // MIB} MiB",
            help="give it less, or add a larger node",
        )


def _check_volume(desk: Desk, vm: VmWanted, ref: str, read_only: bool) -> None:
    kept = desk.view.volume(ref)
    if kept is None or kept.value.phase is not VolumePhase.READY:
        raise NotFound(
            f"VM {vm.name} wants volume {ref}, which {'does not exist' if kept is None else 'is ' + kept.value.phase}",
            help="`pvc storage volume list` shows those there are",
        )
    pool = desk.view.pools.get(kept.value.pool)
    storage = desk.storage.get(pool.value.driver) if pool else None
    if pool is None or storage is None:
        raise Refused(
            f"volume {ref} is in a pool whose driver is not loaded", help="name the driver's plugin in pvc.yaml"
        )
    if not set(storage.capabilities.disk_sources) & set(desk.compute.capabilities.disk_sources):
        offered = ", ".join(kind.__name__ for kind in storage.capabilities.disk_sources)
        taken = ", ".join(kind.__name__ for kind in desk.compute.capabilities.disk_sources)
        raise Refused(
            f"volume {ref} comes as {offered}, but the compute driver takes {taken}",
            help="use a pool of another driver",
        )
    for other in () if read_only else users(desk, ref):
        if other.uuid != vm.uuid:
            raise Refused(
                f"volume {ref} is used by VM {other.name}", help="two guests writing one volume would destroy it"
            )


def users(desk: Desk, ref: str) -> list[VmWanted]:
    """The VMs whose definition names this volume, sorted by name."""
    found = (kept.value for kept in desk.view.vm_wanted.values())
    return sorted((vm for vm in found if ref in desk.descriptions.of(vm).volumes), key=lambda vm: vm.name)


def _check_unique(values: list[str], what: str) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise Invalid(
            f"{what} {', '.join(twice)} is given twice in one definition", fields={"xml": f"{what} given twice"}
        )
