"""The cluster's secrets on this node: files of one password each below /etc/pvc/secrets, never in pvc.yaml."""

from __future__ import annotations

import grp
import os
import secrets
from pathlib import Path

from pvc_core.errors import NotFound, Permanent

STORE_NODE, STORE_API = "store-node", "store-api"
GROUP = "pvc"
"""The group of the unprivileged API: it may read its own password and no other."""


def ensure_secrets(directory: Path) -> list[str]:
    """Make those that are missing; returns their names. One that is there is never made anew. Raises Permanent."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        return [name for name in (STORE_NODE, STORE_API) if _ensure(directory / name, shared=name == STORE_API)]
    except OSError as error:
        raise Permanent(f"the secrets cannot be made in {directory}: {error.strerror}", help="run it as root") from None


def read_secret(directory: Path, name: str) -> str:
    """Raises NotFound, Permanent (may not be read)."""
    try:
        return (directory / name).read_text().strip()
    except FileNotFoundError:
        raise NotFound(f"there is no secret {directory / name}", help="`pvcnoded init` makes it") from None
    except OSError as error:
        raise Permanent(
            f"secret {directory / name} cannot be read: {error.strerror}", help="is it this user's?"
        ) from None


def _ensure(path: Path, *, shared: bool) -> bool:
    if path.exists():
        return False
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if shared and (gid := group_id()) is not None:
        os.chown(new, 0, gid)
        os.chmod(new, 0o640)
    os.replace(new, path)
    return True


def group_id() -> int | None:
    """The API's group; None on a machine that has none (then the API runs as root, as in some tests)."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None
