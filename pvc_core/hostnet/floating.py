"""The addresses that follow the primary: given to this node's bridges, announced, taken back. When to is
reconcile/primary.py's.

They are /32 (or /128) beside the node's own address, so that nothing ever goes out from them by itself and nothing of
the node's own hangs on them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface
from pathlib import Path

from pvc_core.errors import Permanent
from pvc_core.hostnet import arp, ndisc
from pvc_core.hostnet.held import NAME, Held, HeldAddress, read_held, write_held, write_until
from pvc_core.hostnet.links import FLOATING_PROTOCOL, Address, Interface, Link, Links
from pvc_core.hostnet.network import bridge_name

ANNOUNCEMENTS = 3
"""How often a new holder says so, one a look: the first may be lost while a switch still learns (RFC 5227 2.3: 2)."""


@dataclass(frozen=True, slots=True)
class Raised:
    """How it stands after `ensure`: what this node holds, what is on its way, and what is wrong with the rest."""

    held: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    announcing: bool = False


class Floating:
    """`wanted`: network -> its floating address. Safe from any thread: who takes back waits for who gives (0.3 s)."""

    def __init__(self, wanted: Mapping[str, IPv4Address | IPv6Address], run: Path) -> None:
        self._wanted = {network: ip_interface(ip) for network, ip in wanted.items()}
        self._run = run
        self._lock, self._file = threading.Lock(), threading.Lock()
        self._held = _left_over(run)
        self._others: dict[str, tuple[HeldAddress, ...]] = {}
        self._announce: dict[str, int] = {}

    def also(self, owner: str, addresses: Mapping[str, Sequence[str]]) -> None:
        """`owner` (a plugin) has these, by device, as long as this node may act: `lower` and the guard take them too.
        Raises Permanent.
        """
        with self._file:
            before = self._others.get(owner, ())
            self._others[owner] = tuple(
                HeldAddress(device, word) for device, words in sorted(addresses.items()) for word in words
            )
            its = {*before, *self._others[owner]}  # there may be a thousand
            rest = (one for one in self._held.addresses if one not in its)
            self._publish(Held(self._held.until_boottime_s, (*rest, *self._others[owner])))

    @property
    def held(self) -> Held:
        return self._held

    def extend(self, until_s: float | None) -> None:
        """This node may hold them until then (boot time; None: no end). Raises nothing: what the guard could not be
        told ends for it as told before, and the next `ensure` says why.
        """
        with self._file:
            self._held = Held(until_s, self._held.addresses)
            if self._held.addresses:
                try:
                    write_until(self._run, until_s)
                except OSError:
                    pass

    def ensure(self, may: Callable[[], bool]) -> Raised:
        """Have every address that nobody else has; `may` is asked again before each is given.

        Those that are there stay untouched. Raises Permanent when nothing can be done at all.
        """
        with self._lock, Links() as links:
            places, faults = self._places(links)
            missing = {network: link for network, link in places.items() if not self._there(links, network, link)}
            taken = self._owners(missing)
            with self._file:
                self._publish(self._held)
            faults += [f"{self._wanted[network].ip} is used by the machine {mac}" for network, mac in taken.items()]
            for network, link in missing.items():
                if network not in taken and may():
                    self._list(link, self._wanted[network])
                    self._give(links, link, network)
            return self._announced(links, places, faults)

    def lower(self) -> None:
        """Have none of them, also none that an earlier life of this daemon left. Raises Permanent."""
        with self._lock, Links() as links:
            known = {link.name: link for link in links.all()}
            for network, interface in self._wanted.items():
                link = known.get(bridge_name(network))
                for address in links.addresses(link) if link else ():
                    if link and (address.protocol == FLOATING_PROTOCOL or address.interface.ip == interface.ip):
                        links.remove_address(link, address.interface)
            for held in self._held.addresses:
                if held.device in known:
                    links.remove_address(known[held.device], ip_interface(held.address))
            self._announce.clear()
            with self._file:
                self._publish(Held(self._held.until_boottime_s, ()))

    # -- giving --------------------------------------------------------------------------------------------------------

    def _places(self, links: Links) -> tuple[dict[str, Link], list[str]]:
        found = {network: link for network in self._wanted if (link := links.find(bridge_name(network)))}
        missing = self._wanted.keys() - found.keys()
        return found, [f"there is no {bridge_name(name)} for {self._wanted[name].ip}" for name in sorted(missing)]

    def _there(self, links: Links, network: str, link: Link) -> Address | None:
        ip = self._wanted[network].ip
        return next((address for address in links.addresses(link) if address.interface.ip == ip), None)

    def _owners(self, missing: Mapping[str, Link]) -> dict[str, str]:
        """Other machines that have an address still; the kernel asks for IPv6 itself, once it is given."""
        places = {
            arp.Place(link.name, link.mac, ip): network
            for network, link in missing.items()
            if isinstance(ip := self._wanted[network].ip, IPv4Address) and link.up
        }
        return {places[place]: mac for place, mac in arp.owners(list(places)).items()} if places else {}

    def _give(self, links: Links, link: Link, network: str) -> None:
        links.add_address(link, self._wanted[network], FLOATING_PROTOCOL)
        self._announce[network] = ANNOUNCEMENTS

    def _announced(self, links: Links, places: Mapping[str, Link], faults: list[str]) -> Raised:
        held, pending = [], []
        for network, link in places.items():
            address, interface = self._there(links, network, link), self._wanted[network]
            if address is None:
                continue
            if address.duplicate:
                links.remove_address(link, interface)
                faults.append(f"{interface.ip} is used by another machine")
            elif address.tentative:
                pending.append(str(interface.ip))
            else:
                held.append(str(interface.ip))
                self._tell_neighbours(network, link)
        announcing = any(self._announce.get(network) for network in places)
        return Raised(tuple(held), tuple(pending), tuple(faults), announcing)

    def _tell_neighbours(self, network: str, link: Link) -> None:
        if not self._announce.get(network):
            return
        self._announce[network] -= 1
        ip = self._wanted[network].ip
        if isinstance(ip, IPv4Address):
            arp.announce(arp.Place(link.name, link.mac, ip))
        else:
            ndisc.announce(link.name, link.mac, ip)

    # -- the file ------------------------------------------------------------------------------------------------------

    def _list(self, link: Link, interface: Interface) -> None:
        """Before it is given: whatever happens then, the guard knows what to take back."""
        entry = HeldAddress(link.name, str(interface))
        with self._file:
            if entry not in self._held.addresses:
                self._publish(Held(self._held.until_boottime_s, (*self._held.addresses, entry)))

    def _publish(self, held: Held) -> None:
        try:
            if held.addresses and held.addresses == self._held.addresses and (self._run / NAME).exists():
                write_until(self._run, held.until_boottime_s)
            else:
                write_held(self._run, held)
        except OSError as error:
            raise Permanent(
                f"cannot tell the guard of the floating addresses in {self._run}: {error.strerror}",
                help="is there room on it, and is pvcnoded run as root?",
            ) from None
        self._held = held


def _left_over(run: Path) -> Held:
    """Of an earlier life; what cannot be read ended at once."""
    try:
        return read_held(run)
    except (OSError, ValueError):
        return Held(0.0)
