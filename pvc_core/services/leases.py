"""Addresses of a network's guests: reservations are wanted, leases are what its driver on the primary knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.contracts.network import NetworkDefinitions
from pvc_core.errors import Exists, Invalid, NotFound, Refused, Retry
from pvc_core.model.network import GivenAddress, Network, NetworkPhase, Reservation
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk
from pvc_core.services.filters import name_filter
from pvc_core.services.tasks import TaskService

ASK_S, END_S = 10.0, 60.0
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePicture:
    """An address that a guest has, or shall have."""

    mac: str
    address: str
    hostname: str
    expires_s: int | None
    """None: reserved, so it does not expire."""


@dataclass(frozen=True, slots=True)
class LeaseService:
    desk: Desk

    def list(self, ref: str, limit: str | None = None, *, static: bool = False) -> Sequence[LeasePicture]:
        """By address; `static`: reservations only. `limit` is a regular expression for MAC, address or host name.

        Raises NotFound, and Unreachable when the primary, who knows the leases, does not answer.
        """
        network, matches = self._need(ref).value, name_filter(limit)
        found = [_reserved(one) for one in network.reservations]
        if not static:
            fixed = {one.mac for one in network.reservations}
            found += [_given(one) for one in self._given(network) if one.mac not in fixed]
        shown = [one for one in found if matches(one.mac) or matches(one.address) or matches(one.hostname)]
        return sorted(shown, key=lambda one: (":" in one.address, int(ip_address(one.address))))

    def show(self, ref: str, word: str) -> LeasePicture:
        """By MAC, address or host name. Raises NotFound."""
        network = self._need(ref).value
        for one in map(_reserved, network.reservations):
            if word.lower() in (one.mac, one.address, one.hostname.lower()):
                return one
        for one in map(_given, self._given(network)):
            if word.lower() in (one.mac, one.address, one.hostname.lower()):
                return one
        raise _unknown(network, word)

    def reserve(self, ref: str, *, mac: str, address: str, hostname: str = "", by: str) -> LeasePicture:
        """Raises NotFound, Exists, Invalid, Refused; then nothing was changed."""
        with self.desk.placing:
            kept = self._need(ref)
            network = kept.value
            new = Reservation(mac=mac.strip().lower(), address=address.strip(), hostname=hostname.strip())
            self._check(network, new)
            new = replace(new, address=str(ip_address(new.address)))
            changed = replace(network, reservations=(*network.reservations, new), asked_by=by)
            self.desk.commit(Set(layout.NETWORKS, str(network.vni), changed, kept.version))
        return _reserved(new)

    def release(self, ref: str, word: str, *, by: str) -> str:
        """Take a reservation back, or end a lease, by MAC, address or host name. A guest that has the address asks anew
        when it would renew. Raises NotFound, Refused (the driver ends no leases), Retry.
        """
        with self.desk.placing:
            kept = self._need(ref)
            network = kept.value
            named = [one for one in network.reservations if word.lower() in _words(one)]
            if named:
                left = tuple(one for one in network.reservations if one != named[0])
                changed = replace(network, reservations=left, asked_by=by)
                self.desk.commit(Set(layout.NETWORKS, str(network.vni), changed, kept.version))
                return f"The reservation of {named[0].address} for {named[0].mac} in network {network.ref} is removed."
        return self._end(network, self.show(ref, word), by)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _end(self, network: Network, given: LeasePicture, by: str) -> str:
        tasks = TaskService(self.desk)
        args, status = {"vni": str(network.vni), "address": given.address}, f"ending the lease of {given.address}"
        tasks.done(
            tasks.submit(tasks.new("network.release", node="", args=args, by=by, status=status)), timeout_s=END_S
        )
        return (
            f"The lease of {given.address} for {given.mac} in network {network.ref} has ended; a guest that has the "
            "address asks anew when it would renew."
        )

    def _given(self, network: Network) -> Sequence[GivenAddress]:
        if not self._definitions(network).capabilities.dhcp:
            return ()
        leader = self.desk.view.leader.get(layout.ONLY)
        if leader is None:
            raise Retry("nobody is primary at this moment, and only the primary knows the leases", again_in_s=2.0)
        answer = self.desk.ask(leader.value.node, "given_addresses", {"vni": str(network.vni)}, deadline_s=ASK_S).result
        return [GivenAddress(**one) for one in answer["given"]]

    def _check(self, network: Network, new: Reservation) -> None:
        if not self._definitions(network).capabilities.dhcp or not network.ip4.dhcp:
            raise Refused(
                f"network {network.ref} gives no addresses, so none can be reserved",
                help=f"`pvc network modify --dhcp {network.vni}` with --dhcp-start and --dhcp-end",
            )
        if not _MAC.fullmatch(new.mac) or int(new.mac[:2], 16) & 1 or not int(new.mac.replace(":", ""), 16):
            raise _invalid("macaddress", f"{new.mac!r} is no MAC address of a guest", "like 52:54:00:12:34:56")
        if new.hostname and not _LABEL.fullmatch(new.hostname):
            raise _invalid("hostname", f"{new.hostname!r} is no host name", "letters, digits and -, without a domain")
        check_reserved_address(network, new.address)
        self._check_free(network, new)

    def _check_free(self, network: Network, new: Reservation) -> None:
        address = str(ip_address(new.address))
        for one in network.reservations:
            if one.mac == new.mac:
                raise Exists(f"{one.mac} has {one.address} reserved in network {network.ref}", help="remove that first")
            if one.address == address:
                raise Exists(f"{address} is reserved for {one.mac} in network {network.ref}", help="choose another")
            if new.hostname and one.hostname.lower() == new.hostname.lower():
                raise Exists(
                    f"{one.mac} has the host name {one.hostname} in network {network.ref}", help="choose another"
                )

    def _definitions(self, network: Network) -> NetworkDefinitions:
        found = self.desk.networks.get(network.nettype)
        if found is None:
            raise Refused(
                f"no plugin makes {network.nettype} networks here, so nobody knows the addresses of {network.ref}",
                help=f"name one in pvc.yaml, under use.networks.{network.nettype}",
            )
        return found

    def _need(self, ref: str) -> Kept[Network]:
        kept = self.desk.view.network(ref)
        if kept is None or kept.value.phase is NetworkPhase.REMOVING:
            raise NotFound(f"there is no network {ref!r}", help="`pvc network list` shows those there are")
        return kept


def check_reserved_address(network: Network, address: str) -> None:
    """Raises Invalid (of the wire's field ipaddress) unless a guest of the network can have it."""
    subnet = ip_network(network.ip4.network)
    like = f"like {subnet[min(5, subnet.num_addresses - 2)]}"
    try:
        parsed = ip_address(address)
    except ValueError:
        raise _invalid("ipaddress", f"{address!r} is no address", like) from None
    if parsed not in subnet or parsed in (subnet.network_address, subnet.broadcast_address):
        raise _invalid(
            "ipaddress", f"{address} is no address that a guest in {subnet} of network {network.ref} can have", like
        )  # fmt: skip
    if str(parsed) == network.ip4.gateway:
        raise _invalid("ipaddress", f"{address} is the gateway of network {network.ref}", "choose another")


def _words(one: Reservation) -> tuple[str, str, str]:
    return one.mac, one.address, one.hostname.lower()


def _reserved(one: Reservation) -> LeasePicture:
    return LeasePicture(mac=one.mac, address=one.address, hostname=one.hostname, expires_s=None)


def _given(one: GivenAddress) -> LeasePicture:
    return LeasePicture(mac=one.mac, address=one.address, hostname=one.hostname, expires_s=one.expires_s)


def _unknown(network: Network, word: str) -> NotFound:
    return NotFound(
        f"network {network.ref} has no lease or reservation of {word}",
        help=f"`pvc network dhcp list {network.vni}` shows those there are",
    )


def _invalid(field: str, message: str, help: str) -> Invalid:
    return Invalid(message, help=help, fields={field: f"{message}; {help}"})
