"""Networks for guests: check, then write what is wanted. Making them is each node's work (reconcile/network.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.contracts.network import NetworkDefinitions
from pvc_core.errors import Exists, Invalid, NotFound, Refused
from pvc_core.model.network import Network, NetworkPhase, Subnet
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk
from pvc_core.services.filters import name_filter
from pvc_core.services.network_checks import check_network, check_vni, in_one_form, with_default_gateway
from pvc_core.services.pictures import NetworkPicture

GONE_S = 10.0
"""So long a removal is waited for; it goes on in any case."""
_SUBNET = {"network", "gateway", "dhcp", "dhcp_start", "dhcp_end"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWords:
    """What is asked of a network; None leaves a thing as it is (or, of a new one, unset)."""

    name: str | None = None
    mtu: int | None = None
    domain: str | None = None
    name_servers: Sequence[str] | None = None
    ip4: Mapping[str, Any] | None = None
    """Fields of Subnet that are asked for."""
    ip6: Mapping[str, Any] | None = None
    options: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NetworkService:
    desk: Desk

    def list(self, limit: str | None = None) -> list[NetworkPicture]:
        """By VNI; `limit` is a regular expression for VNI or name."""
        matches = name_filter(limit)
        found = [kept.value for kept in self.desk.view.networks.values()]
        shown = [network for network in found if matches(str(network.vni)) or matches(network.name)]
        return [self._picture(network) for network in sorted(shown, key=lambda network: network.vni)]

    def show(self, ref: str) -> NetworkPicture:
        """By VNI or name. Raises NotFound."""
        return self._picture(self._need(ref).value)

    def add(self, vni: int, nettype: str, words: NetworkWords, *, by: str) -> NetworkPicture:
        """Raises Exists, Invalid, Refused; then nothing was changed."""
        definitions = self._definitions(nettype)
        check_vni(vni, definitions, nettype)
        with self.desk.placing:
            self._check_free(vni)
            new = Network(vni=vni, id=self.desk.new_uuid(), name=words.name or "", nettype=nettype, asked_by=by)
            new = self._checked(_changed(new, words), definitions)
            self.desk.commit(Add(layout.NETWORKS, str(vni), new))
        return self._picture(new)

    def modify(self, ref: str, words: NetworkWords, *, by: str) -> NetworkPicture:
        """Raises NotFound, Exists, Invalid, Refused; then nothing was changed."""
        with self.desk.placing:
            kept = self._need(ref)
            self._not_removed(kept.value)
            definitions = self._definitions(kept.value.nettype)
            new = self._checked(_changed(replace(kept.value, asked_by=by), words), definitions)
            self.desk.commit(Set(layout.NETWORKS, str(new.vni), new, kept.version))
        return self._picture(new)

    def remove(self, ref: str, *, by: str) -> str:
        """A sentence that tells whether it is gone or who has not taken it down yet. Raises NotFound, Refused (guests
        have a NIC on it).
        """
        kept = self._need(ref)
        network = kept.value
        if users := self._users(network):
            raise Refused(
                f"network {network.ref} is used by VM {', '.join(users)}, so it cannot be removed",
                help="remove their network cards first",
            )
        key = str(network.vni)
        if network.phase is not NetworkPhase.REMOVING:
            tombstone = replace(network, phase=NetworkPhase.REMOVING, asked_by=by)
            self.desk.commit(Set(layout.NETWORKS, key, tombstone, kept.version))
        if self.desk.wait_until(lambda view: key not in view.networks, timeout_s=GONE_S):
            return f"Network {network.ref} is removed."
        tombstone = replace(network, phase=NetworkPhase.REMOVING)
        return f"Network {network.ref} is {self._picture(tombstone).status}."

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _checked(self, network: Network, definitions: NetworkDefinitions) -> Network:
        others = [kept.value for kept in self.desk.view.networks.values()]
        if definitions.capabilities.gateway:
            network = replace(network, ip6=with_default_gateway(network.ip6))
        if definitions.capabilities.dhcp and not network.domain:
            network = replace(network, domain=_own_domain(network.name))
        check_network(network, definitions, others, self.desk.host_side)
        return in_one_form(network)

    def _check_free(self, vni: int) -> None:
        kept = self.desk.view.networks.get(str(vni))
        if kept is None:
            return
        self._not_removed(kept.value)
        raise Exists(f"vni {vni} is used by network {kept.value.name!r}", help="choose another or remove that network")

    def _not_removed(self, network: Network) -> None:
        if network.phase is NetworkPhase.REMOVING:
            raise Refused(
                f"network {network.ref} is {self._picture(network).status}",
                help="wait until it is gone, then try again",
            )

    def _need(self, ref: str) -> Kept[Network]:
        kept = self.desk.view.network(ref)
        if kept is None:
            raise NotFound(f"there is no network {ref!r}", help="`pvc network list` shows those there are")
        return kept

    def _definitions(self, nettype: str) -> NetworkDefinitions:
        found = self.desk.networks.get(nettype)
        if found is None:
            known = ", ".join(sorted(self.desk.networks)) or "none"
            raise Invalid(
                f"no plugin makes networks of type {nettype!r} here",
                help=f"types that use.networks of pvc.yaml names: {known}",
                fields={"nettype": f"no plugin makes this type; there are: {known}"},
            )
        return found

    def _users(self, network: Network) -> Sequence[str]:
        found = (kept.value for kept in self.desk.view.vm_wanted.values())
        word = str(network.vni)
        return sorted(vm.name for vm in found if any(nic.network == word for nic in self.desk.descriptions.of(vm).nics))

    def _picture(self, network: Network) -> NetworkPicture:
        definitions = self.desk.networks.get(network.nettype)
        mtu = network.mtu or (definitions.mtu_max(self.desk.host_side.mtus) if definitions else 0)
        seen = {name: kept.value for name, kept in self.desk.view.network_seen.items()}
        return NetworkPicture(network=network, mtu=mtu, status=_status(network, sorted(self.desk.view.node_seen), seen))


def _own_domain(name: str) -> str:
    """lab_1.Site -> lab-1.site.local; as many and as long labels as a domain may have (RFC 1035 2.3.4)."""
    labels = [label[:63].strip("-") for label in name.lower().replace("_", "-").split(".")]
    return ".".join([*filter(None, labels), "local"])


def _changed(network: Network, words: NetworkWords) -> Network:
    changes: dict[str, Any] = {
        name: value
        for name in ("name", "mtu", "domain")
        if (value := getattr(words, name)) is not None
    }  # fmt: skip
    if words.name_servers is not None:
        changes["name_servers"] = tuple(words.name_servers)
    if words.options is not None:
        changes["options"] = {**network.options, **words.options}
    for family in ("ip4", "ip6"):
        asked = getattr(words, family)
        if asked:
            changes[family] = _subnet(getattr(network, family), asked)
    return replace(network, **changes)


def _subnet(subnet: Subnet, asked: Mapping[str, Any]) -> Subnet:
    """Taking the network away takes away all that was in it; switching DHCP off takes its addresses."""
    given = {name: value for name, value in asked.items() if name in _SUBNET and value is not None}
    if given.get("network") == "":
        return Subnet(**given)
    if given.get("dhcp") is False:
        given = {"dhcp_start": "", "dhcp_end": "", **given}
    return replace(subnet, **given)


def _status(network: Network, nodes: Sequence[str], seen: Mapping[str, Any]) -> str:
    key = str(network.vni)
    if network.phase is NetworkPhase.REMOVING:
        waiting = [node for node in nodes if node not in seen or network.id not in seen[node].gone]
        return "being removed" + (f"; waiting for {', '.join(waiting)}" if waiting else "")
    faults = {node: seen[node].faults[key] for node in nodes if node in seen and key in seen[node].faults}
    ready = {node for node in nodes if node in seen and seen[node].usable.get(key) == network.id}
    waiting = [node for node in nodes if node not in ready and node not in faults]
    words = [
        *(f"{node}: {why}" for node, why in faults.items()),
        *([f"waiting for {', '.join(waiting)}"] if waiting else []),
    ]
    return "; ".join(words) or "usable on all nodes"
