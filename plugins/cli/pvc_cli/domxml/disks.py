"""Disks in a definition: volumes of a pool (the wire says rbd, whatever the pool's driver) and files."""

from __future__ import annotations

import copy
from itertools import product
from string import ascii_lowercase

from lxml import etree

from pvc_cli.domxml.tree import Element, add_device, parse, remove_device, text_of, whole_text_of
from pvc_cli.errors import CliError, NotThere

PREFIX = {"virtio": "vd", "ide": "hd", "scsi": "sd", "usb": "sd"}
"""libvirt's names of disks by their bus."""


def with_disk(xml: str, volume: str, *, kind: str, bus: str, device: str | None) -> tuple[str, str]:
    """The definition with a disk on `volume`, and that disk's XML.

    `kind` is rbd (volume is POOL/VOLUME) or file (volume is a path). Without `device` the first free name of the bus.
    Raises CliError when the volume or the name is used already.
    """
    root = parse(xml)
    disks = root.findall("devices/disk")
    if any(source_of(disk) == volume for disk in disks):
        raise CliError(f"The VM already has the volume {volume}.")
    used = {device_of(disk) for disk in disks}
    if device in used:
        raise CliError(f"The VM already has a disk {device}.", help="leave --disk-id out to take a free one")
    disk = rbd_disk(volume, disks) if kind == "rbd" else file_disk(volume)
    etree.SubElement(disk, "target", dev=device or free_device(PREFIX[bus], used), bus=bus)
    add_device(root, disk)
    return whole_text_of(root), text_of(disk)


def without_disk(xml: str, volume: str) -> tuple[str, str]:
    """The definition without the disk, and the disk's XML. `volume` may also be the disk's name in the guest (sda)."""
    root = parse(xml)
    for disk in root.findall("devices/disk"):
        if volume in (source_of(disk), device_of(disk)):
            alone = text_of(disk)
            remove_device(disk)
            return whole_text_of(root), alone
    raise NotThere(f"The VM has no volume {volume}.", help="pvc vm volume get VM shows them")


def rbd_disk(volume: str, others: list[Element]) -> Element:
    if volume.count("/") != 1 or not all(volume.split("/")):
        raise CliError(f'"{volume}" is no volume.', help="write it as POOL/VOLUME")
    disk = etree.Element("disk", type="network", device="disk")
    etree.SubElement(disk, "driver", name="qemu", discard="unmap")
    model = next((one for one in others if is_rbd(one)), None)
    auth = model.find("auth") if model is not None else None
    if auth is not None:
        disk.append(bare(auth))
    source = etree.SubElement(disk, "source", protocol="rbd", name=volume)
    if model is not None:
        # Monitors and secret are the cluster's, the same for every volume; without a model the cluster puts them in.
        source.extend(bare(child) for child in model.findall("source/*"))
    return disk


def file_disk(path: str) -> Element:
    if not path.startswith("/"):
        raise CliError(f'"{path}" is no absolute path of a file.')
    disk = etree.Element("disk", type="file", device="disk")
    etree.SubElement(disk, "driver", name="qemu", type="raw")
    etree.SubElement(disk, "source", file=path)
    return disk


def free_device(prefix: str, used: set[str]) -> str:
    """sda ... sdz, sdaa ... sdzz: the first that is not used."""
    letters: list[str] = [*ascii_lowercase, *("".join(pair) for pair in product(ascii_lowercase, repeat=2))]
    for letter in letters:
        if prefix + letter not in used:
            return prefix + letter
    raise CliError(f"The VM has no free disk name on this bus ({prefix}a to {prefix}zz are used).")


def is_rbd(disk: Element) -> bool:
    source = disk.find("source")
    return source is not None and source.get("protocol") == "rbd"


def source_of(disk: Element) -> str:
    source = disk.find("source")
    if source is None:
        return ""
    return source.get("name") or source.get("file") or source.get("dev") or ""


def device_of(disk: Element) -> str:
    target = disk.find("target")
    return target.get("dev", "") if target is not None else ""


def bare(element: Element) -> Element:
    """A copy without the white space that followed the original."""
    made = copy.deepcopy(element)
    made.tail = None
    return made
