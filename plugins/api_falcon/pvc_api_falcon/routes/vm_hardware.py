"""A VM's CPUs, memory, disks and NICs in its definition, changed here with a version check: clients need no XML for it.

What a running guest is to have at once, the device of the answer, goes to /vm/{vm}/device after it (vm_state.py).
"""

from __future__ import annotations

import re
from functools import partial

from marshmallow import Schema

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.fields import choice, flag, text, whole
from pvc_api_falcon.roles import check_reach
from pvc_api_falcon.route import Answer, Call, Handler, Route, data
from pvc_api_falcon.routes.sriov import function_of
from pvc_api_falcon.wire.vm import HardwareTold, vm_etag
from pvc_core.services.hardware import Changed
from pvc_core.services.pictures import VmPicture
from pvc_core.units import MIB

VCPUS_MAX, MEMORY_MAX_MIB = 4096, 2**30
BUSES = ("scsi", "ide", "usb", "virtio")
_TOPOLOGY = re.compile(r"([1-9]\d{0,3})[,/]([1-9]\d{0,3})[,/]([1-9]\d{0,3})", re.ASCII)
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


class Edited(Schema):
    restart = flag()


class VcpusIn(Edited):
    vcpus = whole(1, VCPUS_MAX, required=True)
    topology = text(metadata={"description": "SOCKETS,CORES,THREADS"})


class MemoryIn(Edited):
    memory = whole(1, MEMORY_MAX_MIB, required=True, metadata={"description": "in MiB"})


class DiskIn(Edited):
    volume = text(required=True, metadata={"description": "POOL/VOLUME, or the path of a file on the node"})


class NewDiskIn(DiskIn):
    disk_id = text(metadata={"description": "its name in the definition, like sdb; else the first free one"})
    bus = choice("bus", BUSES, load_default="scsi")


class NicIn(Edited):
    network = text(metadata={"description": "VNI, description, or upstream, cluster, storage; with sriov a function"})
    macaddr = text()
    sriov = flag()


class NewNicIn(NicIn):
    network = text(required=True, metadata={"description": "as in DELETE"})
    model = text(load_default="virtio")
    sriov_mode = choice("sriov_mode", ("macvtap", "hostdev"), load_default="macvtap")


def set_vcpus(call: Call) -> Answer:
    given, topology = call.args.get("topology"), None
    if given:
        found = _TOPOLOGY.fullmatch(given)
        if found is None:
            raise BadParameters({"topology": "is no SOCKETS,CORES,THREADS, like 1,4,1"})
        topology = int(found[1]), int(found[2]), int(found[3])
    vm = call.services.hardware.set_vcpus(
        call.names["vm"], call.args["vcpus"], topology=topology, by=call.by, restart=call.args["restart"],
        allowed=partial(check_reach, call),
    )  # fmt: skip
    return _told(call, vm)


def set_memory(call: Call) -> Answer:
    vm = call.services.hardware.set_memory(
        call.names["vm"], call.args["memory"] * MIB, by=call.by, restart=call.args["restart"],
        allowed=partial(check_reach, call),
    )  # fmt: skip
    return _told(call, vm)


def add_disk(call: Call) -> Answer:
    args = call.args
    return _changed(call, call.services.hardware.add_disk(
        call.names["vm"], args["volume"], bus=args["bus"], dev=args.get("disk_id") or "", by=call.by,
        restart=args["restart"], allowed=partial(check_reach, call),
    ))  # fmt: skip


def remove_disk(call: Call) -> Answer:
    vm, args = call.names["vm"], call.args
    return _changed(call, call.services.hardware.remove_disk(vm, args["volume"], by=call.by, restart=args["restart"]))


def add_nic(call: Call) -> Answer:
    args, vm = call.args, call.services.vms.get(call.names["vm"])
    where = {"function" if args["sriov"] else "network": args["network"]}
    hostdev = args["sriov"] and args["sriov_mode"] == "hostdev"
    return _changed(call, call.services.hardware.add_nic(
        vm.wanted.uuid, **where, pci=_pci(call, vm.node) if hostdev else None,
        mac=_mac(call), model=args["model"], by=call.by, restart=args["restart"], allowed=partial(check_reach, call),
    ))  # fmt: skip


def remove_nic(call: Call) -> Answer:
    args, mac = call.args, _mac(call)
    if not args.get("network") and not mac:
        raise BadParameters({"network": "give it, or macaddr, or both"})
    where = {"function" if args["sriov"] else "network": args.get("network") or ""}
    changed = call.services.hardware.remove_nic(call.names["vm"], **where, mac=mac, by=call.by, restart=args["restart"])
    return _changed(call, changed)


def _pci(call: Call, node: str) -> dict[str, str]:
    """Where the function is on the VM's node."""
    pci = function_of(call, node, call.args["network"])["pci"]
    return {"domain": pci["domain"], "bus": pci["bus"], "slot": pci["slot"], "function": pci["function"]}


def _mac(call: Call) -> str:
    given: str = call.args.get("macaddr") or ""
    if given and not _MAC.fullmatch(given):
        raise BadParameters({"macaddr": "is no MAC address, like 52:54:00:12:34:56"})
    return given


def _changed(call: Call, changed: Changed) -> Answer:
    return _told(call, changed.vm, changed.device)


def _told(call: Call, vm: VmPicture, device: str = "") -> Answer:
    when = "now, by a restart" if call.args["restart"] else "with its next start"
    told = HardwareTold(message=f"VM {vm.wanted.name} is modified; a running guest gets it {when}.", device=device)
    return data(told, etag=vm_etag(vm))


def _route(method: str, path: str, does: Handler, takes: type[Schema], help: str) -> Route:
    return Route(
        method=method, path=f"/vm/{{vm}}/{path}", does=does, takes=takes, gives=HardwareTold, help=help,
        tells_version=True,
    )  # fmt: skip


ROUTES = (
    _route("PUT", "vcpu", set_vcpus, VcpusIn, "That many vCPUs; without topology the present one stays if it can."),
    _route("PUT", "memory", set_memory, MemoryIn, "That much memory, in MiB."),
    _route("POST", "volume", add_disk, NewDiskIn, "A disk on a volume, in the definition."),
    _route("DELETE", "volume", remove_disk, DiskIn, "That disk out of the definition; its volume stays."),
    _route("POST", "network", add_nic, NewNicIn, "A network card, in the definition."),
    _route("DELETE", "network", remove_nic, NicIn, "That network card out of the definition."),
)
