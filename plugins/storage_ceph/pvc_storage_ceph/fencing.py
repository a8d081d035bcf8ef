"""A lost node is kept from writing into a pool: its key revoked, its addresses shut out for years. In the child.

In this order (each step answers a schedule that broke a simpler one): the key, so that nobody comes back with it; every
address that is the node's for certain, above all its own on the storage network, because a client that only read so
far is in no list; then whoever else is watching or has locked one of its volumes; then all of it is read again, also
whether the OSDs know. Blocklists: Ceph's docs/rados/operations/control, docs/rbd/rbd-exclusive-locks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pvc_core.model.fence import FenceAnswer, NoProof, Proof, ProofKind, Why, WriteFence
from pvc_core.model.storage import Volume
from pvc_storage_ceph import keyring
from pvc_storage_ceph.cluster import Cluster
from pvc_storage_ceph.images import Images
from pvc_storage_ceph.records import Records

RUNG = "storage_ceph"
_YEARS_S = 10 * 365 * 86400.0
_LONG = timedelta(days=365)
"""What is shut out for less counts as not shut out."""
_AT_ONCE = 16
"""Monitors gather what comes together into one decision, which takes up to a second."""
_OSD_S = 2
_NETWORK = "storage"


def own_addresses(fence: WriteFence) -> list[str]:
    """The node's own, which are shut out as a whole: that on the storage network; all, where it has no such network."""
    addresses = fence.target.addresses
    return [addresses[_NETWORK]] if addresses.get(_NETWORK) else sorted(set(addresses.values()))


def ip_of(address: str) -> str:
    """Of a client's address IP:PORT/NONCE, where IP may be [an IPv6 one]; of an IP, itself."""
    host = address.partition("/")[0]
    host = host.rpartition(":")[0] if "/" in address or host.count(":") == 1 else host
    return host.strip("[]")


@dataclass
class Fencing:
    """One attempt."""

    cluster: Cluster
    images: Images
    records: Records
    fence: WriteFence
    _added: int = 0
    _known: set[str] = field(default_factory=set)

    def attempt(self, prefix: str) -> FenceAnswer:
        target = self.fence.target
        standing = keyring.revoke(self.cluster, target.node, target.incarnation, prefix)
        if standing:
            return self._none(Why.DISOBEYED, f"the key client.{standing[0]} was revoked, and still stands")
        own = own_addresses(self.fence)
        if not own:
            return self._none(Why.UNKNOWN, "no address of it on the storage network is known: a list proves nothing")
        self._known = {*self.fence.noted, *own}
        disputed = sorted(one for one in self._known if self._others(one))
        with ThreadPoolExecutor(1) as meanwhile:  # one round of the monitors for both
            down = meanwhile.submit(self._mark_down, [one for one in own if one not in disputed])
            self._shut_out(self._known.difference(disputed))
            down.result()
        if disputed:
            other = self._others(disputed[0])
            return self._none(Why.UNATTRIBUTABLE, f"address {disputed[0]} is on record for node {other}, too")
        for _round in range(2):  # what came in while the first were shut out
            found = self._users()
            strangers = sorted(one for one in found if not self._is_targets(one) and not self._others(one))
            if strangers:
                names = ", ".join(strangers)
                return self._none(Why.UNATTRIBUTABLE, f"{names} uses a volume of it, and no node is known to be that")
            self._known.update(one for one in found if self._is_targets(one))
            self._shut_out(self._known)
        return self._seen(prefix)

    # -- shutting out --------------------------------------------------------------------------------------------------

    def _shut_out(self, addresses: Iterable[str]) -> None:
        missing = sorted(set(addresses) - shut_out_for_long(self.cluster, addresses))
        blocklist(self.cluster, missing, _YEARS_S)
        self._added += len(missing)

    def _mark_down(self, own: Collection[str]) -> None:
        """The lost node's OSDs: what they serve others serve at once. One that lives after all says so itself."""
        theirs = [str(number) for number, ip in self._osds() if ip in own]
        if theirs:
            self.cluster.command("osd down", ids=theirs)

    def _osds(self) -> list[tuple[int, str]]:
        """(number, IP) of those that are up."""
        osds = self.cluster.command("osd dump")["osds"]
        return [(int(one["osd"]), ip_of(str(one["public_addr"]))) for one in osds if one["up"]]

    # -- who is there --------------------------------------------------------------------------------------------------

    def _users(self) -> set[str]:
        """Addresses that watch or have locked one of the target's volumes."""
        found: set[str] = set()
        for volume in self.fence.volumes:
            found.update(users_of(self.images, self.records, volume))
        return found

    def _is_targets(self, address: str) -> bool:
        return address in self.fence.noted or ip_of(address) in own_addresses(self.fence)

    def _others(self, address: str) -> str:
        """The other node that an address belongs to; "" for none. The target's own is never another's by its noted
        clients alone.
        """
        for node, addresses in self.fence.others.items():
            if address in addresses or ip_of(address) in addresses:
                return node
        return ""

    # -- what is seen in the end ---------------------------------------------------------------------------------------

    def _seen(self, prefix: str) -> FenceAnswer:
        missing = sorted(self._known - shut_out_for_long(self.cluster, self._known))
        if missing:
            return self._none(Why.DISOBEYED, f"{missing[0]} was shut out, and is not on Ceph's list")
        late = self._late_osds()
        if late:
            return self._none(Why.UNREACHABLE, f"{', '.join(late)} did not say that they know of it")
        target = self.fence.target
        user = keyring.guest_user(target.node, target.incarnation, prefix)
        return Proof(
            kind=ProofKind.NO_WRITE,
            node=target.node,
            incarnation=target.incarnation,
            rung=RUNG,
            pool=self.fence.pool.name,
            seen=f"key client.{user} revoked, {len(self._known)} addresses shut out",
            how=", ".join(sorted(self._known)),
            already=not self._added,
        )

    def _late_osds(self) -> list[str]:
        """OSDs that may still take a write because they do not have the list yet. The target's own do not count: what
        they take without the others is undone when they meet.
        """
        epoch = int(self.cluster.command("osd dump")["epoch"])
        own = own_addresses(self.fence)
        asked = [number for number, ip in self._osds() if ip not in own]

        def is_late(number: int) -> bool:
            try:
                status: Any = self.cluster.ask_osd(number, "status", _OSD_S)
            except self.cluster.rados.Error:
                return True
            return status is None or int(status["newest_map"]) < epoch

        with ThreadPoolExecutor(_AT_ONCE) as together:
            late = list(together.map(is_late, asked))
        return [f"osd.{number}" for number, is_so in zip(asked, late, strict=True) if is_so]

    def _none(self, why: Why, reason: str) -> NoProof:
        return NoProof(rung=RUNG, node=self.fence.target.node, why=why, reason=reason, acted=True)


def users_of(images: Images, records: Records, volume: Volume) -> set[str]:
    """Addresses that watch or have locked the volume's image; none when it is gone. Ours is not among them."""
    record = records.get(volume.id)
    name = images.names().get(record.image) if record is not None else None
    return set(images.holders(name)) if name is not None else set()


def blocklist(cluster: Cluster, addresses: Sequence[str], for_s: float) -> None:
    """All at once; returns when each is on the list."""

    def add(address: str) -> None:
        cluster.command("osd blocklist", blocklistop="add", addr=address, expire=for_s)

    with ThreadPoolExecutor(_AT_ONCE) as together:
        list(together.map(add, addresses))
    if addresses:
        cluster.settle_map()


def shut_out_for_long(cluster: Cluster, addresses: Iterable[str]) -> set[str]:
    """Those of `addresses` that are on Ceph's list for longer than a year."""
    now = datetime.now(UTC)
    entries = {
        str(one["addr"])
        for one in cluster.command("osd blocklist ls") or []
        if datetime.fromisoformat(str(one["until"])) - now > _LONG
    }
    return {one for one in addresses if _as_listed(one) in entries}


def _as_listed(address: str) -> str:
    """A whole IP is on Ceph's list as IP:0/0."""
    if "/" in address:
        return address
    return f"[{address}]:0/0" if ":" in address else f"{address}:0/0"
