"""What speaks against this node's health beside what plugins collect: broken plugins, hanging calls, guests of
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pvc_core.model.node import HealthSeen
from pvc_core.reconcile.strangers import StrangersReconciler

if TYPE_CHECKING:
    from pvc_core.daemon.build import Node

CORE = "core"


def node_health(node: Node, strangers: StrangersReconciler, broken: Mapping[str, str]) -> tuple[HealthSeen, ...]:
    found = [context.health for context in node.contexts.values() if context.health.delta]
    found += node.hooks.health()
    found += [HealthSeen(plugin=name, delta=50, message=reason) for name, reason in sorted(broken.items())]
    if node.custody:
        found.append(HealthSeen(plugin=CORE, delta=50, message=f"in custody: {node.custody}"))
    if node.stuck():
        what = "; ".join(f"{object}: {call}" for object, call in sorted(node.stuck().items()))
        found.append(HealthSeen(plugin=CORE, delta=25, message=f"drivers do not come back from calls ({what})"))
    if unread := sorted(map(str, node.keeper.view.unread.values())):
        shown = "; ".join(unread[:3]) + (f" and {len(unread) - 3} more" if len(unread) > 3 else "")
        message = f"a newer PVC wrote what is not understood here and left alone: {shown}; upgrade PVC on this node"
        found.append(HealthSeen(plugin=CORE, delta=10, message=message))
    if why := node.standstill():
        found.append(HealthSeen(plugin=CORE, delta=25, message=why))
    if strangers.names:
        names = ", ".join(sorted(strangers.names.values()))
        found.append(HealthSeen(plugin=CORE, delta=10, message=f"guests that belong to no VM run here: {names}"))
    return tuple(found)
