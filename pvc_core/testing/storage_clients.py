# SPDX-License-Identifier: LGPL-3.0-or-later
"""Who has volumes of the fake storage open, and who may: clients with addresses, keys of incarnations, a blocklist.

Shaped after RBD: a client that is shut out by its address writes no more; one whose key was revoked cannot come back,
but goes on while it is connected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pvc_core.errors import Refused
from pvc_core.model.fence import FenceAnswer, NoProof, Proof, ProofKind, Why, WriteFence

STORAGE = "storage"


@dataclass(frozen=True)
class Client:
    """One QEMU's connection; `address` as Ceph writes it: IP:PORT/NONCE. Not `watching`: no list shows it yet."""

    address: str
    volume_id: str
    key: str
    watching: bool = True


@dataclass
class FakeClients:
    connected: list[Client] = field(default_factory=list)
    shut_out: set[str] = field(default_factory=set)
    """Whole addresses, and IPs without port for all that come from there."""
    revoked: set[str] = field(default_factory=set)
    stubborn: bool = False
    """A revocation is accepted and does nothing."""

    def connect(self, node: str, incarnation: str, address: str, volume_id: str, *, watching: bool = True) -> Client:
        """Raises Refused when the incarnation's key is revoked."""
        client = Client(address, volume_id, key_of(node, incarnation), watching)
        if client.key in self.revoked:
            raise Refused(f"key {client.key} is revoked")
        self.connected.append(client)
        return client

    def writes(self, client: Client) -> bool:
        return not {client.address, ip_of(client.address)} & self.shut_out

    def of(self, node: str, volume_id: str) -> list[str]:
        """Addresses by which `node` has the volume open and is seen to."""
        mine = [one for one in self.connected if one.volume_id == volume_id and one.watching]
        return [one.address for one in mine if one.key.startswith(f"{node}-") and one.address not in self.shut_out]

    def fence(self, rung: str, fence: WriteFence) -> FenceAnswer:
        """As StorageDriver.fence_node says."""
        key = key_of(fence.target.node, fence.target.incarnation)
        if not self.stubborn:
            self.revoked.add(key)
        if key not in self.revoked:
            return _none(rung, fence, Why.DISOBEYED, f"key {key} was revoked, and still stands", acted=True)
        known = {*fence.noted, *_own(fence)}
        if not known | set(self._watching(fence)):
            return _none(rung, fence, Why.UNKNOWN, "no address of it is known: an empty list proves nothing")
        before = len(self.shut_out)
        for _round in range(2):
            strangers = [address for address in self._watching(fence) if not _whose(fence, address)]
            disputed = sorted(address for address in known if _others(fence, address))
            if strangers or disputed:
                return _none(rung, fence, Why.UNATTRIBUTABLE, f"{(strangers + disputed)[0]} could be anybody's")
            known |= {address for address in self._watching(fence) if _whose(fence, address) == fence.target.node}
            self.shut_out |= known
        return Proof(
            kind=ProofKind.NO_WRITE,
            node=fence.target.node,
            incarnation=fence.target.incarnation,
            rung=rung,
            pool=fence.pool.name,
            seen=f"key {key} revoked, {len(known)} addresses shut out",
            how=", ".join(sorted(known)),
            already=len(self.shut_out) == before,
        )

    def _watching(self, fence: WriteFence) -> Iterable[str]:
        ids = {volume.id for volume in fence.volumes}
        return [client.address for client in self.connected if client.watching and client.volume_id in ids]


def key_of(node: str, incarnation: str) -> str:
    return f"{node}-{incarnation}"


def ip_of(address: str) -> str:
    return address.rpartition(":")[0] or address


def _own(fence: WriteFence) -> list[str]:
    return [fence.target.addresses[STORAGE]] if fence.target.addresses.get(STORAGE) else []


def _whose(fence: WriteFence, address: str) -> str:
    """The node that an address belongs to, "" when nobody can tell."""
    if address in fence.noted or ip_of(address) in _own(fence):
        return fence.target.node
    return _others(fence, address)


def _others(fence: WriteFence, address: str) -> str:
    return next((node for node, own in fence.others.items() if {address, ip_of(address)} & set(own)), "")


def _none(rung: str, fence: WriteFence, why: Why, reason: str, *, acted: bool = False) -> NoProof:
    return NoProof(rung=rung, node=fence.target.node, why=why, reason=reason, acted=acted)
