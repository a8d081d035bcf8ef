"""What the primary does for managed networks: gateway addresses, routing between them, DHCP and names; and what every
node does for those whose gateway is distributed (spreading.py).

One thread looks at which networks there are and whether this node is primary, and makes it so; it is woken by every
change of either, and by dnsmasq's leases. All of it is taken down before another node may do it: the addresses with the
floating ones (PluginContext.hold), dnsmasq by the loss of the role or with the daemon.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Permanent, PvcError, Retry
from pvc_core.model.network import Network
from pvc_net_evpn import dnsmasq
from pvc_net_evpn.anycast import Anycast
from pvc_net_evpn.definitions import HEADERS_BYTES
from pvc_net_evpn.firewall import ruleset
from pvc_net_evpn.gateway import Gateways, primary_addresses, primary_name
from pvc_net_evpn.kernel import Kernel
from pvc_net_evpn.leased import Leased
from pvc_net_evpn.leases import LeaseBook, LeasePipe
from pvc_net_evpn.metadata import ADDRESS, Asker, Metadata
from pvc_net_evpn.options import serves_dhcp, wishes, with_gateway
from pvc_net_evpn.serving import Serving
from pvc_net_evpn.shortcuts import shortcuts
from pvc_net_evpn.spreading import Spreading

PLACE = Path("/var/lib/pvc-evpn")
LOOK_S, SOON_S, WAIT_S, RUN_S = 5.0, 0.5, 3.0, 10.0


class Router:
    """`enter`: words before each program that shall run in another network namespace (tests)."""

    def __init__(
        self,
        context: PluginContext,
        kernel: Kernel,
        gateways: Gateways,
        *,
        local: str,
        run: Path,
        place: Path = PLACE,
        enter: Sequence[str] = (),
        metadata: tuple[str, int] = ADDRESS,
    ) -> None:
        self._context, self._kernel, self._gateways, self._local = context, kernel, gateways, local
        self._run, self._place, self._enter = run, place, list(enter)
        self.book = LeaseBook(context.state, context.clock)
        self.leased = Leased(context, self.book, kernel.open)
        self._spreading = Spreading(Anycast(kernel.open), self.book, self.leased, lambda argv: self._do(argv, b""))
        self._metadata = Metadata(self._asker, metadata)
        self._lock = threading.Condition()
        self._networks: dict[int, Network] = {}
        self._changed: set[int] = set()
        self._faults: dict[int, str] = {}
        """Why a network's dnsmasq cannot be started; the others are served."""
        self._releasing: dict[int, set[str]] = {}
        """VNI -> addresses whose leases are to end."""
        self._done: dict[int, Network] = {}
        """Networks as they were last made here, as primary or not."""
        self._acting: bool | None = None
        self._loaded: dict[str, str] = {}
        """Tables of nft as they were last given to it."""
        self._forwards: list[str] = []
        self._why = ""
        self._ending = False
        self._thread: threading.Thread | None = None
        self._pipe: LeasePipe | None = None
        self._serving: Serving | None = None

    # -- for the driver ------------------------------------------------------------------------------------------------

    def want(self, network: Network) -> None:
        """Raises Retry until what this node has to do for it is done."""
        with self._lock:
            known = self._networks.get(network.vni) == network
            if not known:
                self._networks[network.vni] = network
                self._changed.add(network.vni)
            self._begin()
            stands = known and network.vni not in self._changed and self._done.get(network.vni) == network
        if not stands:  # else every look at one network would be one at all of them
            self.wake()
        with self._lock:
            self._lock.wait_for(lambda: self._done.get(network.vni) == network or self._why, WAIT_S)
            if self._done.get(network.vni) != network:
                raise Retry(self._why or "its gateway is being made", again_in_s=1.0)
            if network.vni in self._faults:
                raise Permanent(self._faults[network.vni], help="`pvc network modify` with what is wrong corrected")

    def forget(self, network: Network) -> None:
        """It is being removed. Raises Retry, StoreUnavailable."""
        with self._lock:
            self._begin()
            if (known := self._networks.get(network.vni)) is not None and known.id == network.id:
                del self._networks[network.vni]
                self._changed.add(network.vni)
        self.wake()
        with self._lock:
            if not self._lock.wait_for(lambda: self._gone(network), WAIT_S):
                raise Retry(self._why or "its gateway is being taken down", again_in_s=1.0)
        self._gateways.take(network)
        if self._context.is_primary():
            self.book.drop(network.id)

    def release(self, network: Network, address: str) -> None:
        """The lease of `address` has ended, here and in the store. There was none: fine. Raises Retry."""
        if not self._context.is_primary():
            raise Retry("this node is not primary, so its dnsmasq gives no leases", again_in_s=1.0)
        with self._lock:
            self._releasing.setdefault(network.vni, set()).add(address)
        self.wake()
        with self._lock:
            if not self._lock.wait_for(lambda: address not in self._releasing.get(network.vni, ()), WAIT_S):
                # Asked again it is put in again; left here it would end another's lease when this node is primary next.
                self._releasing[network.vni].discard(address)
                raise Retry(self._why or "its dnsmasq is being told", again_in_s=1.0)

    def plugged(self, vni: int) -> None:
        """A guest has come here: what is lent to it is to be known."""
        self.leased.expect(vni)
        self.wake()

    def wake(self, *_: object) -> None:
        """Look now. From any thread; returns at once."""
        if self._pipe is not None:
            try:
                fd = os.open(self._pipe.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return
            try:
                os.write(fd, b"\n")
            except BlockingIOError:
                pass  # so much is to be read that it looks anyway
            finally:
                os.close(fd)

    def stop(self) -> None:
        """The gateway's addresses stay until the role is given away: on a cluster of one, guests go on talking."""
        self._ending = True
        self.wake()
        if self._thread is not None:
            self._thread.join(RUN_S)
        self._metadata.stop()

    def _role(self, acting: bool) -> None:
        """What was given may be taken away already, by whoever took the floating addresses: all is looked at anew."""
        self._acting = None
        self.wake()

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._thread is not None:
            return
        self._run.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._pipe = LeasePipe(self._run / "leases", self._heard)
        self._serving = Serving(self._context, self._run, self._place, self._pipe.path, self._enter)
        self._thread = threading.Thread(target=self._keep, name="net_evpn-router", daemon=True)
        self._thread.start()
        self._context.on_primary(self._role)
        self._context.on_guests(self.wake)
        self.leased.begin()

    def _keep(self) -> None:
        assert self._pipe is not None
        pause = threading.Event()
        while not self._ending:
            said, soon = "", False
            try:
                soon = self._look()
            except PvcError as error:
                said = str(error)
            except OSError as error:
                said = f"{error.filename or 'the gateway'}: {error.strerror}"
            except Exception as error:  # whatever it was: without this thread no gateway would ever move again
                self._context.log.exception("looking after the gateways failed")
                said = f"{type(error).__name__}: {error}"
            with self._lock:
                self._why = said
                self._lock.notify_all()
            if self._pipe.wait(SOON_S if said or soon else LOOK_S):
                pause.wait(0.02)  # leases come in bursts: they are written together
                while self._pipe.wait(0.0):
                    continue

    def _look(self) -> bool:
        """True when it should look again soon."""
        with self._lock:
            networks = [self._networks[vni] for vni in sorted(self._networks)]
            changed, self._changed = self._changed, set()
        acting, before = self._context.is_primary(), self._acting
        self._acting = acting
        try:
            if acting != before:
                changed = {*changed, *(one.vni for one in networks)}
            soon = self._act(networks, changed) if acting else self._rest(networks, changed)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            with self._lock:
                self._changed |= changed
            raise
        with self._lock:
            self._done = {one.vni: one for one in networks}
        return soon

    def _gone(self, network: Network) -> bool:
        done = self._done.get(network.vni)
        return network.vni not in self._changed and (done is None or done.id != network.id)

    # -- not primary ---------------------------------------------------------------------------------------------------

    def _rest(self, networks: Sequence[Network], changed: set[int]) -> bool:
        assert self._serving is not None
        for network in networks:  # before all else: another node has the same addresses by now
            if network.vni in changed:
                self._gateways.take(network)
                self._spreading.clear(network)
        self._metadata.stop()
        for name in self._serving.running():
            self._serving.stop(name)
        for network in networks:
            if network.vni in changed:
                self.book.forget(network.id)
                self.leased.forget(network.id)
        if changed:
            self._context.hold({})
        routed = with_gateway(networks)
        self._let_through(
            routed if self._context.node.coordinator else [one for one in routed if wishes(one).distributed]
        )
        self.leased.look(networks, acting=False)
        self._spreading.look(routed, acting=False)
        return False

    def _let_through(self, routed: Sequence[Network]) -> None:
        """On every coordinator, so that whoever becomes primary only needs the addresses; on every node what it routes
        itself.
        """
        self._forward(routed)
        self._filter("inet", ruleset(routed, nat_address=self._floating()))
        self._filter("bridge", shortcuts(routed))

    # -- primary -------------------------------------------------------------------------------------------------------

    def _act(self, networks: Sequence[Network], changed: set[int]) -> bool:
        routed = with_gateway(networks)
        if changed:
            self._context.hold({primary_name(one): [str(word) for word in primary_addresses(one)] for one in routed})
        self._let_through(routed)
        for network in networks:
            if network.vni in changed:
                self._spreading.clear(network)
                self._give(network)
        self.leased.look(networks, acting=True)
        self._spreading.look(routed, acting=True)
        if any(one.ip4.gateway for one in routed):
            self._metadata.start()
        return self._serve(routed, changed)

    def _give(self, network: Network) -> None:
        if not self._context.is_primary():
            raise Retry("this node is not primary any more")
        if network.ip4.gateway or network.ip6.gateway:
            self._gateways.give(network)
            if wishes(network).distributed:  # what comes in there is answered by the bridge
                self._do(["sysctl", "-q", "-w", f"net.ipv4.conf.{primary_name(network)}.rp_filter=2"], b"")
        else:
            self._gateways.take(network)

    def _serve(self, routed: Sequence[Network], changed: set[int]) -> bool:
        assert self._serving is not None
        if routed and not self._serving.running():
            self._serving.prepare()
        wanted = [one for one in routed if serves_dhcp(one)]
        for name in set(self._serving.running()) - {str(one.vni) for one in wanted} - {"all"}:
            self._serving.stop(name)
        with self._lock:
            releasing = {vni: {*addresses} for vni, addresses in self._releasing.items()}
        carried = self._kernel.mtu_of(self._local) - HEADERS_BYTES if wanted else 0
        for network in wanted:
            if network.vni in changed and str(network.vni) not in self._serving.running():
                self.book.load(network.id)
            self._end_leases(network, releasing.get(network.vni, ()))
            try:
                self._serving.network(
                    network,
                    mtu=network.mtu or carried,
                    names=self._names(network),
                    leases=self.book.of(network.id),
                    tftp_root=str(self._context.config.get("tftp_root") or ""),
                )
                self._faults.pop(network.vni, None)
            except Permanent as error:
                self._faults[network.vni] = str(error)
        self.book.write()
        with self._lock:
            for vni, addresses in releasing.items():
                self._releasing[vni] -= addresses
        self._aggregate(routed)
        return not self._serving.tell()

    def _end_leases(self, network: Network, addresses: Collection[str]) -> None:
        """Its dnsmasq begins anew with those that are left: told by a packet it would end leases of IPv4 only."""
        assert self._serving is not None
        if given := {one.address for one in self.book.of(network.id)}.intersection(addresses):
            self._serving.stop(str(network.vni))
            for address in given:
                self.book.note(network.id, None, address)

    def _aggregate(self, routed: Sequence[Network]) -> None:
        assert self._serving is not None
        address = self._floating()
        if not address or not routed:
            self._serving.upstream("", "")
            return
        text = dnsmasq.aggregate(
            routed,
            self._serving.folder_of_all,
            address=address,
            name=str(self._context.config.get("dns_name") or "ns.pvc.local"),
            transfer=self._context.config.get("dns_transfer") or (),
        )
        self._serving.upstream(text, dnsmasq.aggregate_names(routed, {one.vni: self.book.of(one.id) for one in routed}))

    def _names(self, network: Network) -> dict[str, str]:
        """What guests are called, by MAC."""
        found = {}
        for guest in self._context.guests(str(network.vni)):
            label = dnsmasq.host_label(guest.name)
            found.update({nic.mac: label for nic in guest.nics if nic.network == str(network.vni)})
        return found

    def _asker(self, address: str) -> Asker | None:
        """Networks do not overlap, and the firewall lets each speak for itself only: the address says which it is."""
        with self._lock:
            networks = list(self._networks.values())
        asked = ip_address(address)
        for network in networks:
            if network.ip4.network and asked in ip_network(network.ip4.network):
                fixed = {one.address: one.mac for one in network.reservations}
                mac = self.book.mac_at(network.id, address) or fixed.get(address, "")
                guest = self._context.guest_of(mac) if mac else None
                return Asker(guest=guest, network=network, address=address, mac=mac) if guest else None
        return None

    def _heard(self, vni: int, given: dnsmasq.Given | None, gone: str) -> None:
        with self._lock:
            network = self._networks.get(vni)
        if network is not None:
            self.book.note(network.id, given, gone)

    # -- the node ------------------------------------------------------------------------------------------------------

    def _floating(self) -> str:
        """The cluster's IPv4 address on upstream, which is here while this node is primary."""
        word = self._context.node.floating.get("upstream", "")
        return str(ip_interface(word).ip) if word and ip_interface(word).version == 4 else ""

    def _forward(self, routed: Sequence[Network]) -> None:
        wanted = ["net.ipv4.ip_forward=1"] if any(one.ip4.gateway for one in routed) else []
        wanted += ["net.ipv6.conf.all.forwarding=1"] if any(one.ip6.gateway for one in routed) else []
        if wanted and wanted != self._forwards:
            self._do(["sysctl", "-q", "-w", *wanted], b"")
            self._forwards = wanted

    def _filter(self, family: str, text: str) -> None:
        if text != self._loaded.get(family):
            self._do(["nft", "-f", "-"], text.encode())
            self._loaded[family] = text

    def _do(self, argv: Sequence[str], stdin: bytes) -> None:
        done = self._context.run([*self._enter, *argv], deadline_s=RUN_S, stdin=stdin)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Retry(f"{argv[0]} did not take what the gateway needs: {' / '.join(said[:2])}", again_in_s=2.0)
