"""Whether a shared pool is really one file system: each node leaves a token in it, and looks for the others'.

The token is told through the store and read through the pool. A node that finds in the pool what another node says it
wrote there shares its file system; a copy, or an empty mount point, cannot know a token made after it.
"""

from __future__ import annotations

import os
import secrets
import threading

from pvc_core.errors import Retry
from pvc_storage_dir.copying import write_whole
from pvc_storage_dir.known import KnownPools
from pvc_storage_dir.pooldir import PoolDir


class Peers:
    """This node's token in one pool is new with every start of the daemon, and whenever it is found gone.

    Several threads of the daemon may come at once (a task that makes the pool, the loop that keeps it): one at a time.
    """

    def __init__(self, pool: PoolDir, node: str, known: KnownPools) -> None:
        self._pool = pool
        self._node = node
        self._known = known
        self._key = f"pools/{pool.name}/peers"
        self._token = ""
        self._lock = threading.Lock()

    def leave_token(self) -> None:
        """The pool and the store hold this node's token. Raises Retry while another node makes or removes the pool."""
        with self._lock:
            if not self._is_left():
                self._leave()

    def all_seen(self) -> bool:
        """Every node that left a token is seen here by it. Alone, a node contradicts nothing and proves nothing."""
        self.leave_token()
        return all(
            self._known.get(f"{self._key}/{node}") in _tokens(self._pool.own_path("nodes", node))
            for node in self._known.children(self._key)
        )

    def forget(self) -> None:
        with self._lock:
            for node in self._known.children(self._key):
                self._known.forget(f"{self._key}/{node}")
            self._token = ""

    def _is_left(self) -> bool:
        """Looked at each time: the pool may have been removed and made again by another node."""
        if not self._token or self._token not in _tokens(self._own_file):
            return False
        return self._known.get(f"{self._key}/{self._node}") == self._token

    def _leave(self) -> None:
        token = secrets.token_hex(16)
        # The one before stays readable beside the new one, until the store says the new one.
        before = _tokens(self._own_file)[:1]
        try:
            write_whole(self._own_file, " ".join([token, *before]).encode())
        except FileNotFoundError:
            raise Retry(f'another node is making or removing pool "{self._pool.name}"', again_in_s=1) from None
        self._known.put(f"{self._key}/{self._node}", token)
        self._token = token

    @property
    def _own_file(self) -> str:
        return self._pool.own_path("nodes", self._node)


def _tokens(path: str) -> list[str]:
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return file.read(4096).decode("ascii", "replace").split()
