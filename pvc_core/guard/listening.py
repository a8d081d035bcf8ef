"""Answers other nodes' questions on every address of this node, whatever becomes of the store and of pvcnoded.

A thread of its own that never waits for anything but questions. A flood costs a bounded part of the processor: so many
datagrams are looked at in a while, the rest is dropped by the kernel; each network has its own allowance.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from pvc_core.clock import Clock
from pvc_core.daemon.once import Once
from pvc_core.guard.datagram import MAX_BYTES, Answer, Question, open_question, seal

_ROUND_S, _ROUND_DATAGRAMS = 0.05, 40
_AGAIN_S = 5.0
"""Until an address that could not be listened on is tried again."""
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78  # linux/in.h, linux/in6.h


class Listener:
    """`answer` is asked for each genuine question that is for `node`; it must not block."""

    def __init__(
        self,
        node: str,
        key: Callable[[], bytes | None],
        addresses: Iterable[str],
        port: int,
        *,
        answer: Callable[[Question], Answer],
        clock: Clock,
        once: Once,
    ) -> None:
        """`key` may have none yet: then nobody is answered."""
        self._node = node
        self._key = key
        self._wanted = tuple(addresses)
        self._port = port
        self._answer = answer
        self._clock = clock
        self._once = once
        self._open: dict[str, socket.socket] = {}
        self._tried_s = float("-inf")

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._listen()
            began_s = self._clock.boottime_s()
            busy = self.round(0.5)
            if not self._open or busy:
                stop.wait(max(0.0, _ROUND_S - (self._clock.boottime_s() - began_s)) if self._open else 1.0)
        for sock in self._open.values():
            sock.close()

    def round(self, wait_s: float) -> bool:
        """Answer what is there, at most so much; whether a socket had more than its allowance. Raises nothing."""
        if not self._open:
            return False
        ready, _, _ = select.select(list(self._open.values()), [], [], wait_s)
        key = self._key() if ready else None
        return any([self._serve(sock, key) for sock in ready])

    def _serve(self, sock: socket.socket, key: bytes | None) -> bool:
        for _ in range(_ROUND_DATAGRAMS):
            try:
                datagram, sender = sock.recvfrom(MAX_BYTES + 1)
            except BlockingIOError:
                return False
            except OSError:
                continue  # an earlier answer found nobody
            question = open_question(key, datagram) if key else None
            if key and question and question.node == self._node:
                self._reply(sock, sender, seal(key, self._answer(question)))
        return True

    def _reply(self, sock: socket.socket, sender: tuple[object, ...], datagram: bytes) -> None:
        try:
            sock.sendto(datagram, sender)
        except OSError:
            pass  # the asker asks again

    def _listen(self) -> None:
        """An address need not be there yet, pvcnoded gives it; a port that is taken is told and tried again."""
        now_s = self._clock.boottime_s()
        if len(self._open) == len(self._wanted) or now_s - self._tried_s < _AGAIN_S:
            return
        self._tried_s = now_s
        for address in self._wanted:
            if address not in self._open:
                self._try(address)

    def _try(self, address: str) -> None:
        version = ip_address(address).version
        sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            level, option = (socket.IPPROTO_IP, _IP_FREEBIND) if version == 4 else (socket.IPPROTO_IPV6, _IPV6_FREEBIND)
            sock.setsockopt(level, option, 1)
            sock.bind((address, self._port))
        except OSError as error:
            sock.close()
            words = f"other nodes' guards cannot ask on {address} port {self._port}: {error.strerror}"
            self._once.begin(f"listen-{address}", words)
            return
        self._open[address] = sock
        self._once.end(f"listen-{address}", f"other nodes' guards can ask on {address} again")
