"""The cluster's secrets on this node: files of one password each below paths.secrets, never in pvc.yaml."""

from __future__ import annotations

import secrets
from pathlib import Path

from pvc_core.errors import NotFound, Permanent
from pvc_core.founding import files
from pvc_core.founding.files import File

STORE_NODE, STORE_API = "store-node", "store-api"
STORE_QUORUM = "store-quorum"
"""What ZooKeeper's servers show each other; on coordinators only."""
GROUP = "pvc"
"""The group of the unprivileged API: it may read its own password and no other."""


def ensure_secrets(directory: Path, *, coordinator: bool = True) -> list[str]:
    """Make those that are missing; returns their names. One that is there is never made anew. Raises Permanent."""
    names = (STORE_NODE, STORE_API, STORE_QUORUM) if coordinator else (STORE_NODE, STORE_API)
    missing = [name for name in names if not (directory / name).exists()]
    files.write_all([secret_file(directory, name, secrets.token_urlsafe(32)) for name in missing])
    return missing


def secret_file(directory: Path, name: str, password: str) -> File:
    return File(directory / name, password + "\n", group=GROUP if name == STORE_API else None)


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


def group_id() -> int | None:
    """The API's group; None on a machine that has none (then the API runs as root, as in some tests)."""
    return files.group_id(GROUP)
