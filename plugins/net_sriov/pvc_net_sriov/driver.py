"""The network driver `net_sriov` on one node: each guest's NIC is a virtual function of the network's NIC, which the
NIC itself keeps to its MAC and VLAN. Nothing passes the host's kernel, so there are no ACLs; the switch connects nodes.
"""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.plugin import PluginContext
from pvc_core.contracts.targets import Hostdev, Macvtap, NicTarget
from pvc_core.contracts.where import on_node
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_core.model.network import Network, NetworkFound
from pvc_net_sriov.definitions import HOSTDEV, attach, settings
from pvc_net_sriov.notes import Held, Notes
from pvc_net_sriov.settled import Settled
from pvc_net_sriov.words import NO_MAC, Virtual, settings_of, wire


class SriovNetworks(NetworkDriver):
    """One thing at a time: functions are few, and who gets which must not be decided twice."""

    def __init__(self, context: PluginContext, settled: Settled, notes: Notes) -> None:
        self._context, self._settled, self._notes = context, settled, notes
        self._functions = settled.functions
        self._coming: set[str] = set()
        """MACs plugged in this life, whose guests may not be there yet."""

    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        with self._settled.lock:
            pf = self._pf(network)
            self._settled.divide(pf)
            if network.mtu > (carries := self._functions.mtu(pf)):
                raise Permanent(
                    f"{pf} carries {carries} bytes, network {network.ref} wants {network.mtu}",
                    help="give the device an mtu in plugins.net_sriov of pvc.yaml, or the network a smaller one",
                )
            changed = self._notes.note_network(network.vni, network.id)
            held = self._notes.held()
            for one in self._functions.virtual(pf):
                mine = held.get(one.pci)
                if mine is not None and mine.id == network.id:
                    changed = self._give(one, network, mine.mac) or changed
            return changed

    @on_node
    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        with self._settled.lock:
            if self._notes.networks().get(network.vni) not in (network.id, None):
                return
            used = {one.pci: one for one in self._settled.all()}
            mine = [held for held in self._notes.held().values() if held.id == network.id]
            if busy := sorted(used[one.pci].name for one in mine if one.pci in used and used[one.pci].used):
                raise Refused(
                    f"network {network.vni} still has guests plugged in here: {', '.join(busy)}",
                    help="stop those guests, or remove their network cards",
                )
            for held in mine:
                self._release(used.get(held.pci), held)
            self._notes.forget_network(network.vni)

    @on_node
    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        return [NetworkFound(vni=vni, id=id) for vni, id in sorted(self._notes.networks().items())]

    @on_node
    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> NicTarget:
        mac = mac.lower()
        with self._settled.lock:
            self.ensure_network(network, deadline_s=deadline_s)
            one = self._choose(network, mac)
            self._notes.hold(Held(pci=one.pci, mac=mac, vni=network.vni, id=network.id))
            self._coming.add(mac)
            self._give(one, network, mac)
            vlan = settings(network).vlan_id
            if attach(network) == HOSTDEV:
                return Hostdev(pci_address=one.pci, vlan=vlan)
            self._functions.set_link(one.netdev, mtu=network.mtu)
            return Macvtap(device=one.netdev, vlan=vlan)

    @on_node
    def unplug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> None:
        mac = mac.lower()
        with self._settled.lock:
            self._coming.discard(mac)
            there = {one.pci: one for one in self._settled.all()}
            for held in self._notes.held().values():
                one = there.get(held.pci)
                if held.mac == mac and held.id == network.id and not (one and one.used):
                    self._release(one, held)  # one that is used still: by a guest that ends slowly

    def pinned(self, network: Network) -> str:
        if attach(network) != HOSTDEV:
            return ""
        return (
            f"its NIC on network {network.ref} is a function of this node's {self._pf(network)}, given to it whole "
            "(attach=hostdev), whose state in the hardware cannot be taken along"
        )

    # -- actions -------------------------------------------------------------------------------------------------------

    def told(self, args: Mapping[str, object], progress: Progress) -> dict[str, object]:
        """All functions of this node, as the API shows them."""
        functions = self._settled.all()
        found = [
            {
                "phy": pf,
                "mtu": str(self._functions.mtu(pf)),
                "vfs": [one.name for one in functions if one.pf == pf],
            }
            for pf in self._settled.devices
        ]
        return {"pfs": found, "vfs": [wire(one, self._user(one)) for one in functions], "message": "functions told"}

    def set_function(self, args: Mapping[str, object], progress: Progress) -> dict[str, object]:
        name = str(args["vf"])
        with self._settled.lock:
            one = next((one for one in self._settled.all() if name in one.names), None)
            if one is None:
                raise NotFound(f"node {self._context.node.name} has no virtual function {name!r}")
            held = self._notes.held().get(one.pci)
            if held is not None and (one.used or held.mac in self._coming):
                raise Refused(
                    f"{one.name} belongs to a guest of network {held.vni}, whose options say how it is set",
                    help=f"`pvc network modify -O KEY=VALUE {held.vni}`",
                )
            wanted = settings_of(args, one.settings)
            self._functions.set(one, wanted)
            self._settled.keep(one, wanted)
        return {"message": f"{one.name} of {self._context.node.name} is set", "vf": one.name}

    # -- which function ------------------------------------------------------------------------------------------------

    def _pf(self, network: Network) -> str:
        named = network.options.get("pf") or next(iter(self._settled.devices), "")
        if named not in self._settled.devices:
            what = f"does not divide {named}" if named else "divides no NIC"
            raise Permanent(
                f"node {self._context.node.name} {what}, which network {network.ref} needs",
                help="name it in plugins.net_sriov.devices of its pvc.yaml",
            )
        return named

    def _choose(self, network: Network, mac: str) -> Virtual:
        """The one it has already, else one that nobody has. Raises Retry: all are given away."""
        held, found = self._notes.held(), self._functions.virtual(self._pf(network))
        fit = [one for one in found if one.netdev or attach(network) == HOSTDEV]
        for one in fit:
            if (mine := held.get(one.pci)) is not None and mine.mac == mac:
                return one
        for one in fit:
            other = held.get(one.pci)
            if not one.used and (other is None or other.mac not in self._coming):
                return one
        what = "all are used" if fit else "none has a network device: is the functions' driver loaded?"
        raise Retry(
            f"no virtual function of {self._pf(network)} is left for NIC {mac} on {self._context.node.name}: {what}",
            again_in_s=5.0,
        )

    def _user(self, one: Virtual) -> str:
        """The name of the VM that has it, or of the one its definition gives it to by its MAC; "" if nobody has."""
        mac = one.mac if one.mac != NO_MAC else one.own_mac
        guest = self._context.guest_of(mac) if one.used and mac else None
        return guest.name if guest is not None else ""

    def _give(self, one: Virtual, network: Network, mac: str) -> bool:
        return self._functions.set(one, settings(network), mac=mac)

    def _release(self, one: Virtual | None, held: Held) -> None:
        if one is not None:
            self._functions.set(one, self._settled.kept(one), mac=NO_MAC)
        self._notes.release(held.pci)
