"""Whether a shared pool is really one file system: each node leaves a token in it, and looks for the others'.

The token is told through the store and read through the pool. A node that finds in the pool what another node says it
wrote there shares its file system; a copy, or an empty mount point, cannot know a token made after it.
"""

from __future__ import annotations

import os
import secrets

from pvc_core.errors import Retry
from pvc_storage_dir.copying import write_whole
from pvc_storage_dir.known import KnownPools
from pvc_storage_dir.pooldir import PoolDir


class Peers:
    """This node's token in one pool is new with every start of the daemon."""

    def __init__(self, pool: PoolDir, node: str, known: KnownPools) -> None:
        self._pool = pool
        self._node = node
        self._known = known
        self._key = f"pools/{pool.name}/peers"
        self._left = False

    def leave_token(self) -> None:
        """The pool and the store hold this node's token."""
        if self._left:
            return
        token = secrets.token_hex(16)
        # The one before stays readable beside the new one, until the store says the new one.
        before = _tokens(self._pool.own_path("nodes", self._node))[:1]
        try:
            write_whole(self._pool.own_path("nodes", self._node), " ".join([token, *before]).encode())
        except FileNotFoundError:
            raise Retry(f'another node is making or removing pool "{self._pool.name}"', again_in_s=1) from None
        self._known.put(f"{self._key}/{self._node}", token)
        self._left = True

    def all_seen(self) -> bool:
        """Every node that left a token is seen here by it. Alone, a node contradicts nothing and proves nothing."""
        self.leave_token()
        return all(
            self._known.get(f"{self._key}/{node}") in _tokens(self._pool.own_path("nodes", node))
            for node in self._known.children(self._key)
        )

    def forget(self) -> None:
        for node in self._known.children(self._key):
            self._known.forget(f"{self._key}/{node}")
        self._left = False


def _tokens(path: str) -> list[str]:
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return file.read(4096).decode("ascii", "replace").split()
