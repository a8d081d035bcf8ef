"""The real pvcguard against a real pvcstored: what an operator does to it, and what happens to it (safety A13, A15)."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pvc_core.clock import SystemClock
from pvc_core.errors import Invalid, Refused
from pvc_core.guard import incarnation
from pvc_core.guard.client import Guard
from pvc_core.model.fence import ProofKind
from pvc_core.peer import Unreachable, ask

from .conftest import UUID, Node, until

pytestmark = pytest.mark.system


@pytest.fixture
def guarded(node: Node) -> Node:
    """Store and guard run, and the guard is heard."""
    node.start_store()
    node.guard_process = node.start_guard()
    assert until(node.is_heard), node.log.read_text()
    return node


def test_it_beats_every_second_and_tells_of_the_machine(guarded: Node) -> None:
    first = guarded.heartbeat()
    time.sleep(3.0)
    second = guarded.heartbeat()
    assert first and second
    assert 2 <= second.beat - first.beat <= 5
    assert second.incarnation == guarded.guard.incarnation() == guarded.guard.status().incarnation
    assert second.memory_total_bytes > second.memory_free_bytes > 0
    assert not second.armed, "a cluster of one is never armed"


def test_killed_and_restarted_it_is_the_same_life_and_permits_hold(guarded: Node) -> None:
    before = guarded.guard.incarnation()
    beat = guarded.heartbeat()
    guarded.guard.permit(UUID, generation=7, for_s=60)
    permit = (guarded.run / "permits" / UUID).read_text()
    guarded.guard_process.kill()
    guarded.guard_process.wait()
    assert (guarded.run / "permits" / UUID).read_text() == permit, "the hook reads it with no guard alive"
    guarded.start_guard()
    assert until(guarded.is_heard)
    assert guarded.guard.incarnation() == before
    assert (guarded.run / "permits" / UUID).read_text() == permit
    with pytest.raises(Refused, match="generation 7 was permitted before"):
        guarded.guard.permit(UUID, generation=6)
    assert beat and until(lambda: (now := guarded.heartbeat()) is not None and now.beat > beat.beat)


def test_permits_end_by_themselves(guarded: Node) -> None:
    now_s = SystemClock().boottime_s()
    end_s = guarded.guard.permit(UUID, generation=0, kind="incoming", for_s=1.5)
    assert now_s + 1.4 < end_s < now_s + 3.0
    content = json.loads((guarded.run / "permits" / UUID).read_text())
    assert content == {"generation": 0, "deadline_boottime_s": end_s, "kind": "incoming"}
    assert until(lambda: not (guarded.run / "permits" / UUID).exists(), 5.0)
    assert SystemClock().boottime_s() >= end_s
    guarded.guard.permit(UUID, generation=0)
    assert guarded.guard.revoke(UUID)
    assert not guarded.guard.revoke(UUID)


@pytest.mark.parametrize("args", [{}, {"uuid": 5}, {"uuid": UUID, "generation": "x", "kind": "start", "for_s": 1}])
def test_wrong_questions_are_refused_in_words(guarded: Node, args: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="asked wrongly"):
        ask(guarded.run / "guard.sock", "permit", args)
    assert guarded.guard.status().node == "hv1"


def test_only_root_may_ask(guarded: Node) -> None:
    assert (guarded.run / "guard.sock").stat().st_mode & 0o777 == 0o600


def test_a_store_that_hangs_is_told_once_and_heard_again(guarded: Node) -> None:
    store = guarded._processes[0]
    store.send_signal(signal.SIGSTOP)
    assert until(lambda: (guarded.guard.status().heard_ago_s or 0) > 4.0)
    guarded.guard.permit(UUID, generation=0)  # alone on earth: nobody could have taken the guest
    store.send_signal(signal.SIGCONT)
    assert until(guarded.is_heard)
    log = guarded.log.read_text()
    assert log.count("is not heard") == 1
    assert until(lambda: guarded.log.read_text().count("is heard again") == 1)


def test_a_store_killed_at_any_moment_is_found_again(guarded: Node) -> None:
    for _ in range(3):
        store = guarded._processes[-1] if len(guarded._processes) > 2 else guarded._processes[0]
        store.kill()
        store.wait()
        assert until(lambda: (guarded.guard.status().heard_ago_s or 0) > 2.0)
        guarded.start_store()
        assert until(guarded.is_heard), guarded.log.read_text()


def test_it_begins_before_its_store_and_before_its_secret(node: Node) -> None:
    secret = (node.secrets / "store-node").read_text()
    (node.secrets / "store-node").unlink()
    process = node.start_guard()
    assert until(lambda: (node.run / "guard.sock").exists())
    assert until(lambda: "make it with: pvcnoded init" in node.log.read_text())
    (node.secrets / "store-node").write_text(secret)
    node.start_store()
    assert until(node.is_heard), node.log.read_text()
    process.terminate()
    assert process.wait(10) == 0
    assert secret.strip() not in node.log.read_text()


def test_it_beats_on_when_it_was_stopped_for_a_while(guarded: Node) -> None:
    guarded.guard_process.send_signal(signal.SIGSTOP)
    time.sleep(4.0)
    guarded.guard_process.send_signal(signal.SIGCONT)
    assert until(guarded.is_heard)
    assert until(lambda: "pvcguard did not run for" in guarded.log.read_text())


def test_a_second_guard_on_the_node_is_refused(guarded: Node) -> None:
    second = guarded.start_guard()
    assert second.wait(20) == 2
    process = guarded.guard_process.pid
    assert f"pvcguard runs on this node already (process {process} holds" in guarded.log.read_text()
    assert guarded.is_heard()


def test_a_broken_pvc_yaml_does_not_keep_it_down(guarded: Node) -> None:
    (guarded.state / "last-good.yaml").write_text(guarded.yaml())
    guarded.guard_process.kill()
    guarded.guard_process.wait()
    guarded.config.write_text("cluster: {name: c1, coordinators: [\n")
    guarded.start_guard()
    assert until(guarded.is_heard), guarded.log.read_text()
    assert "going on with the last configuration that worked" in guarded.log.read_text()


def test_without_any_configuration_it_says_what_is_missing(node: Node) -> None:
    node.config.unlink()
    assert node.start_guard().wait(20) == 2
    assert node.log.read_text().count("\n") == 1
    assert "there is no" in node.log.read_text()


def test_stopped_it_leaves_no_socket_and_exits_cleanly(guarded: Node) -> None:
    guarded.guard_process.terminate()
    assert guarded.guard_process.wait(10) == 0
    assert not (guarded.run / "guard.sock").exists()
    with pytest.raises(Unreachable, match="nobody listens"):
        guarded.guard.status()


def test_a_log_nobody_reads_does_not_stop_the_heartbeat(node: Node) -> None:
    """stderr is a full pipe: every write to it blocks."""
    node.start_store()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        fcntl.fcntl(writing, fcntl.F_SETFL, 0)
    arguments = ["--config", str(node.config), "--node", "hv1", "--state", str(node.state)]
    guard = subprocess.Popen([sys.executable, "-m", "pvc_core.guard.main", *arguments], stderr=writing)
    node._processes.append(guard)
    os.close(writing)
    try:
        assert until(node.is_heard)
        time.sleep(3.0)
        assert node.is_heard()
    finally:
        os.close(reading)


def test_its_memory_is_locked_and_its_threads_come_first(guarded: Node) -> None:
    proc = Path(f"/proc/{guarded.guard_process.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    if "cannot lock its memory" in guarded.log.read_text():
        pytest.skip("the kernel refuses mlockall here")
    assert int(status["VmLck"].split()[0]) > 0
    print(f"pvcguard: resident {status['VmRSS'].strip()}, anonymous {status['RssAnon'].strip()}")
    assert int(status["VmRSS"].split()[0]) < 60_000


def test_the_incarnation_of_a_run_directory_of_another_boot_is_replaced(node: Node) -> None:
    node.run.mkdir()
    (node.run / "incarnation").write_text("00000000-0123456789abcdef\n")
    node.start_store()
    node.start_guard()
    assert until(node.is_heard)
    assert incarnation.read(node.run) != "00000000-0123456789abcdef"


@pytest.fixture
def walled(node: Node) -> Node:
    """The same, where no process of the machine is seen."""
    node.start_store()
    node.guard_process = node.start_guard(walled=True)
    assert until(node.is_heard), node.log.read_text()
    return node


def test_b5_condemned_it_says_that_all_are_gone_and_begins_anew(walled: Node) -> None:
    guarded = walled
    before = guarded.guard.incarnation()
    guarded.guard.permit(UUID, generation=7, for_s=60)
    guarded.condemn()
    assert until(lambda: guarded.guard.incarnation() != before, 30.0), guarded.log.read_text()
    assert until(guarded.is_heard)
    beat, word = guarded.heartbeat(), guarded.word(before)
    assert beat and beat.incarnation == guarded.guard.incarnation() and not beat.condemned
    assert word and word.proof.kind is ProofKind.OFF and word.proof.incarnation == before
    assert not list((guarded.run / "permits").iterdir())
    with pytest.raises(Refused, match="generation 7 was permitted before"):
        guarded.guard.permit(UUID, generation=6)
    with pytest.raises(Refused, match="which is over"):
        Guard(guarded.run, incarnation=before).permit(UUID, generation=8)
    assert guarded.guard_process.poll() is None


def test_b5_killed_while_it_ends_its_guests_it_goes_on_with_that(walled: Node) -> None:
    guarded = walled
    before = guarded.guard.incarnation()
    guarded.condemn()
    assert until(lambda: guarded.guard.status().condemned != "")
    guarded.guard_process.kill()
    guarded.guard_process.wait()
    assert guarded.guard.incarnation() == before
    guarded.start_guard(walled=True)
    assert until(lambda: guarded.guard.incarnation() != before, 30.0)
    assert guarded.word(before)
