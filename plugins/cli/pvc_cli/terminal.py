"""A terminal tied to a guest's serial console: keys go there as they are, what the guest says comes here.

The terminal is put back as it was whatever happens, short of SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from types import FrameType

from pvc_cli.app import App
from pvc_cli.errors import CliError, NoAnswer
from pvc_cli.sockets import NORMAL, Channel, Ended, failed

ESCAPE = b"\x1d"
"""Ctrl-], as telnet and virsh have it."""
PIECE_BYTES = 4096
QUIET_S, LONGEST_S = 2.0, 10.0
"""Without a terminal, after all was typed: how long the guest may be silent, and how long it may go on at most."""
AGAIN_S, AGAIN_FOR_S = 1.0, 60.0

Opens = Callable[[int], Channel]
"""open(lines): a channel that begins with so many lines of what was said before."""


class Stopped(BaseException):
    """A signal asks this program to end; not an Exception, so that nobody takes it for an error of theirs."""


def attend(app: App, opens: Opens, name: str, *, lines: int) -> None:
    """Until the user leaves it, standard input ends, or the console does. Raises CliError when it was closed."""
    keys, terminal = sys.stdin.fileno(), sys.stdin.isatty()
    channel = opens(lines)
    if not channel.may_type:
        app.out.note(f"You may only look at the console of {name}: this key, or --look, does not let you type.")
    leave = "Ctrl-] leaves it" if terminal else "the end of the input leaves it"
    app.out.note(f"Connected to the console of {name}; {leave}.")
    with raw(keys) if terminal else contextlib.nullcontext():
        ended = _until_it_ends(app, opens, channel, keys, terminal)
    app.out.note(f"{os.linesep if terminal else ''}Left the console of {name}.")
    if ended is not None and ended.code != NORMAL:
        raise failed(f"The console of {name}", ended)


@contextlib.contextmanager
def raw(terminal: int) -> Iterator[None]:
    """Every key is a byte meanwhile, Ctrl-C too. Raises CliError when a signal ended it, after putting all back."""
    before = termios.tcgetattr(terminal)
    handlers = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(terminal)
        yield
    except Stopped:
        raise CliError("Stopped by a signal.") from None
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _until_it_ends(app: App, opens: Opens, channel: Channel, keys: int, terminal: bool) -> Ended | None:
    """None when the user left it. A connection that breaks off is made again, where somebody sits and waits for it."""
    while True:
        attended = Attended(app, channel)
        try:
            ended = attended.run(keys, terminal=terminal)
        finally:
            channel.close()
        if ended is None or not ended.again or not terminal:
            return ended
        app.out.note(f"\r\n[pvc: {ended.reason}; connecting again, Ctrl-C gives up]\r")
        found = _again(opens, ended)
        if isinstance(found, Ended):
            return found
        channel = found
        app.out.note("[pvc: connected again; what was said meanwhile is in pvc vm log]\r")


def _again(opens: Opens, ended: Ended) -> Channel | Ended:
    until_s = time.monotonic() + AGAIN_FOR_S
    while time.monotonic() < until_s:
        if select.select([sys.stdin], [], [], AGAIN_S)[0]:
            data = os.read(sys.stdin.fileno(), PIECE_BYTES)
            if not data or ESCAPE in data or b"\x03" in data:
                return ended
        try:
            return opens(0)
        except NoAnswer:
            continue
        except CliError as error:
            if getattr(error, "status", 0) != 503:
                return Ended(ended.code, error.message)
    return ended


class Attended:
    """One channel between keyboard and screen."""

    def __init__(self, app: App, channel: Channel) -> None:
        self._app, self._channel = app, channel
        self._ended: Ended | None = None
        self._heard_s = time.monotonic()
        self._wake, self._waker = os.pipe()

    def run(self, keys: int, *, terminal: bool) -> Ended | None:
        listener = threading.Thread(target=self._listen, daemon=True)
        listener.start()
        try:
            return self._type(keys, terminal=terminal)
        finally:
            self._channel.close()
            listener.join(5.0)
            if not listener.is_alive():
                os.close(self._wake)
                os.close(self._waker)

    def _type(self, keys: int, *, terminal: bool) -> Ended | None:
        """None when there is nothing more to type, and, without a terminal, nothing more is said."""
        over, over_s = False, 0.0
        while self._ended is None:
            sources = [self._wake] if over else [keys, self._wake]
            ready, _, _ = select.select(sources, [], [], 0.2 if over else None)
            if keys in ready:
                data = os.read(keys, PIECE_BYTES)
                typed, escape, _ = data.partition(ESCAPE) if terminal else (data, b"", b"")
                over = not data or bool(escape)
                try:
                    if typed:
                        self._channel.send(typed)
                except Ended as ended:
                    return ended
                self._heard_s = over_s = time.monotonic()
                if over and terminal:
                    return None
            elif over and (time.monotonic() - self._heard_s > QUIET_S or time.monotonic() - over_s > LONGEST_S):
                return None
        return self._ended

    def _listen(self) -> None:
        try:
            while True:
                self._show(self._channel.receive())
                self._heard_s = time.monotonic()
        except Ended as ended:
            self._ended = ended
        except OSError as error:  # who read our output has left
            self._ended = Ended(NORMAL, str(error))
        os.write(self._waker, b"x")

    def _show(self, said: bytes | str) -> None:
        if isinstance(said, str):
            self._app.out.note(said)
            return
        if self._app.out.silent:
            return
        while said:
            said = said[os.write(sys.stdout.fileno(), said) :]
