"""The two places to listen at. Made before anything is served, so that what stands in the way is said at once."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from pvc_core.errors import Permanent

SOCKET_MODE = 0o660
"""Root and the group of the daemon's user (pvc) may use the connection `local`, which needs no key."""


def listen_tcp(address: str, port: int) -> socket.socket:
    """Raises Permanent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        raise Permanent(
            f"the API cannot listen at {address} port {port}: {error.strerror}", help=_help(error)
        ) from error
    listening.setblocking(False)
    return listening


def listen_unix(path: Path) -> socket.socket:
    """The file is replaced if nobody answers at it any more. Raises Permanent."""
    if _somebody_answers(path):
        raise Permanent(f"the API cannot listen at {path}: another process does", help="is pvcapid running already?")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listening.bind(os.fspath(path))
        os.chmod(path, SOCKET_MODE)  # before listen(): until then nobody can connect
    except OSError as error:
        listening.close()
        raise Permanent(f"the API cannot listen at {path}: {error.strerror or error}", help=_help(error)) from error
    listening.setblocking(False)
    return listening


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EACCES)
    return True


def _help(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there: is pvcapid running already? Else choose another port in pvc.yaml"
        case errno.EADDRNOTAVAIL:
            return "this node has no such address: correct plugins.api_falcon.listen in pvc.yaml"
        case errno.EACCES | errno.EPERM:
            return "the user of pvcapid may not; a directory it may write to, or a port above 1023, helps"
        case errno.ENOENT:
            return "the directory does not exist; make it, or correct plugins.api_falcon.socket in pvc.yaml"
    return "correct plugins.api_falcon in pvc.yaml"
