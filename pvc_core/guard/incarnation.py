"""This life of the node: a name that changes with every boot and never with a restart of a daemon.

pvcguard makes it, everybody else reads it. The kernel's boot id is part of it for a /run that outlives a boot; the
random part for machines that share one kernel.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pvc_core.errors import Permanent, Retry

NAME = "incarnation"
ENDED = "ended"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def ensure(run: Path, *, boot_id: Path = BOOT_ID) -> str:
    """The incarnation kept in `run`, made now if there is none of this boot; only pvcguard calls it.

    Raises Permanent.
    """
    path = run / NAME
    try:
        boot = boot_id.read_text().strip()[:8]
        kept = path.read_text().strip() if path.exists() else ""
        if kept.startswith(f"{boot}-"):
            return kept
        made = f"{boot}-{secrets.token_hex(8)}"
        write_whole(path, f"{made}\n".encode())
    except OSError as error:
        raise Permanent(
            f"cannot keep this node's incarnation at {path}: {error.strerror}", help="is pvcguard run as root?"
        ) from error
    return made


def end(run: Path) -> None:
    """This incarnation is over and its guests were seen gone; `ensure` makes the next one. Raises OSError."""
    past = (*ended(run), (run / NAME).read_text().strip())
    write_whole(run / ENDED, "".join(f"{life}\n" for life in past).encode())
    (run / NAME).unlink(missing_ok=True)


def ended(run: Path) -> tuple[str, ...]:
    """The incarnations since this machine's boot whose guests the guard has ended and seen gone."""
    try:
        return tuple((run / ENDED).read_text().split())
    except OSError:
        return ()


def read(run: Path) -> str:
    """The incarnation, for everybody else. Raises Retry as long as there is none."""
    try:
        return (run / NAME).read_text().strip()
    except OSError as error:
        raise Retry(
            f"there is no incarnation of this node at {run / NAME}: {error.strerror}",
            again_in_s=1.0,
            help="is pvcguard running?",
        ) from error


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` at once: who reads it meets the old or the new, never a part.

    Not fsynced: what stands in /run dies with the boot anyway. Raises OSError.
    """
    new = path.with_name(f".{path.name}.new")
    # Others may write into /run/pvc (pvcapid has its socket there): never through a file or link they put in the way.
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:  # not os.write: on a full /run that takes a part and says nothing
        file.write(data)
    os.replace(new, path)
