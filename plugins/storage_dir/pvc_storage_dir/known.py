"""What the store remembers of pools, in this plugin's own subtree: which pool was made where, and the peers' tokens.

pools/NAME/shared, pools/NAME/on-NODE     the pool's id
pools/NAME/peers/NODE                     the token that NODE wrote into the pool (peers.py)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pvc_core.contracts.plugin import PluginState
from pvc_core.errors import Conflict, NotFound, Retry, StoreUnavailable


class KnownPools:
    """Raises Retry when the store gives no answer."""

    def __init__(self, state: PluginState) -> None:
        self._state = state

    def get(self, key: str) -> str:
        """ "" if there is none."""
        with _answered():
            try:
                return self._state.get(key)[0].decode()
            except NotFound:
                return ""

    def put_first(self, key: str, value: str) -> str:
        """The value that is there now: ours, or that of whoever was first."""
        with _answered():
            try:
                self._state.put(key, value.encode(), if_version=-1)
            except Conflict:
                return self._state.get(key)[0].decode()
        return value

    def put(self, key: str, value: str) -> None:
        with _answered():
            self._state.put(key, value.encode(), if_version=None)

    def children(self, key: str) -> list[str]:
        with _answered():
            return self._state.children(key)

    def forget(self, key: str) -> None:
        with _answered():
            try:
                self._state.delete(key, if_version=None)
            except NotFound:
                return


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (StoreUnavailable, Conflict) as error:
        raise Retry(f"what was made before could not be looked up: {error.message}") from error
