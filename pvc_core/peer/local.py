"""The transport of one node: a unix stream socket. Who may connect is the file's mode and group.

A lock beside the socket tells a living server from the file a dead one left; it goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import time
from pathlib import Path

from pvc_core.errors import Permanent, Refused
from pvc_core.peer.wire import Unreachable

_PATH_MAX_BYTES = 107
_BACKLOG = 128
_BACKLOG_PAUSE_S = 0.02


class Lock:
    """Held by at most one process: this one, from the constructor to release(). The kernel frees it when we die."""

    def __init__(self, path: Path, *, name: str) -> None:
        """Raises Refused when another process holds it (`name` says what that process is, for the sentence), Permanent
        when it cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Permanent(f"{name} cannot lock {path}: {error.strerror}", help="is it run as root?") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._fd, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise Refused(
                f"{name} runs on this node already (process {holder} holds {path})",
                help="stop that one first; a second one on the same node would fight with it",
            ) from error
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._fd)


class Listener:
    """A listening socket at `path`, which nobody else serves. Raises Refused (someone does), Permanent (cannot)."""

    def __init__(self, path: Path, *, mode: int, group: str | None, name: str) -> None:
        self._path = path
        if len(os.fsencode(path)) > _PATH_MAX_BYTES:
            raise Permanent(
                f"a socket cannot be made at {path}: a unix socket's path has at most {_PATH_MAX_BYTES} bytes",
                help="choose a shorter paths.run in pvc.yaml",
            )
        self._lock = Lock(path.with_name(path.name + ".lock"), name=name)
        try:
            self.socket = self._bind(mode, group)
        except (OSError, KeyError) as error:
            self._lock.release()
            why = f"there is no group {group!r}" if isinstance(error, KeyError) else error.strerror
            raise Permanent(f"{name} cannot listen at {path}: {why}", help="is it run as root?") from error

    def close(self) -> None:
        """Nobody can connect any more; the file is gone."""
        self.socket.close()
        self._path.unlink(missing_ok=True)
        self._lock.release()

    def _bind(self, mode: int, group: str | None) -> socket.socket:
        self._path.unlink(missing_ok=True)  # we hold the lock, so whoever made it is dead
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(os.fspath(self._path))
            # Before listen(): until then nobody can connect, whatever the mode bind() gave it.
            os.chmod(self._path, mode)
            if group is not None:
                os.chown(self._path, -1, grp.getgrnam(group).gr_gid)
            listening.listen(_BACKLOG)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            listening.close()
            raise
        return listening


def connect(path: Path, wait_s: float) -> socket.socket:
    """A connected socket. Raises Unreachable."""
    until_s = time.monotonic() + wait_s
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(wait_s)
    try:
        while not _connected(sock, path, last=time.monotonic() >= until_s):
            time.sleep(_BACKLOG_PAUSE_S)
    except OSError as error:
        sock.close()
        raise Unreachable(f"cannot ask at {path}: {_why(error)}", help=_help(error)) from error
    return sock


def alive(path: Path) -> bool:
    """Whether anybody listens there; says nothing of whether they answer."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(os.fspath(path))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _connected(sock: socket.socket, path: Path, *, last: bool) -> bool:
    """A full backlog is EAGAIN on a unix socket that may not block: no event tells when there is room."""
    try:
        sock.connect(os.fspath(path))
    except BlockingIOError:
        if last:
            raise
        return False
    return True


def _why(error: OSError) -> str:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return "nobody listens there"
        case TimeoutError() | BlockingIOError():
            return "it does not take new connections"
        case _:
            return error.strerror or str(error)


def _help(error: OSError) -> str:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return "is the daemon running? Look at its log"
        case PermissionError():
            return "members of the socket's group and root may ask"
        case _:
            return "the daemon may be overloaded or stopped; look at its log"
