"""libvirt's events in PVC's words. They carry no state: the core looks after each."""

from __future__ import annotations

from collections.abc import Callable

import libvirt

from pvc_compute_libvirt.words import stop_reason
from pvc_core.contracts.compute import GuestEvent

LEAVING = "paused to leave"
Tell = Callable[[str, GuestEvent, str], None]
"""tell(uuid, event, reason)."""


def register(connection: libvirt.virConnect, tell: Tell) -> None:
    """Report what happens to any guest, from libvirt's event thread."""

    def lifecycle(_conn: object, domain: libvirt.virDomain, event: int, detail: int, _opaque: object) -> None:
        kind, reason = _lifecycle(event, detail)
        tell(domain.UUIDString(), kind, reason)

    def changed(_conn: object, domain: libvirt.virDomain, *_: object) -> None:
        tell(domain.UUIDString(), GuestEvent.CHANGED, "")

    connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
    for event in (
        libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
        libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
        libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
        libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    ):
        connection.domainEventRegisterAny(None, event, changed, None)


def _lifecycle(event: int, detail: int) -> tuple[GuestEvent, str]:
    if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
        return GuestEvent.STARTED, ""
    if event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
        return GuestEvent.CRASHED, "crashed"
    if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
        crashed = detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED
        return (GuestEvent.CRASHED if crashed else GuestEvent.STOPPED), stop_reason(detail)
    if event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED and detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED:
        return GuestEvent.CHANGED, LEAVING
    return GuestEvent.CHANGED, ""
