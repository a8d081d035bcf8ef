"""Runs inside a lab's node for bench/start.py: starts one guest by every way in turn, prints all times as JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import libvirt

from bench.tools import start_ways as ways
from bench.tools.witness import Domains, Keys, event_loop
from lab.guest_xml import UPSTREAM, guest_xml, mac_of
from pvc_compute_libvirt.emulated import with_noted_memory
from pvc_compute_libvirt.render import render
from pvc_core.config import load
from pvc_core.contracts.compute import RenderRequest
from pvc_core.contracts.targets import Bridge, File
from pvc_core.daemon.opening import open_store
from pvc_core.guard.client import Guard

API = ("127.0.0.1", 7370)
CONFIG = Path("/etc/pvc/pvc.yaml")


def main() -> int:
    parser = argparse.ArgumentParser()
    for word in ("key", "name", "uuid", "pool", "volume"):
        parser.add_argument(f"--{word}", required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    event_loop()
    store = open_store(load(CONFIG, node=None), "node")
    with ways.libvirtd_without_hook() as other_uri, tempfile.TemporaryDirectory() as directory:
        hooked, free = Domains("qemu:///system"), Domains(other_uri)
        pvc = ways.ByPvc(API, options.key, options.name, options.uuid, hooked, Keys(store))
        pvc.start()  # the first start proves the hook and warms caches; it is not counted
        same = {"name": options.name, "uuid": options.uuid, "mac": mac_of(options.name)}
        guest = ways.Bare.like(_rendered(options, hooked), **same)
        all_ways: dict[str, ways.Way] = {
            "pvc": pvc,
            "libvirt with hook": ways.ByLibvirt(guest, hooked, Guard(ways.RUN)),
            "libvirt": ways.ByLibvirt(guest, free, None),
            "virsh": ways.ByVirsh(guest, free, other_uri, Path(directory) / "guest.xml"),
        }
        by_pvc = _seen(hooked, options.uuid)
        pvc.stop()
        for name in ("libvirt with hook", "libvirt", "virsh"):
            _warm(all_ways[name], guest, by_pvc, same)
        rounds = [_round(all_ways, number) for number in range(options.rounds)]
    store.close()
    sys.stdout.write(json.dumps(rounds) + "\n")
    return 0


def _round(all_ways: dict[str, ways.Way], number: int) -> dict[str, ways.Times]:
    """Each way once; who comes first changes, so that none profits from what the one before it left warm."""
    names = list(all_ways)
    first = number % len(names)
    return {name: all_ways[name].round() for name in names[first:] + names[:first]}


def _warm(way: ways.Way, guest: ways.Bare, by_pvc: str, same: dict[str, str]) -> None:
    """A first start that is not counted; libvirt must say the very same of this guest as of PVC's."""
    way.start()
    found = guest.as_of(_seen(way.domains, guest.uuid), **same)
    way.stop()
    if found != by_pvc:
        raise RuntimeError(f"not the same guest; PVC's:\n{by_pvc}\nthe bare one:\n{found}")


def _seen(domains: Domains, uuid: str) -> str:
    return str(domains.connection.lookupByUUIDString(uuid).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


def _rendered(options: argparse.Namespace, hooked: Domains) -> str:
    """What PVC gave to libvirt for the guest that runs now, rendered anew."""
    text = hooked.connection.lookupByUUIDString(options.uuid).XMLDesc()
    disk, log = re.search(r"<source file='([^']+)'", text), re.search(r"<log file='([^']+)'", text)
    if not disk or not log:
        raise RuntimeError(f"the guest has no disk or no console log:\n{text}")
    definition = guest_xml(options.name, pool=options.pool, volume=options.volume, memory_mib=options.memory_mib)
    rendered = render(
        RenderRequest(
            definition=definition,
            uuid=options.uuid,
            name=options.name,
            disks={"sda": File(path=disk.group(1))},
            nics={mac_of(options.name): Bridge(bridge=UPSTREAM)},
            virt_type="qemu",
            console_log=log.group(1),
            vnc_listen="127.0.0.1",
        )
    )
    return with_noted_memory(rendered, virt_type="qemu", qemu=hooked.connection.getVersion())


if __name__ == "__main__":
    sys.exit(main())
