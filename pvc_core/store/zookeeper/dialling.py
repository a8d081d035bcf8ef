"""Which server is dialled first, and how soon a machine that does not answer is left. How patient a dial is with a
server that answers slowly is link.py's.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler

from pvc_core.store.zookeeper.tls import secured, select_with_pending

REACH_S = 1.2
"""A machine that is on answers the first packet of a connection at once, however busy it is, or the second, which is
sent after a second. One that is off costs a dial this much, and not the patience that a busy server is given.
"""

AVOIDED_S = 30.0
"""For so long a machine that did not answer is dialled after the others."""

UNHEARD_S = 2.5
"""So long what was sent may stay without a receipt of the other machine's kernel (TCP_USER_TIMEOUT, RFC 5482): one that
lost its power is left then; one that is busy, or whose server hangs, gives receipts.
"""


class Dialler(SequentialThreadingHandler):
    """kazoo's threads and sockets. `step_s`: how long a dial may now wait for a machine's server to answer."""

    def __init__(self, step_s: Callable[[], float], tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._step_s = step_s
        self._tls = tls

    def create_connection(self, *args: Any, timeout: float, hostname: str, **options: Any) -> Any:
        step_s = min(timeout, self._step_s())
        sock = super().create_connection(*args, hostname=hostname, timeout=min(step_s, REACH_S), **options)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNHEARD_S * 1000))
        sock.settimeout(step_s)
        return secured(sock, self._tls, hostname) if self._tls else sock

    def select(self, readers: Any, writers: Any, others: Any, timeout: float | None = None) -> Any:
        return select_with_pending(readers, writers, others, timeout, super().select)


class Dialled:
    """What one connection remembers of the machines it dialled."""

    def __init__(self) -> None:
        self._missed: dict[str, float] = {}

    def missed(self, address: str, took_s: float, step_s: float) -> None:
        """It could not be reached; at once (it refused), or not within the time."""
        if took_s >= 0.9 * min(step_s, REACH_S):
            self._missed[address] = time.monotonic()

    def ordered(self, hosts: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
        """(name, address, port): the server on this machine first, for its end is noticed at once, and the loss of
        another machine not at all; last who did not answer lately.
        """
        return sorted(hosts, key=lambda host: (self._is_avoided(host[1]), not _is_here(host[1])))

    def _is_avoided(self, address: str) -> bool:
        missed_s = self._missed.get(address)
        return missed_s is not None and time.monotonic() - missed_s < AVOIDED_S


def _is_here(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True
