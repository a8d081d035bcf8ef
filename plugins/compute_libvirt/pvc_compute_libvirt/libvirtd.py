"""Restarting libvirtd, so that it reads a hook installed after it started. Guests are not disturbed by it."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Permanent, Retry

DEFAULT_SOCKET = "/run/libvirt/libvirt-sock"
_NAMES = ("libvirtd", "virtqemud")

Run = Callable[..., Completed]
"""PluginContext.run."""


def restart_libvirtd(uri: str, *, run: Run) -> str:
    """What was done, for the log: by systemctl where systemd runs, else libvirtd ends, to be started by its supervisor.

    Raises Permanent when it cannot be done from here.
    """
    if Path("/run/systemd/system").is_dir():
        return _by_systemd(run)
    pid = _listener(uri)
    name = Path(f"/proc/{pid}/comm").read_text().strip() if pid else ""
    if name not in _NAMES:
        raise Permanent(f"libvirtd at {uri} cannot be restarted from here: {name or 'nobody'} answers for it")
    os.kill(pid, signal.SIGTERM)
    return f"asked {name} (process {pid}) to end, so that its supervisor starts it anew"


def _by_systemd(run: Run) -> str:
    """Whichever of the two units is there: one daemon for all of libvirt, or one per driver."""
    said = []
    for unit in ("libvirtd.service", "virtqemud.service"):
        try:
            done = run(["systemctl", "try-restart", unit], deadline_s=30.0)
        except Retry as error:
            raise Permanent(f"libvirt could not be restarted: {error.message}") from None
        if done.returncode == 0:
            return f"restarted {unit}"
        said.append(done.stderr.strip())
    raise Permanent(f"libvirt could not be restarted: {'; '.join(said)}")


def _listener(uri: str) -> int:
    """Who listens on libvirt's local socket; 0 if that cannot be told."""
    path = parse_qs(urlsplit(uri).query).get("socket", [DEFAULT_SOCKET])[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.settimeout(2.0)
            client.connect(path)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0
    return int(struct.unpack("3i", credentials)[0])
