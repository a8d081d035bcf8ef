"""A VM's CPUs, memory, disks and NICs, changed in its definition: read, changed and written in one step, so that
nobody's change between is lost. What the text looks like is the compute driver's business (contracts/compute.py).

A running guest gets it with its next start (`restart`: now); VmService.attach_device and detach_device plug a device
into it, or out of it, at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pvc_core.errors import Invalid, NotFound
from pvc_core.model.vm import NicSpec
from pvc_core.services.desk import Desk
from pvc_core.services.pictures import VmPicture
from pvc_core.services.vm_checks import HOST_NETWORKS
from pvc_core.services.vms import VmService

Allowed = Callable[[str], None]
"""May raise, with the new definition before it is written."""


def _anything(definition: str) -> None:
    """Roles are the API's."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The VM as it is now, and the text of the device that came or went."""

    vm: VmPicture
    device: str


class HardwareService:
    """Each raises NotFound (no such VM, device or network), Invalid, Exists, and Refused (what `modify` refuses)."""

    def __init__(self, desk: Desk, vms: VmService) -> None:
        self.desk, self.vms = desk, vms

    def set_vcpus(
        self, ref: str, vcpus: int, *, by: str, topology: tuple[int, int, int] | None = None,
        restart: bool = False, allowed: Allowed = _anything,
    ) -> VmPicture:  # fmt: skip
        """`topology`: sockets, cores, threads; without it the definition's own is kept as far as it divides."""
        if topology is None:
            return self._edit(ref, lambda text: self.desk.compute.with_vcpus(text, vcpus), by, restart, allowed)
        sockets, cores, threads = topology
        if sockets * cores * threads != vcpus:
            made = f"{sockets} sockets of {cores} cores with {threads} threads"
            raise Invalid(f"{made} make {sockets * cores * threads} CPUs, not {vcpus}")
        layout = {"sockets": sockets, "cores": cores, "threads": threads}
        return self._edit(ref, lambda text: self.desk.compute.with_topology(text, **layout), by, restart, allowed)

    def set_memory(
        self, ref: str, memory_bytes: int, *, by: str, restart: bool = False, allowed: Allowed = _anything
    ) -> VmPicture:
        return self._edit(ref, lambda text: self.desk.compute.with_memory(text, memory_bytes), by, restart, allowed)

    def add_disk(
        self, ref: str, source: str, *, by: str, bus: str = "scsi", dev: str = "", restart: bool = False,
        allowed: Allowed = _anything,
    ) -> Changed:  # fmt: skip
        """`source`: POOL/VOLUME, or the absolute path of a file on the node. `dev`: its target ("": a free one)."""
        return self._add(
            ref, lambda text: self.desk.compute.new_disk(text, source, bus=bus, dev=dev), by, restart, allowed
        )

    def remove_disk(self, ref: str, name: str, *, by: str, restart: bool = False) -> Changed:
        """`name`: its volume, path or target. The volume itself stays."""
        return self._remove(ref, lambda text: self.desk.compute.device(text, name), by, restart)

    def add_nic(
        self, ref: str, *, by: str, network: str = "", function: str = "", pci: Mapping[str, str] | None = None,
        mac: str = "", model: str = "virtio", restart: bool = False, allowed: Allowed = _anything,
    ) -> Changed:  # fmt: skip
        """On `network` (VNI, description or host network) or SR-IOV's `function`; `mac` "" takes a new one."""
        word = self._network(network) if network else ""
        mac = mac.lower() or "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        device = self.desk.compute.new_nic(mac=mac, model=model, network=word, function=function, pci=pci)
        return self._add(ref, lambda text: device, by, restart, allowed)

    def remove_nic(
        self, ref: str, *, by: str, network: str = "", function: str = "", mac: str = "", restart: bool = False
    ) -> Changed:
        """The one that fits all that is given. Raises Invalid when several do."""
        word = self._network(network) if network else ""
        return self._remove(ref, lambda text: self._fitting(text, word, function, mac.lower()), by, restart)

    def _fitting(self, definition: str, network: str, function: str, mac: str) -> str:
        fits = [nic for nic in self.desk.compute.describe(definition).nics if _fits(nic, network, function, mac)]
        said = [f"on {network or function}" if network or function else "", f"with MAC {mac}" if mac else ""]
        what = " ".join(["NIC", *filter(None, said)])
        if not fits:
            raise NotFound(f"the VM has no {what}", help="`pvc vm network get` shows those it has")
        if len(fits) > 1:
            macs = ", ".join(nic.mac for nic in fits)
            raise Invalid(f"the VM has {len(fits)} NICs like that ({what})", help=f"choose one by its MAC: {macs}")
        return self.desk.compute.device(definition, fits[0].mac)

    def _network(self, word: str) -> str:
        """As definitions name it."""
        if word in HOST_NETWORKS:
            return word
        kept = self.desk.view.network(word)
        if kept is None:
            raise NotFound(f"there is no network {word!r}", help="`pvc network list` shows those there are")
        return str(kept.value.vni)

    def _add(self, ref: str, made: Callable[[str], str], by: str, restart: bool, allowed: Allowed) -> Changed:
        return self._device(ref, made, self.desk.compute.with_device, by, restart, allowed)

    def _remove(self, ref: str, found: Callable[[str], str], by: str, restart: bool) -> Changed:
        return self._device(ref, found, self.desk.compute.without_device, by, restart, _anything)

    def _device(
        self, ref: str, device_of: Callable[[str], str], change: Callable[[str, str], str], by: str, restart: bool,
        allowed: Allowed,
    ) -> Changed:  # fmt: skip
        device = ""

        def edit(definition: str) -> str:
            nonlocal device
            device = device_of(definition)
            return change(definition, device)

        vm = self._edit(ref, edit, by, restart, allowed)
        return Changed(vm, device)

    def _edit(self, ref: str, change: Callable[[str], str], by: str, restart: bool, allowed: Allowed) -> VmPicture:
        kept = self.desk.need_vm(ref)
        new = change(kept.value.definition)
        allowed(new)
        return self.vms.modify(kept.value.uuid, new, by=by, restart=restart, if_version=kept.version)


def _fits(nic: NicSpec, network: str, function: str, mac: str) -> bool:
    """Whatever is not given fits."""
    on = (not network or nic.network == network) and (not function or nic.source == function)
    return on and (not mac or nic.mac == mac)
