# SPDX-License-Identifier: LGPL-3.0-or-later
"""The threads of one simulated daemon: they stop inside their work, and a seed decides who goes on.

Real threads, of which one moves at a time; what they work on is the simulator's. A daemon that dies leaves them where
they stand: nothing they would still have done happens.
"""

from __future__ import annotations

import _thread
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pvc_core.testing.storage import Crashed


class Actor:
    """One piece of work under way on a thread of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.go = _closed()
        self.done = False
        self.error: BaseException | None = None
        self.work = work


class Stage:
    """All actors of one daemon. `move` lets one go on until it pauses or ends; raises what ended it."""

    def __init__(self, random: random.Random, *, pauses: float) -> None:
        self.dead = False
        self._random, self._pauses = random, pauses
        self._back = _closed()
        self._actors: list[Actor] = []
        self._now: Actor | None = None
        self._whole = 0

    @property
    def busy(self) -> bool:
        return bool(self._actors)

    @property
    def acting(self) -> bool:
        """Whether who asks is one of the actors."""
        return self._now is not None

    def begin(self, work: Callable[[], object]) -> None:
        actor = Actor(work)
        self._actors.append(actor)
        _thread.start_new_thread(self._live, (actor,))

    def move(self) -> None:
        """Let one of them, chosen by chance, go on."""
        self._move(self._random.choice(self._actors))

    def finish(self) -> None:
        """Let all of them come to their end."""
        while self._actors:
            self._move(self._actors[0])

    def die(self) -> None:
        """Whoever stands at a pause ends there."""
        self.dead = True
        for actor in list(self._actors):
            while not actor.done:
                self._let_go_on(actor)
        self._actors.clear()

    def pause(self) -> None:
        """A moment at which another may go on, or the daemon be dead."""
        if self.dead:
            raise Crashed("the daemon is dead")
        actor = self._now
        if actor is None or self._whole or self._random.random() >= self._pauses:
            return
        self._now = None
        self._back.release()
        actor.go.acquire()
        self._now = actor
        if self.dead:
            raise Crashed("the daemon is dead")

    def wait(self, over: Callable[[], bool]) -> None:
        """This piece of work stands still until `over`; others go on meanwhile."""
        actor = self._now
        assert actor is not None, "only what was begun on the stage can wait"
        while not over():
            self._now = None
            self._back.release()
            actor.go.acquire()
            self._now = actor
            if self.dead:
                raise Crashed("the daemon is dead")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, nobody else goes on: what one thread of the daemon does alone."""
        self._whole += 1
        try:
            yield
        finally:
            self._whole -= 1

    def _move(self, actor: Actor) -> None:
        self._let_go_on(actor)
        if actor.done:
            self._actors.remove(actor)
            if actor.error is not None:
                raise actor.error

    def _let_go_on(self, actor: Actor) -> None:
        outer, self._now = self._now, actor
        actor.go.release()
        self._back.acquire()
        self._now = outer

    def _live(self, actor: Actor) -> None:
        actor.go.acquire()
        try:
            actor.work()
        except BaseException as error:  # noqa: BLE001  # carried to whoever moved it
            actor.error = error
        actor.done = True
        self._back.release()


def _closed() -> threading.Lock:
    """A door that one opens for one other: of the threads here one moves at a time, so nobody opens it twice."""
    door = threading.Lock()
    door.acquire()
    return door
