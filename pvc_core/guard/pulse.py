"""The thread that beats: once an interval, whatever happens to the store, telling a failure once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from pvc_core.clock import Clock
from pvc_core.cluster.layout import PROOFS
from pvc_core.daemon.once import Once
from pvc_core.errors import Exists, PvcError
from pvc_core.guard.arming import Arming
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.heartbeat import Condemned, Heart
from pvc_core.guard.published import publish
from pvc_core.guard.settings import Settings
from pvc_core.model.verdict import KeptProof
from pvc_core.schema.records import encode
from pvc_core.store.base import Store

BEAT_DEADLINE_S = 0.8
"""d: the longest a heartbeat may take."""
_SOON_S = 0.25
"""After a miss the next attempt comes sooner: what counts is to be heard again early."""
_NEW_CLIENT_S = 30.0
"""After so long without an accepted heartbeat the store's client is made anew, whatever it believes."""


def beat_deadline_s(heartbeat_s: float) -> float:
    """d, which must be shorter than h."""
    return min(BEAT_DEADLINE_S, 0.8 * heartbeat_s)


class Pulse:
    """`open_store` makes a client of the store; it may raise (no secret yet) and is asked again."""

    def __init__(
        self,
        settings: Settings,
        heart: Heart,
        *,
        incarnation: str,
        deadline: Deadline,
        clock: Clock,
        once: Once,
        open_store: Callable[[], Store],
        heard: Callable[[Store], None] = lambda store: None,
    ) -> None:
        """`heard`: what else is read and written of the store, after each accepted heartbeat; it may raise."""
        self._settings = settings
        self._heart = heart
        self._incarnation = incarnation
        self._deadline = deadline
        self._clock = clock
        self._once = once
        self._open_store = open_store
        self._store: Store | None = None
        self._store_since_s = 0.0
        self._heard = heard
        self._beat_s = beat_deadline_s(settings.heartbeat_s)
        self._arming = Arming(settings)
        self.last_words: KeptProof | None = None
        """What is put on record when this ends: this incarnation's guests are all gone."""

    @property
    def armed(self) -> bool:
        """Whether others may have heard that this node's guests stand still at its deadline."""
        return self._deadline.armed

    def run(self, stop: threading.Event) -> None:
        next_s = self._clock.boottime_s()
        while not stop.is_set():
            heard = self.tick()
            now_s = self._clock.boottime_s()
            next_s = max(next_s + self._settings.heartbeat_s, now_s) if heard else now_s + _SOON_S
            stop.wait(next_s - now_s)
        self.end()

    def end(self) -> None:
        """What there is to say at the end of the process. Raises nothing."""
        if self._store:
            self._say_last_words(self._store)
            self._leave(self._store)
            self._store.close()

    def tick(self) -> bool:
        """One attempt; whether it was heard. Raises nothing: there is nobody to catch it."""
        heard = False
        try:
            store = self._client()
            self._heart.beat(store, armed=self._arming.armed(store), deadline_s=self._beat_s)
            heard = True
        except Condemned as error:
            self._once.begin("condemned-heart", f"no heartbeat is sent any more: {error}", level=logging.ERROR)
        except PvcError as error:
            self._once.begin("heartbeat", f"this node's heartbeat is not heard: {error}", level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 - a bug must not end the heartbeat: the node would be taken for dead
            self._once.begin("heartbeat", "this node's heartbeat fails", level=logging.ERROR, error=error)
        else:
            self._once.end("heartbeat", "this node's heartbeat is heard again")
        self._afterwards(heard)
        if heard:
            self._look_around(store)
        return heard

    def _look_around(self, store: Store) -> None:
        try:
            self._heard(store)
        except (PvcError, OSError) as error:
            self._once.begin("around", f"verdicts and neighbours cannot be read: {error}")
        else:
            self._once.end("around", "verdicts and neighbours are read again")

    def _leave(self, store: Store) -> None:
        """Whoever waits for this node must know that its guard keeps no promise meanwhile."""
        if self._deadline.condemned or not self._deadline.armed:
            return
        try:
            self._heart.leave(store, deadline_s=self._beat_s)
        except PvcError as error:
            self._once.begin("leave", f"the store did not hear that pvcguard stops: {error}", level=logging.ERROR)

    def _say_last_words(self, store: Store) -> None:
        """Others wait for them. Not accepted: the next incarnation's first heartbeat says the same."""
        words = self.last_words
        if words is None:
            return
        try:
            store.create(PROOFS.key(words.id), encode(words), deadline_s=BEAT_DEADLINE_S)
        except Exists:
            pass
        except PvcError as error:
            self._once.begin("words", f"it could not be put on record that all guests are gone: {error}")

    def _client(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
            self._store_since_s = self._clock.boottime_s()
        return self._store

    def _afterwards(self, heard: bool) -> None:
        if heard:
            self._store_since_s = self._clock.boottime_s()
        elif self._store and self._clock.boottime_s() - self._store_since_s > _NEW_CLIENT_S:
            self._store.close()
            self._store = None
        self._publish(self._settings.run)

    def _publish(self, run: Path) -> None:
        try:
            publish(run, self._incarnation, self._deadline)
        except OSError as error:
            self._once.begin("publish", f"the deadline cannot be published in {run}: {error.strerror}")
        else:
            self._once.end("publish", "the deadline is published again")
