"""A guest's clock stands still while it moves: where an agent runs in the guest, it is set right afterwards.

By libvirt's virDomainSetTime with VIR_DOMAIN_TIME_SYNC, which asks qemu-guest-agent to read the machine's own clock. A
guest without an agent, or one that does not answer, keeps what it has: nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from pvc_compute_libvirt import live
from pvc_compute_libvirt.text import parse
from pvc_core.errors import NotFound, PvcError
from pvc_core.hookspecs import hookimpl
from pvc_core.model.vm import VmWanted

AGENT = "org.qemu.guest_agent.0"


class Clocks:
    """The hook; `set_right` is LibvirtDriver.set_clock: whether it was set."""

    def __init__(self, set_right: Callable[[str], bool], log: Any) -> None:
        self._set_right, self._log = set_right, log

    @hookimpl
    def pvc_vm_migrated(self, vm: VmWanted) -> None:
        try:
            if self._set_right(vm.uuid):
                self._log.info("the guest's clock is set right after its migration", vm=vm.uuid)
        except PvcError as error:
            self._log.info("the guest's clock was not set after its migration", vm=vm.uuid, error=error.message)


def set_right(connection: libvirt.virConnect, uuid: str) -> bool:
    """Whether an agent in the guest has set its clock. Raises NotFound when the guest does not run here."""
    domain = live.find(connection, uuid)
    if domain is None:
        raise NotFound(f"guest {uuid} does not run on this node")
    if not _has_agent(domain):
        return False
    domain.setTime({}, libvirt.VIR_DOMAIN_TIME_SYNC)
    return True


def _has_agent(domain: libvirt.virDomain) -> bool:
    """Connected: libvirt waits for seconds for one that is not."""
    channels = parse(domain.XMLDesc(), root=("domain",)).root.all("devices/channel")
    targets = [target for channel in channels if (target := channel.find("target")) is not None]
    return any(target.get("name") == AGENT and target.get("state") == "connected" for target in targets)
