"""Keeps the units of one lab node running: order, readiness, restarts: what deploy/*.service need of systemd.

Runs inside the node's first process. What a unit says is unitfile.py's, who may ask is control.py's, the node's walls
are walls.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import LabError
from lab.unitfile import Command, Unit

LOGS = Path("/var/log/pvc")
NOTIFY = Path("/run/lab/notify")
CREDENTIALS = Path("/run/credentials")
ENABLED = Path("/var/lib/lab/enabled.json")


class Reaper:
    """Collects every process that ends in this PID namespace, and tells whoever waits for one of ours."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[asyncio.Future[int], subprocess.Popen[bytes]]] = {}

    def watch(self, process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
        """Return a future with the exit status: the code, or minus the signal's number."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[process.pid] = (ended, process)
        return ended

    def reap(self) -> None:
        """Called on SIGCHLD."""
        with contextlib.suppress(ChildProcessError):
            while (pid_status := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = pid_status
                if pid in self._waiting:
                    ended, process = self._waiting.pop(pid)
                    process.returncode = os.waitstatus_to_exitcode(status)
                    ended.set_result(process.returncode)


class Service:
    """One unit and what became of it. `state` is one of waiting, starting, active, stopped, failed."""

    def __init__(self, unit: Unit, env: Mapping[str, str], reaper: Reaper) -> None:
        self.unit = unit
        self.state = "waiting"
        self.why = ""
        self.pid = 0
        self.restarts = 0
        self.settled = asyncio.Event()  # it has been up, or has failed to come up, once
        self._base_env = env
        self._reaper = reaper
        self._stop_asked = asyncio.Event()
        self._gone = asyncio.Event()
        self._notify: socket.socket | None = None

    async def run(self, before: Sequence[Service], needed: Sequence[Service]) -> None:
        """Start after `before` have settled, restart as the unit says, until stop(). `needed` must be active."""
        for other in before:
            await other.settled.wait()
        failed = [other.unit.name for other in needed if other.state != "active"]
        if failed:
            self._end("failed", f"needs {', '.join(failed)}")
            return
        while not self._stop_asked.is_set():
            status = await self._once()
            if self._stop_asked.is_set():
                break
            again = self.unit.restart == "always" or (self.unit.restart == "on-failure" and status != 0)
            if not again:
                done = status == 0
                self._end("active" if done and self.unit.type == "oneshot" else "stopped" if done else "failed")
                return
            self._end("waiting", self.why or "ended by itself; it is started again")
            self.restarts += 1
            await asyncio.sleep(self.unit.restart_s)
        self._end("stopped")

    async def stop(self) -> None:
        """What ExecStop= says, then SIGTERM; after TimeoutStopSec SIGKILL; returns when it is gone."""
        if self.state == "active":
            for command in self.unit.exec_stop:
                await self._stop_command(command)
        self._stop_asked.set()
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._gone.wait(), self.unit.timeout_stop_s)
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                await self._gone.wait()
        self._end("stopped")

    async def _stop_command(self, command: Command) -> None:
        process = self._spawn(command, self._environment())
        ended = self._reaper.watch(process)
        try:
            status = await asyncio.wait_for(asyncio.shield(ended), self.unit.timeout_stop_s)
        except TimeoutError:
            os.kill(process.pid, signal.SIGKILL)
            status = await ended
        if status:
            self._log(f"ExecStop ended with {status}")

    def kill(self, number: int) -> int:
        """Send signal `number` to the main process and return its id. Raises LabError when there is none."""
        if not self.pid:
            raise LabError(f"{self.unit.name} does not run ({self.state}{': ' + self.why if self.why else ''})")
        os.kill(self.pid, number)
        return self.pid

    def _end(self, state: str, why: str = "") -> None:
        self.state, self.why = state, why or self.why
        self.settled.set()

    async def _once(self) -> int:
        """Run the unit's commands once and return the last status."""
        self.state, self._gone = "starting", asyncio.Event()
        started = time.monotonic()
        try:
            env = self._environment()
            for command in self.unit.exec_start_pre:
                status = await self._reaper.watch(self._spawn(command, env))
                if status and not command.may_fail:
                    return self._died(status, "ExecStartPre")
            process = self._spawn(self.unit.exec_start, env)
        except (OSError, KeyError) as error:
            return self._died(127, str(error))
        self.pid = process.pid
        ended = self._reaper.watch(process)
        if self.unit.type == "simple":
            self._up(started)
        elif self.unit.type == "notify":
            await self._until_ready(ended, started)
        status = await ended
        self.pid = 0
        self._gone.set()
        return self._died(status, "") if status else 0

    def _died(self, status: int, what: str) -> int:
        killed = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self.state, self.why = "failed", f"{what + ': ' if what else ''}{killed}"
        self._log(self.why)
        return status

    def _up(self, started: float) -> None:
        self.state, self.why = "active", ""
        self._log(f"active after {time.monotonic() - started:.2f} s")
        self.settled.set()

    async def _until_ready(self, ended: asyncio.Future[int], started: float) -> None:
        assert self._notify is not None
        loop = asyncio.get_running_loop()
        end = started + self.unit.timeout_start_s
        while not ended.done():
            receiving = asyncio.ensure_future(loop.sock_recv(self._notify, 4096))
            left = end - time.monotonic()
            either: list[asyncio.Future[Any]] = [receiving, ended]
            timeout = None if left == math.inf else max(0.0, left)
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and b"READY=1" in receiving.result().split(b"\n"):
                self._up(started)
                return
            receiving.cancel()
            if time.monotonic() >= end:
                self._log(f"not ready after {self.unit.timeout_start_s:.0f} s: killed")
                os.kill(self.pid, signal.SIGKILL)
                await asyncio.wait({ended})

    def _environment(self) -> dict[str, str]:
        env = {**self._base_env, **self.unit.environment}
        for name, places in (("/run", self.unit.runtime_directory), ("/var/lib", self.unit.state_directory)):
            for place in places:
                self._own(Path(name, place), 0o755)
        if self.unit.credentials:
            env["CREDENTIALS_DIRECTORY"] = str(self._credentials())
        if self.unit.type == "notify":
            env["NOTIFY_SOCKET"] = str(self._listen())
        return env

    def _credentials(self) -> Path:
        """Copy what LoadCredential= names to where only the unit's user can read it."""
        place = CREDENTIALS / self.unit.name
        self._own(place, 0o700)
        for name, source in self.unit.credentials.items():
            shutil.copyfile(source, place / name)
            self._own(place / name, 0o400)
        return place

    def _own(self, path: Path, mode: int) -> None:
        if not path.exists():
            path.mkdir(parents=True)
        user = pwd.getpwnam(self.unit.user)
        os.chown(path, user.pw_uid, user.pw_gid)
        path.chmod(mode)

    def _listen(self) -> Path:
        NOTIFY.mkdir(parents=True, exist_ok=True)
        path = NOTIFY / self.unit.name
        path.unlink(missing_ok=True)
        if self._notify is not None:
            self._notify.close()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.bind(str(path))
        path.chmod(0o666)
        return path

    def _spawn(self, command: Command, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        user = pwd.getpwnam(self.unit.user)
        with (LOGS / f"{self.unit.name}.log").open("ab") as log:
            return subprocess.Popen(
                command.expanded(env),
                env={"HOME": user.pw_dir, "USER": user.pw_name, **env},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user.pw_uid,
                group=self.unit.group or user.pw_gid,
                extra_groups=[],
            )

    def _log(self, line: str) -> None:
        with (LOGS / f"{self.unit.name}.log").open("a") as log:
            log.write(f"--- {time.strftime('%H:%M:%S')} {self.unit.name}: {line}\n")


class Supervisor:
    """All units of the node. Those that are enabled start at boot; which these are survives on the node's disk."""

    def __init__(self, units: Sequence[Unit], env: Mapping[str, str], enabled: Collection[str] | None = None) -> None:
        """`enabled`: at the first boot; all where nothing is said."""
        self._reaper = Reaper()
        self._env = env
        self._services = {unit.name: Service(unit, env, self._reaper) for unit in units}
        self._running: dict[str, asyncio.Task[None]] = {}
        before = _enabled_before()
        self._enabled = before if before is not None else set(self._services if enabled is None else enabled)
        self._booted = False

    def boot(self) -> None:
        """Start what is enabled, each unit after those it names; nothing the second time. Needs a running loop."""
        if self._booted:
            return
        self._booted = True
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reaper.reap)
        enabled = [name for name in self._services if name in self._enabled]
        self._launch(list(dict.fromkeys([*enabled, *(other for name in enabled for other in self._wanted(name))])))

    def status(self) -> list[dict[str, object]]:
        """Of those that shall run, or were started."""
        return [_shown(s) for name, s in self._services.items() if name in self._enabled or name in self._running]

    def show(self) -> list[dict[str, object]]:
        """Of all, as systemctl wants it."""
        return [{**_shown(s), "enabled": name in self._enabled, "state": self._state(name)}
                for name, s in self._services.items()]  # fmt: skip

    def enable(self, names: Sequence[str], *, on: bool) -> None:
        full = {self._service(name).unit.name for name in names}
        self._enabled = self._enabled | full if on else self._enabled - full
        ENABLED.parent.mkdir(parents=True, exist_ok=True)
        ENABLED.write_text(json.dumps(sorted(self._enabled)))

    async def start(self, name: str) -> None:
        """Start a unit that was stopped or has failed; nothing where it runs."""
        await self._started([self._service(name).unit.name])

    async def start_all(self, names: Sequence[str]) -> None:
        """Side by side, with what they want. Raises LabError naming those that did not come up."""
        full = [self._service(name).unit.name for name in names]
        await self._started([*full, *(other for name in full for other in self._wanted(name))])
        failed = [self._services[name] for name in full if self._services[name].state == "failed"]
        if failed:
            raise LabError("; ".join(f"{service.unit.name} has failed: {service.why}" for service in failed))

    async def stop(self, name: str) -> None:
        await self.stop_all([name])

    async def stop_all(self, names: Sequence[str]) -> None:
        """Nothing for those that do not run."""
        running = [self._service(name) for name in names if self._service(name).unit.name in self._running]
        for service in _last_first(running):
            await service.stop()
        tasks = [self._running.pop(service.unit.name) for service in running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def restart_all(self, names: Sequence[str]) -> None:
        await self.stop_all(names)
        await self.start_all(names)

    async def shut_down(self) -> None:
        """Stop every unit, each before those it came after, as a machine that is shut down does."""
        left = list(self._services.values())
        while left:
            first = [one for one in left if not any(one.unit.name in other.unit.after for other in left)] or left[:1]
            await asyncio.gather(*(self.stop(one.unit.name) for one in first))
            left = [one for one in left if one not in first]

    def kill(self, name: str, number: int) -> int:
        return self._service(name).kill(number)

    def _service(self, name: str) -> Service:
        full = name if name.endswith(".service") else f"{name}.service"
        if full not in self._services:
            known = ", ".join(sorted(unit.removesuffix(".service") for unit in self._services))
            raise LabError(f"there is no process {name!r} in this node; it has {known}")
        return self._services[full]

    def _wanted(self, name: str) -> list[str]:
        unit = self._services[name].unit
        return [other for other in (*unit.wants, *unit.requires) if other in self._services]

    def _state(self, name: str) -> str:
        return self._services[name].state if name in self._running else "stopped"

    async def _started(self, names: Sequence[str]) -> None:
        self._launch([name for name in dict.fromkeys(names) if name not in self._running or self._running[name].done()])
        await asyncio.gather(*(self._services[name].settled.wait() for name in names))

    def _launch(self, names: Sequence[str]) -> None:
        """All are made anew first: each waits only for those that are on their way, too, or were before."""
        for name in names:
            self._services[name] = Service(self._services[name].unit, self._env, self._reaper)
        for name in names:
            service = self._services[name]
            there = {other: self._services[other] for other in (*self._running, *names)}
            before = [there[other] for other in service.unit.after if other in there]
            needed = [self._services[other] for other in service.unit.requires if other in self._services]
            self._running[name] = asyncio.ensure_future(service.run(before, needed))


def _last_first(services: Sequence[Service]) -> Iterator[Service]:
    """As systemd stops them: whatever comes after another at boot ends before it."""
    left = list(services)
    while left:
        free = [one for one in left if not any(one.unit.name in other.unit.after for other in left)]
        yield (free or left)[0]
        left.remove((free or left)[0])


def _shown(service: Service) -> dict[str, object]:
    return {
        "unit": service.unit.name,
        "state": service.state,
        "why": service.why,
        "pid": service.pid,
        "restarts": service.restarts,
    }


def _enabled_before() -> set[str] | None:
    """What enable() left at an earlier boot."""
    try:
        return set(json.loads(ENABLED.read_text()))
    except FileNotFoundError:
        return None
