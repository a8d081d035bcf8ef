"""Calls into drivers with a deadline the core itself keeps: a driver that never comes back costs one object, not a
loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pvc_core.errors import Retry

T = TypeVar("T")

GRACE_S = 1.0
"""A driver is given this much beyond its own deadline before the core stops waiting."""


class Calls(Protocol):
    def __call__(self, object: str, what: str, deadline_s: float, call: Callable[[], T]) -> T:
        """`call()`, or Retry when it is not back in time; asked again only when the old call has come back."""


class DirectCalls:
    """In this very thread: for the simulator, whose fakes always come back."""

    def __call__(self, object: str, what: str, deadline_s: float, call: Callable[[], T]) -> T:
        return call()


class ThreadCalls:
    """Each on a thread of its own, which ends with the process: a hanging driver does not keep a daemon from ending.

    `stuck` maps an object to what has not come back. When `stuck_max` objects of one family (guests, volumes, pools,
    ...) are stuck, further calls of that family are not begun: a hypervisor that hangs costs the others nothing.
    """

    def __init__(self, stuck_max: int = 32) -> None:
        self._stuck_max = stuck_max
        self._lock = threading.Lock()
        self.stuck: dict[str, str] = {}

    def __call__(self, object: str, what: str, deadline_s: float, call: Callable[[], T]) -> T:
        with self._lock:
            self._demand_free(object, what)
        work = _Work(call)
        threading.Thread(target=self._run, args=(object, work), name=f"driver {object}", daemon=True).start()
        if not work.done.wait(deadline_s + GRACE_S):
            self._give_up(object, what, deadline_s, work)
        return work.result()

    def _demand_free(self, object: str, what: str) -> None:
        if object in self.stuck:
            raise Retry(f"still waiting for the driver to come back from: {self.stuck[object]}", again_in_s=2.0)
        family = _family(object)
        stuck = sum(_family(other) == family for other in self.stuck)
        if stuck >= self._stuck_max:
            raise Retry(f"{what}: not begun, {stuck} calls to that driver have not come back", again_in_s=5.0)

    def _run(self, object: str, work: _Work[T]) -> None:
        work.run()
        with self._lock:
            work.done.set()
            if work.given_up:
                self.stuck.pop(object, None)

    def _give_up(self, object: str, what: str, deadline_s: float, work: _Work[T]) -> None:
        with self._lock:
            if work.done.is_set():
                return
            work.given_up, self.stuck[object] = True, what
        raise Retry(f"{what}: the driver did not come back within {deadline_s:.0f} s", again_in_s=2.0)


class _Work(Generic[T]):
    """One call under way."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._answer: T
        self._error: BaseException | None = None
        self.done = threading.Event()
        self.given_up = False

    def run(self) -> None:
        try:
            self._answer = self._call()
        except BaseException as error:  # noqa: BLE001  # carried to the thread that asked
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer


def _family(object: str) -> str:
    """ "volume" of "volume/ID"; guests are named by their bare UUID."""
    head, slash, _ = object.partition("/")
    return head if slash else "guest"
