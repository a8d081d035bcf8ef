"""Threads for the services, which are synchronous. Bounded in number and in how many may wait for one.

Not concurrent.futures: the interpreter waits for its threads at exit, and a request that waits for a guest to shut down
must not hold up the end of the daemon.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pvc_core.errors import Retry

T = TypeVar("T")

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Workers:
    """At most `size` threads, made when first needed; `waiting` more calls may wait for one."""

    def __init__(self, name: str, size: int, waiting: int) -> None:
        self._name, self._size, self._room = name, size, size + waiting
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0
        self._threads = 0

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """`call`, in one of the threads. From the loop's thread. Raises Retry when too many wait already."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._open >= self._room:
                raise Retry(
                    f"{self._open} requests are being worked on already", again_in_s=1.0, help="ask again in a moment"
                )
            self._open += 1
            if self._open > self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put((loop, future, call))
        return future

    def _work(self) -> None:
        while True:
            loop, future, call = self._jobs.get()
            result, error = _outcome(call)
            with self._lock:
                self._open -= 1
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                pass  # the loop has ended meanwhile, and with it whoever asked
            del future, call, result, error  # nothing of a request outlives it here


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001  # travels to whoever awaits it
        return None, error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):
        error = RuntimeError("a call ended with StopIteration")
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
