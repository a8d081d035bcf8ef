"""How it stands with this node, as it answers other guards and judges."""

from __future__ import annotations

from collections.abc import Collection

from pvc_core.clock import Clock
from pvc_core.guard.datagram import Answer, Question
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.promises import Promises
from pvc_core.model.verdict import life_id


class Replies:
    """`ended`: incarnations of this node whose guests its guard has seen gone."""

    def __init__(
        self,
        node: str,
        incarnation: str,
        *,
        deadline: Deadline,
        promises: Promises,
        clock: Clock,
        silent_s: float,
        ended: Collection[str],
    ) -> None:
        self._node = node
        self._incarnation = incarnation
        self._deadline = deadline
        self._promises = promises
        self._clock = clock
        self._silent_s = silent_s
        self._ended = ended

    def answer(self, question: Question) -> Answer:
        promised_s, gone = 0.0, False
        if question.ask == "promise":
            promised_s = self._promises.ask(life_id(question.asker, question.incarnation))
        elif question.ask == "release":
            gone = question.incarnation in self._ended
            self._release(question)
        sent_s = self._deadline.last_sent_s
        ago_s = None if sent_s is None else self._clock.boottime_s() - sent_s
        return Answer(
            node=self._node,
            nonce=question.nonce,
            incarnation=self._incarnation,
            heard_ago_s=ago_s,
            has_store=ago_s is not None and ago_s <= self._silent_s,
            condemned=bool(self._deadline.condemned),
            promised_s=promised_s,
            gone=gone,
        )

    def _release(self, question: Question) -> None:
        """Given up and cut off from the store, it hears of it this way; what follows is selffence.py's."""
        if question.incarnation == self._incarnation and not self._deadline.condemned:
            self._deadline.condemned = question.why or f"{question.asker} says so"
