"""Questions over real UDP on loopback: who knows the key is answered, everybody else costs next to nothing."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pvc_core.clock import SystemClock
from pvc_core.daemon.once import Once
from pvc_core.guard.asking import Asker
from pvc_core.guard.datagram import MAX_BYTES, Answer, Question, key_from, open_answer, open_question, seal
from pvc_core.guard.listening import Listener

KEY = key_from("the-nodes-password")
NETS = ("127.0.7.1", "127.0.7.2", "127.0.7.3")


class Asked:
    """A node that answers on three addresses, and what it was asked."""

    def __init__(self, addresses: tuple[str, ...] = NETS) -> None:
        self.questions: list[Question] = []
        self.port = _free_port()
        self.stop = threading.Event()
        once = Once(logging.getLogger("test"), SystemClock())
        self.listener = Listener(
            "hv2", lambda: KEY, addresses, self.port, answer=self._answer, clock=SystemClock(), once=once
        )
        self.thread = threading.Thread(target=self.listener.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def _answer(self, question: Question) -> Answer:
        self.questions.append(question)
        return Answer(node="hv2", nonce=question.nonce, incarnation="life-1", has_store=True)

    def asker(self, key: bytes = KEY) -> Asker:
        return Asker("hv1", key, SystemClock(), port=self.port)

    def close(self) -> None:
        self.stop.set()
        self.thread.join(10)


@pytest.fixture
def asked() -> Iterator[Asked]:
    node = Asked()
    assert _until(lambda: node.asker().ask("alive", {"hv2": NETS}, wait_s=0.2))
    node.questions.clear()
    yield node
    node.close()


def test_it_answers_on_each_network(asked: Asked) -> None:
    heard = asked.asker().ask("alive", {"hv2": NETS}, wait_s=10.0)
    assert {one.address for one in heard} == set(NETS)
    assert all(one.answer.incarnation == "life-1" for one in heard)


def test_one_network_is_enough_and_a_dead_one_costs_the_wait_only(asked: Asked) -> None:
    began = time.monotonic()
    heard = asked.asker().ask("alive", {"hv2": (NETS[0], "127.0.7.99"), "hv3": ("127.0.7.98",)}, wait_s=0.5)
    assert [one.address for one in heard] == [NETS[0]]
    assert time.monotonic() - began < 5.0


def test_a_stranger_is_not_answered_and_believed_by_nobody(asked: Asked) -> None:
    assert not asked.asker(key_from("another")).ask("release", {"hv2": NETS}, wait_s=0.3, incarnation="life-1")
    assert not asked.questions
    question = Question(ask="alive", asker="hv1", node="hv2", nonce="n")
    sealed = seal(KEY, question)
    assert open_question(KEY, sealed) == question
    for broken in (sealed[:-1], sealed[:40] + b"x" + sealed[41:], b"", sealed + b" ", b"PVG1A" + sealed[5:]):
        assert open_question(KEY, broken) is None
        assert open_answer(KEY, broken) is None


def test_a_question_meant_for_another_node_is_not_answered(asked: Asked) -> None:
    assert not asked.asker().ask("alive", {"hv3": NETS}, wait_s=0.3)


def test_an_old_answer_is_no_answer(asked: Asked) -> None:
    """Replayed, it has the nonce of another question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as replayer:
        replayer.bind(("127.0.7.4", asked.port))
        replayer.settimeout(10.0)
        old = seal(KEY, Answer(node="hv9", nonce="seen-before", incarnation="life-0"))

        def replay() -> None:
            _, asker = replayer.recvfrom(MAX_BYTES)
            replayer.sendto(old, asker)

        thread = threading.Thread(target=replay)
        thread.start()
        assert not asked.asker().ask("alive", {"hv9": ("127.0.7.4",)}, wait_s=0.5)
        thread.join()


def test_a_long_reason_fits_into_one_datagram(asked: Asked) -> None:
    asked.asker().ask("release", {"hv2": NETS[:1]}, wait_s=10.0, incarnation="life-1", why="ä" * 5000)
    assert asked.questions[0].why.startswith("äää")


def test_a_flood_on_one_network_leaves_the_others_open(asked: Asked) -> None:
    """Of junk and of genuine questions said again: both at full speed, from several threads."""
    stop = threading.Event()
    genuine = seal(KEY, Question(ask="promise", asker="hv3", node="hv2", nonce="n", incarnation="x"))

    def flood(datagram: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                sock.sendto(datagram, (NETS[0], asked.port))

    threads = [threading.Thread(target=flood, args=(data,)) for data in (b"x" * 1400, genuine)]
    for thread in threads:
        thread.start()
    try:
        began, before = time.monotonic(), time.thread_time()
        assert _until(lambda: asked.asker().ask("alive", {"hv2": NETS[1:]}, wait_s=1.0))
        assert len(asked.questions) < 2000 * max(1.0, time.monotonic() - began) + 2000, "an allowance, not all of it"
        assert before >= 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_an_address_that_comes_later_is_listened_on_at_once() -> None:
    """Bound before the device has it: pvcnoded gives the addresses, and may be down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError):
        sock.bind(("192.0.2.77", 0))
    node = Asked(("192.0.2.77", NETS[0]))
    try:
        assert _until(lambda: len(node.listener._open) == 2)
    finally:
        node.close()


def _until(true: object, wait_s: float = 15.0) -> bool:
    assert callable(true)
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        if true():
            return True
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((NETS[0], 0))
        port: int = sock.getsockname()[1]
        return port
