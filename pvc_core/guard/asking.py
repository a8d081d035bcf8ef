"""Asks other nodes' guards directly, on all their networks at once, without the store: for guards and judges."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from pvc_core.clock import Clock
from pvc_core.guard.datagram import MAX_BYTES, Answer, Question, new_nonce, open_answer, seal

PORT = 7372


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, and which of the addresses that were asked it came from."""

    address: str
    answer: Answer


class Asker:
    """Safe from any thread: every round has sockets of its own."""

    def __init__(self, node: str, key: bytes, clock: Clock, *, port: int = PORT) -> None:
        """`key`: datagram.key_from the nodes' password for the store."""
        self._node = node
        self._key = key
        self._clock = clock
        self._port = port

    def ask(
        self,
        what: Literal["alive", "promise", "release"],
        targets: Mapping[str, Sequence[str]],
        *,
        wait_s: float,
        incarnation: str = "",
        why: str = "",
    ) -> list[Heard]:
        """Put the question to every address of every target; returns what was answered within `wait_s`.

        Earlier, once every address has answered. No answer says nothing. Raises nothing but OSError (no sockets left).
        """
        nonces = {new_nonce(): name for name in targets}
        heard: list[Heard] = []
        with _Sockets() as sockets:
            for nonce, name in nonces.items():
                question = Question(
                    ask=what, asker=self._node, node=name, nonce=nonce, incarnation=incarnation, why=why
                )
                datagram = seal(self._key, question)
                for address in targets[name]:
                    sockets.send(datagram, address, self._port)
            until_s = self._clock.boottime_s() + wait_s
            while len(heard) < sockets.sent and (left_s := until_s - self._clock.boottime_s()) > 0:
                for datagram, address in sockets.receive(left_s):
                    answer = open_answer(self._key, datagram)
                    one = Heard(address, answer) if answer else None
                    if one and answer and nonces.get(answer.nonce) == answer.node and one not in heard:
                        heard.append(one)
        return heard


class _Sockets:
    """One for each version of IP, as they are needed."""

    def __init__(self) -> None:
        self.sent = 0
        self._by_family: dict[int, socket.socket] = {}

    def __enter__(self) -> _Sockets:
        return self

    def __exit__(self, *error: object) -> None:
        for sock in self._by_family.values():
            sock.close()

    def send(self, datagram: bytes, address: str, port: int) -> None:
        """A network that is down sends nothing, and nobody waits for it."""
        try:
            family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
            if family not in self._by_family:
                self._by_family[family] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._by_family[family].sendto(datagram, (address, port))
        except (OSError, ValueError):
            return
        self.sent += 1

    def receive(self, wait_s: float) -> Iterator[tuple[bytes, str]]:
        ready, _, _ = select.select(list(self._by_family.values()), [], [], wait_s)
        for sock in ready:
            try:
                datagram, (address, *_) = sock.recvfrom(MAX_BYTES + 1)
            except OSError:  # "port unreachable" of one we asked: nobody answers there
                continue
            yield datagram, address
