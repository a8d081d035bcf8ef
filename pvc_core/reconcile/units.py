"""The units (systemd services) that the plugins of this node need: started when they do not run, and watched.

Never stopped and never restarted: guests may hang on one that runs, be it ill or not, and its own unit file says what
brings it back after a crash. What is asked is daemon/systemd.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pvc_core.errors import PvcError
from pvc_core.model.node import HealthSeen
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.outcome import Outcome

LOOK_S, AGAIN_S = 15.0, 5.0
FAULT_DELTA = 25
RUNNING = ("active", "activating", "reloading", "deactivating")


@dataclass(frozen=True, slots=True)
class UnitsReconciler:
    """One key per unit. `state` says what systemd says of it; `start` starts it. Asks no store."""

    needed_by: Mapping[str, Sequence[str]]
    """unit -> the plugins that name it."""
    state: Callable[[str], str]
    start: Callable[[str], None]
    kind: str = "unit"
    _faults: dict[str, str] = field(default_factory=dict)

    def keys(self, view: ClusterView) -> Iterable[str]:
        return self.needed_by

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        try:
            found = self.state(key)
        except PvcError as error:
            return self._fault(key, f"{key}, which plugin {self._who(key)} needs, could not be looked at: {error}")
        if found == "not-found":
            return self._fault(key, f"{key} is not installed, and plugin {self._who(key)} needs it: install it")
        if found in RUNNING:
            self._faults.pop(key, None)
            return Outcome(f"{key} is {found}", LOOK_S)
        try:
            self.start(key)
        except PvcError as error:
            return self._fault(key, f"{key}, which plugin {self._who(key)} needs, cannot be started: {error}")
        self._faults.pop(key, None)
        return Outcome(f"{key} was {found}; it is started", LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Faults are shown in the node's health."""

    def health(self) -> Sequence[HealthSeen]:
        """What a person must mend on this host."""
        return [
            HealthSeen(plugin="units", delta=FAULT_DELTA, message=fault) for _, fault in sorted(self._faults.items())
        ]

    def _fault(self, key: str, sentence: str) -> Outcome:
        self._faults[key] = sentence
        return Outcome(sentence, AGAIN_S)

    def _who(self, key: str) -> str:
        return ", ".join(self.needed_by[key])
