"""The deadline as a pure thing, and what of it outlives the guard's process (safety A2, A9, B12)."""

from __future__ import annotations

from pathlib import Path

from pvc_core.guard.deadline import Deadline
from pvc_core.guard.published import publish, restored


def test_alone_it_never_passes() -> None:
    deadline = Deadline(8.0)
    deadline.accepted(100.0, armed=False, limit_s=8.0)
    assert deadline.at_s() is None
    assert not deadline.has_passed(1e9)


def test_it_counts_from_the_sending() -> None:
    deadline = Deadline(8.0)
    deadline.sending(armed=True, limit_s=8.0)
    deadline.accepted(100.0, armed=True, limit_s=8.0)
    assert deadline.at_s() == 108.0
    assert not deadline.has_passed(107.9)
    assert deadline.has_passed(108.0)


def test_armed_and_never_heard_has_passed() -> None:
    deadline = Deadline(8.0)
    deadline.sending(armed=True, limit_s=8.0)
    assert deadline.has_passed(0.5)


def test_arming_begins_with_the_sending_and_ends_with_the_acceptance() -> None:
    deadline = Deadline(8.0)
    deadline.accepted(100.0, armed=False, limit_s=8.0)
    deadline.sending(armed=True, limit_s=8.0)
    assert deadline.at_s() == 108.0, "others may have heard it already"
    deadline.sending(armed=False, limit_s=8.0)
    assert deadline.at_s() == 108.0, "others may not have heard it yet"
    deadline.accepted(105.0, armed=False, limit_s=8.0)
    assert deadline.at_s() is None


def test_a_shorter_limit_holds_at_once_a_longer_one_when_accepted() -> None:
    deadline = Deadline(8.0, armed=True, last_sent_s=100.0)
    deadline.sending(armed=True, limit_s=6.0)
    assert deadline.at_s() == 106.0
    deadline.sending(armed=True, limit_s=9.0)
    assert deadline.at_s() == 106.0
    deadline.accepted(102.0, armed=True, limit_s=9.0)
    assert deadline.at_s() == 111.0


def test_an_answer_that_comes_late_does_not_turn_it_back() -> None:
    deadline = Deadline(8.0, armed=True, last_sent_s=100.0)
    deadline.accepted(99.0, armed=False, limit_s=20.0)
    assert deadline.at_s() == 108.0


def test_a_promise_prolongs_it_only_in_time() -> None:
    deadline = Deadline(8.0, armed=True, last_sent_s=100.0)
    deadline.prolong(109.0, 106.0)
    assert deadline.at_s() == 109.0
    deadline.prolong(108.5, 106.5)
    assert deadline.at_s() == 109.0, "an answer that comes late takes nothing back"
    deadline.prolong(112.0, 109.0)
    assert deadline.at_s() == 109.0, "too late: the guests stand still until a heartbeat is accepted"


def test_condemned_is_for_ever() -> None:
    deadline = Deadline(8.0, armed=False, last_sent_s=100.0)
    deadline.condemned = "it was silent"
    deadline.accepted(101.0, armed=False, limit_s=8.0)
    assert deadline.has_passed(101.0)


def test_it_outlives_the_process_but_not_the_incarnation(tmp_path: Path) -> None:
    whole = Deadline(7.0, armed=True, last_sent_s=100.0, promised_s=108.0, condemned="it was silent")
    publish(tmp_path, "life-1", whole)
    assert restored(tmp_path, "life-1", 8.0) == whole
    assert restored(tmp_path, "life-2", 8.0) == Deadline(8.0)
    (tmp_path / "deadline").write_text("{half")
    assert restored(tmp_path, "life-1", 8.0) == Deadline(8.0)
