# SPDX-License-Identifier: LGPL-3.0-or-later
"""The two closed types between drivers: where a disk's bytes are (DiskSource), what a NIC plugs into (NicTarget).

A compute driver lists the ones it takes; a mismatch is refused when a VM is defined, in words. A new kind is a change
of the contract, so that no driver ever meets one it cannot know.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file on the node; `format` is raw or qcow2."""

    path: str
    format: str = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block device on the node, raw."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rbd:
    """An RBD image; `secret_uuid` is libvirt's name of the key of `user`, `key_file` where this node's compute driver
    reads that key (a file that only root reads; "" if the hypervisor has it already).
    """

    pool: str
    image: str
    monitors: tuple[tuple[str, int], ...]
    user: str
    secret_uuid: str
    key_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nbd:
    """An NBD export: either `socket` or `host` and `port`."""

    export: str
    socket: str = ""
    host: str = ""
    port: int = 10809


@dataclass(frozen=True, slots=True, kw_only=True)
class Iscsi:
    iqn: str
    lun: int
    host: str
    port: int = 3260


DiskSource = File | Block | Rbd | Nbd | Iscsi


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge on the node; `device` is the tap's name if the network driver wants to know it beforehand."""

    bridge: str
    device: str = ""
    mtu: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Macvtap:
    """A device whose frames the guest gets; `vlan` is the tag that the NIC sets and takes off (0: none)."""

    device: str
    mode: str = "passthrough"
    vlan: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostdev:
    """A PCI function, "0000:65:00.1"; `vlan` is the tag that the NIC sets and takes off (0: none)."""

    pci_address: str
    vlan: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VhostUser:
    socket: str
    mode: str = "server"


NicTarget = Bridge | Macvtap | Hostdev | VhostUser
