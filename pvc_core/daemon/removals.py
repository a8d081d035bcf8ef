"""What a removal means on the other nodes: a coordinator's list of revoked certificates follows what the store says."""

from __future__ import annotations

from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.errors import PvcError
from pvc_core.founding.pki import Place
from pvc_core.founding.places import pki_of
from pvc_core.founding.revoked import ensure_revoked


def follow_removals(config: Config, keeper: ViewKeeper, log: Any) -> None:
    """Write the list anew whenever a node was removed, and once when the view is there."""
    place = Place(pki_of(config))

    def look(keys: frozenset[str] | None) -> None:
        if keys is not None and not any(key.startswith(layout.REMOVED.prefix) for key in keys):
            return
        removed = keeper.view.removed_nodes
        try:
            if ensure_revoked(place, removed):
                log.info("the list of revoked certificates is written", revoked=len(removed))
        except PvcError as error:
            log.error(f"removed nodes cannot be kept from the store: {error}")

    keeper.subscribe(look)
