"""The serial console: its log read and followed, and typing into it.

QEMU writes the log itself (<log file=.../>), so nothing is lost while nobody reads. Typing goes to the guest's pty,
which then has to be read as well, or the guest would stand still when its buffer is full: what comes is thrown away,
the log has it.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pvc_core.clock import Clock
from pvc_core.contracts.compute import arrival_line
from pvc_core.errors import NotFound, Refused, Retry

_TAIL_BYTES = 1_000_000
_KEEP_BYTES = 4_000_000
_POLL_S, _LIVELY_S = 0.1, 0.02
_LIVELY_FOR_S = 2.0
"""Whoever sits at a terminal notices a tenth of a second: where something came just now, the log is read oftener."""
_NOTHING_S = 1.0
_IDLE_S = 60.0
MARK = b"[pvc: it comes from "


def tail(path: Path, lines: int) -> tuple[bytes, int]:
    """(the last `lines` lines, where the file ended); (b"", 0) if there is no file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _TAIL_BYTES))
            data = file.read(min(end, _TAIL_BYTES))
    except FileNotFoundError:
        return b"", 0
    if lines <= 0:
        return b"", end
    return b"".join(data.splitlines(keepends=True)[-lines:]), end


def trim(path: Path) -> None:
    """Before a start: a log grown over 4 MB keeps its last MB (virtlogd, where used, rotates it later)."""
    try:
        if path.stat().st_size <= _KEEP_BYTES:
            return
    except FileNotFoundError:
        return
    data, _ = tail(path, _TAIL_BYTES)
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    new.replace(path)


def mark_arrival(path: Path, node: str) -> None:
    """Before a guest comes from `node`: what it writes here stands behind the mark. Raises OSError."""
    data, _ = tail(path, 1)
    mark = arrival_line(node).encode() + b"\n"
    if data == mark:
        return  # of an attempt before
    with path.open("ab") as file:
        file.write((b"" if not data or data.endswith(b"\n") else b"\n") + mark)


def arrived(path: Path) -> int:
    """Where the guest that came last began to write; without a mark (it was started here) where the log ends."""
    data, end = tail(path, _TAIL_BYTES)
    found = data.rfind(MARK)
    return end if found < 0 else end - len(data) + data.index(b"\n", found) + 1 if b"\n" in data[found:] else end


def start(path: Path, lines: int, position: int | None) -> int:
    """Where the last `lines` lines begin, or `position` while the log is that long."""
    data, end = tail(path, lines)
    return position if position is not None and position <= end else end - len(data)


def follow(path: Path, lines: int, stopped: threading.Event) -> Iterator[bytes]:
    """The last lines, then what is written; as follow_from."""
    return follow_from(path, start(path, lines, None), stopped)


def follow_from(path: Path, position: int, stopped: threading.Event) -> Iterator[bytes]:
    """What is written from there on, also after the file was shortened, rotated or cut; b"" every silent second."""
    file = _opened(path)
    silent_s, quiet_s = 0.0, _LIVELY_FOR_S
    try:
        while not stopped.is_set():
            if file is None:
                file = _opened(path)
            data = b""
            if file is not None:
                if os.fstat(file).st_size < position:
                    position = 0
                data = os.pread(file, 65536, position)
                position += len(data)
            if data:
                silent_s = quiet_s = 0.0
                yield data
                continue
            if file is not None and _replaced(file, path):
                position = _carried_over(file, path)
                os.close(file)
                file = None
                continue
            pause_s = _LIVELY_S if quiet_s < _LIVELY_FOR_S else _POLL_S
            stopped.wait(pause_s)
            silent_s += pause_s
            quiet_s += pause_s
            if silent_s >= _NOTHING_S:
                silent_s = 0.0
                yield b""
    finally:
        if file is not None:
            os.close(file)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _replaced(file: int, path: Path) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file).st_ino
    except FileNotFoundError:
        return False


def _carried_over(file: int, path: Path) -> int:
    """How much of the new file is the old one's end (see trim), which was read already."""
    size = os.fstat(file).st_size
    length = min(size, _TAIL_BYTES)
    try:
        with path.open("rb") as new:
            return length if new.read(length) == os.pread(file, length, size - length) else 0
    except FileNotFoundError:
        return 0


class Keyboards:
    """The ptys that somebody types into, each kept open for a minute: QEMU notices an opened pty only once a second."""

    def __init__(self, clock: Clock, stopped: threading.Event) -> None:
        self._clock, self._stopped = clock, stopped
        self._lock = threading.Lock()
        self._open: dict[str, _Keyboard] = {}

    def write(self, uuid: str, pty: Callable[[], str], data: bytes) -> None:
        """Type `data`; `pty` finds the guest's terminal if it is not open yet."""
        with self._lock:
            keyboard = self._open.get(uuid)
            if keyboard is None or not keyboard.alive:
                keyboard = self._open[uuid] = _Keyboard(pty(), self._clock, self._stopped)
        keyboard.write(data)


class _Keyboard:
    def __init__(self, path: str, clock: Clock, stopped: threading.Event) -> None:
        self._clock, self._stopped = clock, stopped
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise NotFound(f"the serial console {path} cannot be opened: {error.strerror}") from None
        self.alive = True
        self._lock = threading.Lock()
        self._used_s = clock.boottime_s()
        threading.Thread(target=self._drain, name="libvirt-pty", daemon=True).start()

    def write(self, data: bytes) -> None:
        with self._lock:
            if not self.alive:
                raise Retry("the serial console was just closed", again_in_s=0.5)
            self._used_s = self._clock.boottime_s()
            total = len(data)
            while data:
                if not _ready(self._file, select.POLLOUT, 2.0):
                    raise _stalled(total - len(data), total)
                try:
                    data = data[os.write(self._file, data) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise NotFound(f"the serial console is gone: {error.strerror}") from None

    def _drain(self) -> None:
        while not self._stopped.is_set() and self._clock.boottime_s() - self._used_s < _IDLE_S:
            try:
                if _ready(self._file, select.POLLIN, 1.0) and not os.read(self._file, 65536):
                    break
            except BlockingIOError:
                continue
            except OSError:
                break  # the guest is gone, and its pty with it
        with self._lock:
            self.alive = False
            os.close(self._file)


def _ready(file: int, event: int, wait_s: float) -> bool:
    """Whether it can be read or written, or has ended, within that time."""
    poller = select.poll()
    poller.register(file, event)
    return bool(poller.poll(wait_s * 1000))


def _stalled(taken: int, total: int) -> Retry | Refused:
    """What was taken in part must not be typed again as a whole."""
    if not taken:
        return Retry("the guest does not read its serial console")
    return Refused(f"the guest read {taken} of {total} bytes typed into its serial console, and then no more")
