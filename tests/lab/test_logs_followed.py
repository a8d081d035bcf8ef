"""Logs through another node's API: followed over a migration and over restarts, nothing twice, nothing left out. And
consoles and screens with somebody in front of them: `pvc vm console` at a real terminal, `pvc vm vnc` and RFB.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_watch import all_well, say
from showing import MAY_SAY_NO, arguments, commands, given
from sitting import Sitting

from lab import LabError
from lab.state import REPOSITORY
from pvc_cli.main import run

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VM = "talks"


class Follower:
    """Everything a stream of the API at `node` has said so far."""

    def __init__(self, lab: RunningLab, node: str, path: str) -> None:
        api, self.text = lab.api_of(node), ""
        self.broke: Exception | None = None
        request = urllib.request.Request(f"{api.url}{path}", headers={"X-Api-Key": api.key})
        self._answer = urllib.request.urlopen(request, timeout=300)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while piece := self._answer.read1(65536):
                self.text += piece.decode(errors="replace")
        except (OSError, HTTPException) as error:
            self.broke = error


@pytest.fixture(scope="module")
def lab(lab3: RunningLab) -> Iterator[RunningLab]:
    lab3.guest(VM, node="hv2")
    yield lab3
    lab3.remove_guest(VM)
    all_well(lab3)


def test_a_console_is_followed_where_the_guest_goes(lab: RunningLab) -> None:
    follower = Follower(lab, "hv1", f"/vm/{VM}/console?follow=true&lines=1")
    lab.eventually(lambda: len(_ticks(follower.text)) > 2, "the guest is heard")
    lab.api.post(f"/vm/{VM}/node", action="move", node="hv3", wait="true")
    lab.eventually(lambda: "[pvc: it moved from hv2 to hv3, where its log goes on]" in follower.text, "it says so")
    lab.kill("hv3", "pvcnoded")
    before = _ticks(follower.text)[-1]
    lab.eventually(lambda: _ticks(follower.text)[-1] > before + 4, "it goes on", deadline_s=120)
    ticks = _ticks(follower.text)
    assert ticks == list(range(ticks[0], ticks[-1] + 1)), follower.text
    lab.api.post(f"/vm/{VM}/node", action="move", node="hv2", wait="true")
    lab.eventually(lambda: "moved from hv3 to hv2" in follower.text, "it says that it is back")
    _is_whole(lab, lab.api.get(f"/vm/{VM}/console", lines=1000)["data"])
    again = Follower(lab, "hv1", f"/vm/{VM}/console?follow=true&lines=1000")
    lab.eventually(lambda: len(_ticks(again.text)) > 3, "it is heard again")
    _is_whole(lab, again.text)
    lab.stop("hv3", "pvcnoded")
    try:
        shown = lab.api.get(f"/vm/{VM}/console", lines=1000)["data"]
        assert shown.startswith("[pvc: what it wrote on hv3 cannot be shown now"), shown[:200]
    finally:
        lab.start("hv3", "pvcnoded")


def _is_whole(lab: RunningLab, text: str) -> None:
    """From the boot on, through each node where it was, in order."""
    ticks = [int(tick) for tick in re.findall(r"tick (\d+)\r?\n", text)]  # one stands behind the login's question
    assert ticks == list(range(1, ticks[-1] + 1)), text
    came = re.findall(r"^\[pvc: it comes from (\w+) now", text, re.MULTILINE)
    assert came == ["hv2", "hv3"], text


def test_a_nodes_log_is_followed_over_a_restart_of_its_daemon(lab: RunningLab) -> None:
    follower = Follower(lab, "hv1", "/node/hv2/log?follow=true&lines=5")
    for ending in ("SIGKILL", "SIGTERM"):
        begun = follower.text.count(" begins ")
        lab.kill("hv2", "pvcnoded", signal=ending)
        lab.eventually(
            lambda begun=begun: follower.text.count(" begins ") > begun, f"the next life after {ending}", deadline_s=90
        )
    followed = [line for line in follower.text.splitlines()[:-1] if not line.startswith("[pvc: ")]
    kept = (lab.root_of("hv2") / "var/log/pvc/pvcnoded.lines").read_text().splitlines()
    lines = [line.partition(" ")[2] for line in kept]
    start = next(number for number in range(len(lines)) if lines[number : number + 5] == followed[:5])
    assert lines[start : start + len(followed)] == followed
    answer = lab.api_of("hv3").get("/node/hv2/log", lines=5000)["data"]
    assert followed[0] in answer, "lines of the life before are there"


def test_an_api_whose_own_daemon_is_down_says_that_it_cannot_ask(lab: RunningLab) -> None:
    follower = Follower(lab, "hv1", f"/vm/{VM}/console?follow=true&lines=1")
    lab.eventually(lambda: len(_ticks(follower.text)) > 1, "the guest is heard")
    lab.stop("hv1", "pvcnoded")
    before = _ticks(follower.text)[-1]
    try:
        answer = say(lab, "hv1", "GET", "/node/hv2/log?lines=5")
        assert answer.status == 503
        assert "the pvcnoded of hv1, through which this API asks nodes, does not run" in answer.body["message"]
        assert "another coordinator" in answer.body["help"]
        assert lab.api_of("hv3").get("/node/hv2/log", lines=5)["data"]
        assert say(lab, "hv1", "GET", "/node/hv1").body[0]["daemon_state"] in ("shutdown", "stop")
        with pytest.raises(LabError, match="hv1"):
            lab.api_of("hv3").get("/node/hv1/log", lines=5)
    finally:
        lab.start("hv1", "pvcnoded")
    lab.eventually(lambda: _ticks(follower.text)[-1] > before + 2, f"it goes on ({follower.broke})", deadline_s=90)
    ticks = _ticks(follower.text)
    assert ticks == list(range(ticks[0], ticks[-1] + 1)), follower.text


def _ticks(text: str) -> list[int]:
    """All that came whole."""
    return [int(tick) for tick in re.findall(r"^tick (\d+)\r?\n", text, re.MULTILINE)]


PVC = str(REPOSITORY / ".venv/bin/pvc")
LEAVE = b"\x1d"


def _environ(lab: RunningLab) -> dict[str, str]:
    """The API of a coordinator where the guest is not."""
    api = lab.api_of("hv1")
    return {"PVC_API_URL": api.url, "PVC_API_KEY": api.key, "TERM": "dumb"}


def test_every_command_shows_in_every_format(
    lab: RunningLab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, value in {**_environ(lab), "PVC_CLIENT_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert run(["network", "add", "-d", "shows", "-p", "managed", "1977"]) == 0
    try:
        capfd.readouterr()
        known = arguments(VM, "hv2", "1977")
        told = [_wrong(capfd, words, given(words, known), one) for words, formats in commands() for one in formats]
        assert [one for one in told if one] == []
        assert len(told) > 60
    finally:
        run(["network", "remove", "-y", "1977"])


def _wrong(capfd: pytest.CaptureFixture[str], words: str, args: list[str], format_: str) -> str:
    """What is wrong with this one, in words; "" if nothing is."""
    code = run([*words.split(), *args, "-f", format_])
    out, err = capfd.readouterr()
    shown = f"{words} {' '.join(args)} -f {format_}: {code}, {out[:200]!r}, {err[:200]!r}"
    if code not in ((0, 1) if words in MAY_SAY_NO else (0,)) or "\x1b" in out:
        return shown
    try:
        return "" if not format_.startswith("json") or json.loads(out) is not None else shown
    except ValueError:
        return shown


def test_somebody_sits_at_the_console_while_the_guest_moves(lab: RunningLab) -> None:
    sitting = Sitting([PVC, "vm", "console", VM], _environ(lab))
    sitting.until(b"Ctrl-] leaves it")
    sitting.until(b"tick ")
    assert not sitting.cooked
    _log_in(sitting)
    sitting.press(b"sleep 600\r")
    sitting.until(b"sleep 600")
    _interrupt(sitting)
    sitting.press(b"echo st$((40+2))ill\r")
    sitting.until(b"st42ill")
    here = lab.api.get(f"/vm/{VM}/node")["node"]
    there = "hv3" if here == "hv2" else "hv2"
    lab.api.post(f"/vm/{VM}/node", action="move", node=there, wait="true")
    sitting.until(f"it moved from {here} to {there}".encode())
    sitting.press(b"echo th$((40+2))ere\r")
    sitting.until(b"th42ere")
    sitting.press(LEAVE)
    sitting.until(b"Left the console")
    assert sitting.ended() == 0 and sitting.cooked


def _interrupt(sitting: Sitting) -> None:
    """Until the shell is back: it may have echoed the command and not have begun it when the first one comes."""
    for _ in range(30):
        sitting.press(b"\x03")
        with contextlib.suppress(AssertionError):
            sitting.until(b":~# ", within_s=2.0)
            return
    raise AssertionError("nothing is interrupted")


def _log_in(sitting: Sitting) -> None:
    sitting.press(b"\r")
    sitting.until(b"login: ")
    sitting.press(b"root\r")
    sitting.until(b"Password: ")
    sitting.press(b"pvc\r")
    sitting.until(b":~# ")


def test_a_terminal_is_put_back_when_a_signal_comes(lab: RunningLab) -> None:
    sitting = Sitting([PVC, "vm", "console", VM], _environ(lab))
    sitting.until(b"tick ")
    assert not sitting.cooked
    os.kill(sitting.pid, signal.SIGTERM)
    assert sitting.ended() == 1 and sitting.cooked


def test_a_console_in_a_pipe(lab: RunningLab) -> None:
    """The session of the tests before is logged in still; the guest is never silent."""
    done = subprocess.run(
        [PVC, "vm", "console", VM, "--lines", "0"],
        input=b"\recho pi$((40+2))pe\r",
        capture_output=True,
        env={**os.environ, **_environ(lab)},
    )
    assert done.returncode == 0 and b"pi42pe" in done.stdout, done
    assert b"Left the console" in done.stderr


def test_a_screen_is_seen_through_a_local_port(lab: RunningLab) -> None:
    definition = lab.api.get(f"/vm/{VM}")[0]["xml"]
    with_screen = definition.replace("</devices>", '<graphics type="vnc"><listen type="none"/></graphics></devices>')
    lab.api.call("PUT", f"/vm/{VM}", {"xml": with_screen, "restart": "true"})
    look = [PVC, "vm", "vnc", VM, "--once", "--no-viewer", "--look"]
    lab.eventually(lambda: _sees(look, lab), "its screen is there", deadline_s=240)


def _sees(look: list[str], lab: RunningLab) -> bool:
    """A whole RFB handshake, and the picture of a line that was asked for. False while there is no screen yet."""
    viewer = subprocess.Popen(look, stdout=subprocess.PIPE, text=True, env={**os.environ, **_environ(lab)})
    try:
        assert viewer.stdout is not None
        found = re.search(r"is at 127\.0\.0\.1:(\d+)\.", viewer.stdout.readline())
        if found is None:
            return False
        with (
            socket.create_connection(("127.0.0.1", int(found[1])), 30) as rfb,
            rfb.makefile("rwb", buffering=0) as stream,
        ):
            assert stream.read(12) == b"RFB 003.008\n"
            stream.write(b"RFB 003.008\n")
            kinds = stream.read(ord(stream.read(1)))
            assert b"\x01" in kinds
            stream.write(b"\x01")
            assert stream.read(4) == bytes(4)
            stream.write(b"\x01")
            width = int.from_bytes(stream.read(2), "big")
            stream.read(18)
            name = _all(stream, int.from_bytes(stream.read(4), "big"))
            assert width >= 320 and VM.encode() in name
            stream.write(b"\x03\0\0\0\0\0" + width.to_bytes(2, "big") + b"\0\1")
            assert stream.read(1) == b"\0", "FramebufferUpdate"
        assert viewer.wait(30) == 0
    finally:
        viewer.kill()
        viewer.wait()
    return True


def _all(stream: socket.SocketIO, count: int) -> bytes:
    said = b""
    while len(said) < count and (piece := stream.read(count - len(said))):
        said += piece
    return said
