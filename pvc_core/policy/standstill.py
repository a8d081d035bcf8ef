"""Whether anything may be started, stopped or moved at all: not before the store's new era is settled (design rule 9),
and not by a daemon that does not understand the cluster any more. Pure functions of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.cluster import layout
from pvc_core.model.cluster import Era
from pvc_core.model.view import ClusterView

ALWAYS = frozenset({"cluster.restore", "cluster.init", "node.remove"})
"""Kinds of tasks that go on meanwhile: they are how a standstill is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The latest life of the store that this node has served, as it keeps it on its own disk. era 0: none yet."""

    era: int = 0
    id: str = ""


EMPTY = (
    "the store is empty, and not the one this node has served: nothing is started, stopped or moved; bring the old one "
    "back, or `pvc cluster restore FILE`"
)


def standstill(view: ClusterView, served: Served, *, level: int) -> str:
    """Why nothing is started, stopped or moved now; "" when all may go on. `level`: what this daemon understands."""
    kept = view.era.get(layout.ONLY)
    if kept is None:
        return EMPTY if served.era and view.fresh else ""
    if view.level > level:
        return (
            f"the cluster is at level {view.level} and this daemon understands {level} only: nothing is started, "
            "stopped or moved here; upgrade PVC on this node"
        )
    era = kept.value
    if is_another(era, served):
        return (
            f"the store is not the one this node has served (its era is {era.era} {era.id}, served was {served.era} "
            f"{served.id}): nothing is started, stopped or moved; bring the old one back, or `pvc cluster restore FILE`"
        )
    if era.restoring:
        return (
            f"the cluster's records are being replaced by task {era.restoring}; if it has failed, run "
            "`pvc cluster restore` again"
        )
    if view.unheard:
        return (
            f"the store is in its era {era.era}: nothing is started, stopped or moved before "
            f"{', '.join(view.unheard)} has said what runs there"
        )
    return ""


def is_another(era: Era, served: Served) -> bool:
    """Whether a store in `era` is not the one that was served: older, or begun anew in its place."""
    return era.era < served.era or (era.era == served.era and served.id != "" and era.id != served.id)


def goes_on(view: ClusterView, kind: str, key: str) -> bool:
    """Whether a reconciler of this kind works on `key` also in a standstill."""
    if kind != "task":
        return kind not in HELD
    kept = view.tasks.get(key)
    return kept is not None and (kept.value.ended or kept.value.kind in ALWAYS)


HELD = frozenset({"vm", "place", "pool", "leftovers", "autostart", "flush", "fence", "recovery"})
"""Kinds of reconcilers that start, stop, move or make something."""


def first_generation(view: ClusterView, stamp: int) -> int:
    """Of a new claim: greater than any of an earlier era, and than any that was made earlier in this one.

    `stamp` is the store's own order (ZooKeeper's zxid: 32 bits of epoch, which grows with each election, and 32 of
    counter). A new store begins it anew, so the era goes before it; 52 bits hold a million elections.
    """
    kept = view.era.get(layout.ONLY)
    return ((kept.value.era if kept else 0) << 52) + stamp
