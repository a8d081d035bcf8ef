"""libvirt's error codes and numbers in PVC's words: which error a failure is, why a guest is not running.

Codes: libvirt/virterror.h and libvirt-domain.h of libvirt 9.0.
"""

from __future__ import annotations

import re

import libvirt

from pvc_core.errors import NotFound, Permanent, PvcError, Refused, Retry
from pvc_core.model.vm import GuestState

_NOT_NOW = {
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_NO_MEMORY,
    libvirt.VIR_ERR_RESOURCE_BUSY,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_SYSTEM_ERROR,
}
# Said by QEMU in prose only; each passes without anybody changing the definition.
_NOT_NOW_WORDS = (
    "Cannot allocate memory",
    'Failed to get "write" lock',
    'Failed to get shared "write" lock',
    "Address already in use",
    "Unable to find an unused port",
    "already active",
    "already being started",
)
_COMMAND = re.compile(r"Child process \(.*\) unexpected ", re.DOTALL)
"""libvirt tells QEMU's whole command line, some 3,000 characters."""
_WORDLESS = re.compile(
    r"(process exited while connecting to monitor|ended with exit status \d+|ended with fatal signal \d+)\W*\Z"
)
"""QEMU ended without a word: it was killed, or the node lacks room. A definition it does not take it complains of."""
_STOP_REASONS = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "migrated",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "saved",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT: "replaced by a snapshot",
}
_PAUSE_REASONS = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "paused",
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "paused for a migration",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "paused after a failed read or write of a disk",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "paused by its watchdog",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutting down",
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting up",
}
_RUNNING = {libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED}
_PAUSED = {libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED, libvirt.VIR_DOMAIN_CRASHED}


def translate(attempted: str, error: libvirt.libvirtError) -> PvcError:
    """The PVC error that libvirt's means; `attempted` begins the sentence ("start guest web1")."""
    said = _COMMAND.sub("the hypervisor's process ended with ", str(error.get_error_message() or error))
    words = f"could not {attempted}: {said}"
    code = error.get_error_code()
    if code == libvirt.VIR_ERR_HOOK_SCRIPT_FAILED:
        return Refused(words, help="a launch permit is given by pvcguard when this node may run the guest")
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return NotFound(words)
    if code in _NOT_NOW or any(part in words for part in _NOT_NOW_WORDS):
        return Retry(words)
    if _WORDLESS.search(said):
        return Retry(words, help="was it killed? Look at libvirt's log of the guest, and at memory, /run and /var here")
    return Permanent(words, help="the words are the hypervisor's; the definition or this node must change")


def no_such_domain(error: libvirt.libvirtError) -> bool:
    return error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def stop_reason(detail: int) -> str:
    return _STOP_REASONS.get(detail, "stopped")


def guest_state(state: int, reason: int) -> tuple[GuestState, str]:
    """(state, why it is not running). What is between two states is UNKNOWN: an event follows."""
    if state in _RUNNING:
        return GuestState.RUNNING, ""
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
        return GuestState.UNKNOWN, "it is just being started"
    if state in _PAUSED:
        return GuestState.PAUSED, _PAUSE_REASONS.get(reason, "paused")
    if state == libvirt.VIR_DOMAIN_SHUTDOWN:
        return GuestState.UNKNOWN, "it is just shutting down"
    return GuestState.OFF, ""
