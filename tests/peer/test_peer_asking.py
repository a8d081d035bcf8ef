"""Questions, answers and bodies between a real client and a real server, and what each error becomes."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvc_core.errors import Invalid, NotFound, Refused, Retry, StoreUnavailable
from pvc_core.peer import InternalError, Unreachable, ask


def test_a_question_and_its_answer(path: Path) -> None:
    args = {"name": "db1", "numbers": [1, 2.5, None], "text": "ü\n\0"}
    assert ask(path, "echo", args).result == args
    assert list(ask(path, "echo").body) == []


def test_a_big_upload_arrives_whole(path: Path) -> None:
    pieces = [bytes([n]) * 3_000_001 for n in range(20)]
    reply = ask(path, "upload", body=[b"", *pieces, b""], deadline_s=30)
    assert reply.result == {"sha256": hashlib.sha256(b"".join(pieces)).hexdigest(), "size": 60_000_020}


def test_an_upload_of_nothing_is_an_upload(path: Path) -> None:
    assert ask(path, "upload", body=[]).result["size"] == 0


def test_a_big_export_arrives_whole(path: Path) -> None:
    reply = ask(path, "export", {"size": 50_000_000, "piece": 2_500_000})
    assert reply.result == {"size": 50_000_000}
    assert sum(map(len, reply.body)) == 50_000_000


def test_an_upload_refused_early_tells_why(path: Path) -> None:
    """The server does not read the rest; the client must hear the reason, not a broken pipe."""
    endless = (b"x" * 1_000_000 for _ in range(100_000))
    with pytest.raises(Refused, match="volume db is in use") as caught:
        ask(path, "refuse-upload", body=endless)
    assert caught.value.help == "stop its VM first"
    assert next(endless)  # it did not go on for 100 GB


@pytest.mark.parametrize("how", ["invalid", "retry", "store", "own"])
def test_errors_keep_their_class_and_their_words(path: Path, how: str) -> None:
    expected = {"invalid": Invalid, "retry": Retry, "store": StoreUnavailable, "own": Refused}[how]
    with pytest.raises(expected) as caught:
        ask(path, "fail", {"how": how})
    error = caught.value
    assert type(error) is expected
    if isinstance(error, Invalid):
        assert (error.message, error.help, error.fields) == ("no", "try yes", {"name": "is empty"})
    if isinstance(error, Retry):
        assert error.again_in_s == 7.5
    if isinstance(error, StoreUnavailable):
        assert error.maybe_written is True


def test_an_unforeseen_failure_tells_only_a_request_id(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(InternalError, match=r"request id [0-9a-f]{16}") as caught:
        ask(path, "fail", {"how": "bug"})
    assert "secret detail" not in str(caught.value)
    record = next(record for record in caplog.records if record.exc_info)
    assert record.getMessage().rpartition(" ")[2] in caught.value.message


@pytest.mark.parametrize("name", ["unencodable", "too-long"])
def test_an_answer_that_cannot_be_sent_is_internal(path: Path, name: str) -> None:
    with pytest.raises(InternalError):
        ask(path, name)


def test_an_unknown_question(path: Path) -> None:
    with pytest.raises(NotFound, match="'what' is not known"):
        ask(path, "what")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="nobody listens there"):
        ask(tmp_path / "none.sock", "echo")


def test_no_answer_in_time(path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match="no answer to 'sleep'"):
        ask(path, "sleep", {"s": 1.5}, deadline_s=0.3)
    assert time.monotonic() - began_s < 1.2


def test_many_at_once(path: Path) -> None:
    """Fifty clients on a server of 64: each gets its own answer, and none waits for another."""
    wrong: list[object] = []

    def client(number: int) -> None:
        for round_ in range(10):
            if ask(path, "echo", {"n": number, "r": round_}).result != {"n": number, "r": round_}:
                wrong.append(number)
        body = [bytes([number]) * 100_000] * 3
        if ask(path, "upload", body=body).result["sha256"] != hashlib.sha256(b"".join(body)).hexdigest():
            wrong.append(number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_more_than_the_limit_are_told_to_ask_again(serve: Callable[..., Path]) -> None:
    path = serve(max_connections=2)
    consoles = [ask(path, "console") for _ in range(2)]
    for console in consoles:
        assert next(console.body) == b"login: "
    with pytest.raises(Retry, match="2 questions are being answered already"):
        ask(path, "echo")
    consoles[0].close()
    assert _until(lambda: _answers(path))
    consoles[1].close()


def test_a_broken_upload_source_cuts_the_upload(path: Path, asked) -> None:
    def source() -> Iterator[bytes]:
        yield b"half"
        raise OSError("cannot read the image")

    with pytest.raises(OSError, match="cannot read the image"):
        ask(path, "upload", body=source())
    assert asked.freed.wait(5)
    assert asked.uploads == ["thrown away: what was sent along with 'upload' broke off: the connection was closed"]


def test_an_answer_that_breaks_off_is_noticed(path: Path) -> None:
    reply = ask(path, "half")
    assert next(reply.body) == b"half"
    with pytest.raises(Unreachable, match="broke off"):
        next(reply.body)


def _answers(path: Path) -> bool:
    try:
        return ask(path, "echo", {"a": 1}).result == {"a": 1}
    except Retry:
        return False


def _until(true: Callable[[], bool], wait_s: float = 5.0) -> bool:
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        if true():
            return True
        time.sleep(0.02)
    return False
