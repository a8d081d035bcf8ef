"""Processes of a lab: started so that none can be forgotten, found again later, killed for sure.

A process is recorded on disk before it may do anything: it waits for a word from its starter, and ends by itself when
the starter dies before giving it. So whatever happens to `lab up`, the records name all that runs. A record holds
process id, start time and boot id: a process id that was given to somebody else is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import LabError, kernel


@dataclass(frozen=True)
class Process:
    """One process of this boot of the machine."""

    pid: int
    started_ticks: int
    boot_id: str

    def runs(self) -> bool:
        """True while it runs; a zombie does not, nor does another process that got its id."""
        state = _state(self.pid)
        return (
            state is not None and state[1] == self.started_ticks and state[0] not in "ZX" and self.boot_id == _boot_id()
        )

    def kill(self, *, deadline_s: float = 10.0) -> None:
        """SIGKILL, and wait until it is gone. Of a PID namespace's first process: everything in it goes with it.

        Raises LabError when it is still there after `deadline_s`.
        """
        end = time.monotonic() + deadline_s
        while self.runs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            if time.monotonic() > end:
                raise LabError(f"process {self.pid} does not die; look at /proc/{self.pid}/stack")
            time.sleep(0.01)
        with contextlib.suppress(ChildProcessError):  # ours only when started by this very program
            os.waitpid(self.pid, os.WNOHANG)


def read_record(path: Path) -> Process | None:
    """Return the process recorded in `path`, or None where nothing (or half a record) is."""
    try:
        return Process(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@dataclass
class Waiting:
    """A process that is recorded and has its namespaces, but waits to be told to go (or to end, when we die)."""

    process: Process
    log: Path
    _word: int

    def go(self) -> Process:
        """Raises LabError when it was ended meanwhile: a controller may switch off what a person is switching on."""
        try:
            os.write(self._word, b"g")
        except BrokenPipeError:
            raise LabError(f"process {self.process.pid} was ended before it began; try again") from None
        finally:
            os.close(self._word)
        return self.process


def prepare(
    record: Path, argv: Sequence[str], *, log: Path, env: Mapping[str, str], namespaces: int = 0, umask: int = 0o022
) -> Waiting:
    """Start `argv` in new `namespaces` up to the point before its first instruction, and record it in `record`.

    With CLONE_NEWPID among them it is the first process of its PID namespace: all others in it die with it.
    """
    ours, theirs = os.pipe(), os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.setsid()
            os.umask(umask)
            if namespaces:
                kernel.unshare(namespaces)
            pid = os.fork()
            if pid == 0:
                _become(argv, env, log, word_fd=theirs[0], close=(theirs[1], *ours))
            os.write(ours[1], str(pid).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(ours[1])
    os.close(theirs[0])
    answer = os.read(ours[0], 32)
    os.close(ours[0])
    os.waitpid(helper, 0)
    if not answer:
        raise LabError(
            f"{argv[0]} could not be started in namespaces of its own; the lab needs root and Linux namespaces"
        )
    process = _process(int(answer))
    _write(record, process)
    return Waiting(process, log, theirs[1])


def _become(argv: Sequence[str], env: Mapping[str, str], log: Path, *, word_fd: int, close: Sequence[int]) -> None:
    """In the new process: wait for the word, then turn into `argv`. Never returns."""
    try:
        for fd in close:
            os.close(fd)
        if os.read(word_fd, 1) != b"g":
            os._exit(0)  # the starter is gone
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        os.execve(argv[0], list(argv), dict(env))
    finally:
        os._exit(127)


def _write(path: Path, process: Process) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(process)))
    new.rename(path)


def _process(pid: int) -> Process:
    state = _state(pid)
    if state is None:
        raise LabError("a process of the lab ended before it began; is the machine out of memory?")
    return Process(pid, state[1], _boot_id())


def _state(pid: int) -> tuple[str, int] | None:
    """Return (state letter, start time in clock ticks) of `pid` from proc_pid_stat(5), or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
