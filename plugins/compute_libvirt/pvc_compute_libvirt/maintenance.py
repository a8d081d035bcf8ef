"""A node that goes into maintenance and comes back: what should be said before, and looked after then. Nothing here
carries correctness: every start proves the launch permit hook by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pvc_core.contracts.compute import Observation
from pvc_core.errors import PvcError
from pvc_core.hookspecs import hookimpl

LIST_S = 10.0


class Maintenance:
    """`guests` lists all that libvirt runs, `install_hook` puts ours in place (True: it was not), `prove_again` has the
    next start prove it.
    """

    def __init__(
        self,
        *,
        guests: Callable[..., Sequence[Observation]],
        install_hook: Callable[[], bool],
        prove_again: Callable[[], None],
        log: Any,
    ) -> None:
        self._guests, self._install_hook, self._prove_again, self._log = guests, install_hook, prove_again, log

    @hookimpl
    def pvc_node_flushed(self, node: str) -> None:
        """Guests that are not PVC's were not moved, and would end with the machine: whoever is about to switch it off
        should know.
        """
        try:
            left = sorted(guest.name or guest.uuid for guest in self._guests(deadline_s=LIST_S))
        except PvcError as error:
            self._log.warning(f"node {node} is flushed, but what libvirt still runs cannot be told: {error}")
            return
        if left:
            self._log.warning(f"node {node} is flushed, but guests that are not PVC's still run: {', '.join(left)}")

    @hookimpl
    def pvc_node_ready(self, node: str) -> None:
        """An upgrade of libvirt may have emptied its hooks directory: better found now than at the first start."""
        try:
            if self._install_hook():
                self._log.warning("libvirt's launch permit hook was gone and is in place again", node=node)
                self._prove_again()
        except PvcError as error:
            self._log.error(str(error))
