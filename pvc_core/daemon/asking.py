"""What the judge asks of the world beside the store: other nodes' guards, over UDP, and the store's servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from pvc_core.clock import Clock
from pvc_core.config import Config
from pvc_core.daemon.checks.quorum import servers
from pvc_core.errors import Permanent
from pvc_core.founding.secrets import STORE_NODE, read_secret
from pvc_core.guard.asking import Asker
from pvc_core.guard.datagram import key_from
from pvc_core.model.verdict import Verdict
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.docket import Alive

WAIT_S = 0.4
FRESH_S, STALE_S = 2.0, 10.0
SERVER_S = 2.0
"""Asking begins when a node has been silent for 2 s, and is over before a verdict on it is due."""


class GuardQuestions:
    """docket.Questions on the guards' datagrams. Addresses are those of the nodes' own heartbeats."""

    def __init__(self, asker: Callable[[], Asker | None], view: Callable[[], ClusterView]) -> None:
        """`asker` is None as long as there is no key."""
        self._asker, self._view = asker, view

    def alive(self, nodes: Collection[str]) -> Mapping[str, Alive]:
        return self._ask("alive", nodes)

    def release(self, verdict: Verdict) -> Alive | None:
        found = self._ask("release", [verdict.node], incarnation=verdict.incarnation, why=verdict.why)
        return found.get(verdict.node)

    def _ask(
        self, what: Literal["alive", "release"], nodes: Collection[str], *, incarnation: str = "", why: str = ""
    ) -> dict[str, Alive]:
        """Of several answers of one node (it was asked on every network) the worst news count."""
        beats, found = self._view().heartbeats, dict[str, Alive]()
        targets = {name: tuple(beats[name].value.addresses.values()) for name in nodes if name in beats}
        asker = self._asker()
        if asker is None or not targets:
            return found
        try:
            heard = asker.ask(what, targets, wait_s=WAIT_S, incarnation=incarnation, why=why)
        except OSError:
            return found
        for one in heard:
            answer, old = one.answer, found.get(one.answer.node)
            found[answer.node] = Alive(
                incarnation=answer.incarnation,
                condemned=answer.condemned or (old is not None and old.condemned),
                all_gone=answer.gone or (old is not None and old.all_gone),
            )
        return found


def asker_of(config: Config, clock: Clock) -> Callable[[], Asker | None]:
    """The nodes' secret is read when it is there, once."""
    made: list[Asker] = []

    def asker() -> Asker | None:
        if not made:
            try:
                secret = read_secret(config.paths.secrets, STORE_NODE)
            except Permanent:
                return None
            made.append(Asker(config.node, key_from(secret), clock, port=config.guard_port))
        return made[0]

    return asker


class Serving:
    """Coordinators whose store servers answered a moment ago. Nobody waits for the asking: it goes on by itself."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._lock = threading.Lock()
        self._asking = False
        self._asked_s = float("-inf")
        self._found: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str] | None:
        """None: there is one server only. Empty: it is not known yet."""
        if len(self._config.cluster.coordinators) == 1:
            return None
        now_s = self._clock.boottime_s()
        with self._lock:
            old_s = now_s - self._asked_s
            if old_s > FRESH_S and not self._asking:
                self._asking = True
                threading.Thread(target=self._ask, name="serving", daemon=True).start()
            return self._found if old_s <= STALE_S else frozenset()

    def _ask(self) -> None:
        asked_s, found = self._clock.boottime_s(), frozenset[str]()
        try:
            answers = servers(self._config, deadline_s=SERVER_S)
            found = frozenset(name for name, said in answers.items() if "mode" in said)
        finally:
            with self._lock:
                self._asking, self._found, self._asked_s = False, found, asked_s
