"""One request and its fate: waiting, withdrawn before it left, sent, answered. Knows nothing of what is asked.

To kazoo an order is both the packet (type, serialize) and the asynchronous result (set, set_exception).
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from kazoo.protocol.serialization import Exists

from pvc_core.store.codes import Code

_HARMLESS = Exists("/", None)
"""Sent in place of a withdrawn order, which still owns a place in kazoo's queue."""


class Order:
    """A packet on its way. `sent_s` is on the monotonic clock; `code` is the server's error code, 0 for none,
    and `zxid` the number of the last change it had made when it answered.

    `on_done` runs in the connection's thread when the fate is known and must return at once.
    """

    __slots__ = (
        "_done",
        "_fate",
        "_on_done",
        "_withdrawn",
        "answered",
        "code",
        "generation",
        "packet",
        "sent_s",
        "value",
        "zxid",
    )

    def __init__(self, packet: Any, on_done: Callable[[Order], None] | None = None) -> None:
        self.packet = packet
        self.sent_s: float | None = None
        self.generation = 0
        self.answered = False
        self.code = 0
        self.zxid = 0
        self.value: Any = None
        self._on_done = on_done
        self._withdrawn = False
        self._fate = threading.Lock()
        self._done = threading.Lock()
        self._done.acquire()

    @property
    def type(self) -> int:
        return int(self.packet.type)

    def launch(self, generation: int) -> Any:
        """What to put on the wire now. From here on the request may have happened."""
        with self._fate:
            if self._withdrawn:
                return _HARMLESS
            self.sent_s = time.monotonic()
            self.generation = generation
            return self.packet

    def withdraw(self) -> bool:
        """True if it was not sent and never will be."""
        with self._fate:
            self._withdrawn = self.sent_s is None
            return self._withdrawn

    def answer(self, code: int, zxid: int, buffer: bytes, offset: int) -> None:
        self.code, self.zxid = code, zxid
        if code == 0 and not self._withdrawn:
            try:
                self.value = self.packet.deserialize(buffer, offset)
            except (struct.error, LookupError, UnicodeDecodeError):
                self.code = Code.MARSHALLING_ERROR  # not understood: whoever waits hears so, the connection lives on
        self.answered = True
        self._finish()

    def set_exception(self, exception: Exception) -> None:
        """kazoo's word for: the connection went before the answer came."""
        self._finish()

    def wait(self, timeout_s: float) -> bool:
        """True once the fate is known. For one waiter."""
        return self._done.acquire(timeout=max(timeout_s, 0))

    def _finish(self) -> None:
        if self._done.locked():
            self._done.release()
        if self._on_done:
            self._on_done(self)
