"""Calls into drivers with a deadline the core itself keeps: a driver that never comes back costs one object, not a
loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotBack
from typing import Protocol, TypeVar

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
    """On a pool of threads; `stuck` maps an object to what has not come back."""

    def __init__(self, threads: int = 32) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="driver")
        self._lock = threading.Lock()
        self.stuck: dict[str, str] = {}

    def __call__(self, object: str, what: str, deadline_s: float, call: Callable[[], T]) -> T:
        with self._lock:
            if object in self.stuck:
                raise Retry(f"still waiting for the driver to come back from: {self.stuck[object]}", again_in_s=2.0)
        future: Future[T] = self._pool.submit(call)
        try:
            return future.result(timeout=deadline_s + GRACE_S)
        except NotBack:
            if future.done():
                raise
            with self._lock:
                self.stuck[object] = what
            future.add_done_callback(lambda _: self._back(object))
            raise Retry(
                f"the driver did not come back within {deadline_s:.0f} s from: {what}", again_in_s=2.0
            ) from None

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _back(self, object: str) -> None:
        with self._lock:
            self.stuck.pop(object, None)
