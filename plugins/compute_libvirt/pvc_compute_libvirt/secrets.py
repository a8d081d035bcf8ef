"""The keys of network disks, given to this node's libvirt before a guest needs them.

A secret is kept in libvirtd's memory only and cannot be read back. It has the same UUID on every node, and each node's
own value: so a guest's XML fits everywhere, and a key taken from one node takes nothing from another.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from xml.sax.saxutils import escape

import libvirt

from pvc_core.contracts.targets import DiskSource, Rbd
from pvc_core.errors import Permanent


def give(connection: libvirt.virConnect, sources: Iterable[DiskSource]) -> None:
    """Each source's key is libvirt's. Given again it is set again: it may have changed. Raises Permanent."""
    for source in sources:
        if isinstance(source, Rbd) and source.key_file:
            _define(connection, source).setValue(_key(source))


def _define(connection: libvirt.virConnect, source: Rbd) -> libvirt.virSecret:
    usage = escape(f"pvc {source.secret_uuid}")  # a secret's usage cannot change, and the user does with each boot
    return connection.secretDefineXML(
        f"<secret ephemeral='yes' private='yes'><uuid>{source.secret_uuid}</uuid>"
        f"<usage type='ceph'><name>{usage}</name></usage></secret>"
    )


def _key(source: Rbd) -> bytes:
    try:
        with open(source.key_file, "rb") as file:
            return base64.b64decode(file.read().strip(), validate=True)
    except (OSError, binascii.Error) as error:
        raise Permanent(
            f"the key of {source.user} for the disk {source.pool}/{source.image} cannot be read: {error}",
            help="is its storage plugin well? see `pvc node why`",
        ) from None
