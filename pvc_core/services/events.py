"""What changes, as it changes: short events out of the picture in memory, numbered; the last ones are kept.

Whoever reads too slowly, or comes back too late, is told so (Behind): no event is left out in silence. Events tell
where to look, and how it is now; they are no history: two changes of one object that come together are one event.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pvc_core.cluster import layout
from pvc_core.errors import PvcError
from pvc_core.ids import new_request_id
from pvc_core.model.view import ClusterView
from pvc_core.services.desk import Desk
from pvc_core.services.pictures import vm_state

KEPT = 5000
_KINDS: Mapping[layout.Kind[Any], str] = {
    layout.VM_WANTED: "vm", layout.CLAIMS: "vm", layout.VM_SEEN: "vm", layout.NODE_SEEN: "node",
    layout.NODE_WANTED: "node", layout.NETWORKS: "network", layout.POOLS: "pool", layout.VOLUMES: "volume",
    layout.TASKS: "task", layout.FAULTS: "fault", layout.SETTINGS: "cluster", layout.LEADER: "cluster",
}  # fmt: skip
KINDS = tuple(dict.fromkeys(_KINDS.values()))


class Behind(PvcError):
    """What comes next is not kept any more."""

    code = "behind"


@dataclass(frozen=True, slots=True)
class Event:
    number: int
    kind: str
    """One of KINDS; "all" when anything may have changed."""
    id: str
    body: Mapping[str, Any]
    """How it is now; {"removed": True} and its id when it is not there any more."""


@dataclass
class EventLog:
    """`life` names this process's numbering: a number of another life means nothing here."""

    desk: Desk
    kept: int = KEPT
    life: str = field(default_factory=lambda: new_request_id()[:8])

    def __post_init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=self.kept)
        self._changed = threading.Condition()
        self._number = 0
        self._names: dict[str, str] = {}
        self.desk.keeper.subscribe(self._note)

    @property
    def last(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._number

    def after(self, number: int, *, wait_s: float, closed: Callable[[], bool]) -> list[Event]:
        """Events that came after `number`; waits for one up to `wait_s`, or until `closed`. Raises Behind."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number or closed(), timeout=wait_s)
            if self._number <= number:
                return []
            oldest = self._events[0].number
            if number < oldest - 1:
                raise Behind(
                    f"{oldest - 1 - number} events between {number} and {oldest} are not kept any more",
                    help="read everything anew, then listen again",
                )
            return [self._events[place] for place in range(number + 1 - oldest, len(self._events))]

    def wake(self) -> None:
        """Whoever waits looks whether it is closed."""
        with self._changed:
            self._changed.notify_all()

    def _note(self, keys: frozenset[str] | None) -> None:
        view = self.desk.view
        found = {("all", "")} if keys is None else {one for key in keys if (one := _object(key))}
        if not found:
            return
        made = [(kind, id, self._body(view, kind, id)) for kind, id in sorted(found)]
        with self._changed:
            for kind, id, body in made:
                self._number += 1
                self._events.append(Event(self._number, kind, id, body))
            self._changed.notify_all()

    def _body(self, view: ClusterView, kind: str, id: str) -> dict[str, Any]:
        found = _BODIES[kind](view, id) if kind in _BODIES else {}
        if kind == "vm" and found is not None:
            self._names[id] = found["name"]
        if found is None:
            name = self._names.pop(id, None) if kind == "vm" else None
            return {"id": id, **({"name": name} if name else {}), "removed": True}
        return {"id": id, **found}


def _object(key: str) -> tuple[str, str] | None:
    found = layout.split(key)
    return (_KINDS[found[0]], found[1]) if found and found[0] in _KINDS else None


def _vm(view: ClusterView, uuid: str) -> dict[str, Any] | None:
    kept, claim, seen = view.vm_wanted.get(uuid), view.claims.get(uuid), view.vm_seen.get(uuid)
    if kept is None:
        return None
    state = vm_state(kept.value, claim.value if claim else None, seen.value if seen else None)
    node = claim.value.holder if claim else kept.value.node or ""
    return {"name": kept.value.name, "state": state, "node": node, "status": seen.value.sentence if seen else ""}


def _node(view: ClusterView, name: str) -> dict[str, Any] | None:
    kept = view.node_seen.get(name)
    if kept is None:
        return None
    seen = kept.value
    return {"name": name, "daemon_state": seen.daemon_state, "domain_state": seen.domain_state, "status": seen.sentence}


def _task(view: ClusterView, id: str) -> dict[str, Any] | None:
    if (kept := view.tasks.get(id)) is None:
        return None
    task = kept.value
    progress = {"current": task.current, "total": task.total, "status": task.status}
    return {"name": task.kind, "state": task.state, **progress}


def _network(view: ClusterView, vni: str) -> dict[str, Any] | None:
    kept = view.networks.get(vni)
    return {"name": kept.value.name, "vni": kept.value.vni, "nettype": kept.value.nettype} if kept else None


def _pool(view: ClusterView, name: str) -> dict[str, Any] | None:
    kept = view.pools.get(name)
    return {"name": name, "driver": kept.value.driver} if kept else None


def _volume(view: ClusterView, id: str) -> dict[str, Any] | None:
    if (kept := view.volumes.get(id)) is None:
        return None
    volume = kept.value
    return {"name": volume.ref, "state": volume.phase, "size": volume.size_bytes, "snapshots": len(volume.snapshots)}


def _fault(view: ClusterView, id: str) -> dict[str, Any] | None:
    if (kept := view.faults.get(id)) is None:
        return None
    return {"name": id, "state": "ack" if kept.value.acked_s else "new", "status": kept.value.message}


def _cluster(view: ClusterView, _id: str) -> dict[str, Any] | None:
    return {"maintenance": view.maintenance, "primary_node": view.primary}


_BODIES: Mapping[str, Callable[[ClusterView, str], dict[str, Any] | None]] = {
    "vm": _vm, "node": _node, "task": _task, "network": _network, "pool": _pool, "volume": _volume, "fault": _fault,
    "cluster": _cluster,
}  # fmt: skip
