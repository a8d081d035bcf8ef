"""Whether a node may be forgotten, by the picture alone. That it is off is reconcile/kinds/nodes.py's to find out."""

from __future__ import annotations

from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase


def ties(view: ClusterView, node: str) -> str:
    """What still binds the cluster to it, in words; "" when nothing does."""
    guests = [
        view.vm_wanted[uuid].value.name if uuid in view.vm_wanted else uuid
        for uuid, kept in view.claims.items()
        if kept.value.phase is not Phase.FREE and node in (kept.value.holder, kept.value.target)
    ]
    if guests:
        return f"it may be running VM {_some(guests)}"
    volumes = [kept.value.ref for kept in view.volumes.values() if kept.value.home == node]
    return f"it alone has the bytes of {_some(volumes)}" if volumes else ""


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
