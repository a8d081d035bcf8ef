"""How the lab on the machine talks to a node's first process: one line of JSON there, one back, over a unix socket in
the node's /run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import LabError
from lab.processes import Process
from lab.supervisor import Supervisor

SHUTDOWN_S = 900.0  # a unit may take minutes to stop: guests leave the node
SOCKET = Path("/run/lab/init.sock")


async def serve(supervisor: Supervisor) -> None:
    """Answer on SOCKET until the node is switched off."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readline()
        if not asked:
            writer.close()  # somebody only looked whether we listen
            return
        try:
            reply = {"ok": await _do(supervisor, json.loads(asked))}
        except LabError as error:
            reply = {"error": str(error)}
        writer.write(json.dumps(reply).encode() + b"\n")
        writer.close()

    SOCKET.parent.mkdir(parents=True, exist_ok=True)
    server = await asyncio.start_unix_server(answer, str(SOCKET))
    await server.serve_forever()


async def _do(supervisor: Supervisor, asked: dict[str, Any]) -> object:
    match asked:
        case {"do": "boot"}:
            supervisor.boot()
        case {"do": "status"}:
            return supervisor.status()
        case {"do": "start", "unit": str(unit)}:
            await supervisor.start(unit)
        case {"do": "stop", "unit": str(unit)}:
            await supervisor.stop(unit)
        case {"do": "start_all" | "stop_all" | "restart_all" as what, "units": list(units)}:
            await getattr(supervisor, what)(units)
        case {"do": "enable", "units": list(units), "on": bool(on)}:
            supervisor.enable(units, on=on)
        case {"do": "show"}:
            return supervisor.show()
        case {"do": "shutdown"}:
            await supervisor.shut_down()
        case {"do": "kill", "unit": str(unit), "signal": str(name)}:
            return supervisor.kill(unit, _signal(name))
        case _:
            raise LabError(f"the node's init cannot do {asked}")
    return None


def _signal(name: str) -> int:
    try:
        return signal.Signals[name].value
    except KeyError:
        raise LabError(f"there is no signal {name}") from None


def await_init(init: Process, log: Path, *, deadline_s: float = 20.0) -> None:
    """Return when the node's first process has put up the walls and listens. Raises LabError with its last words."""
    end = time.monotonic() + deadline_s
    while not _listens(init):
        if not init.runs() or time.monotonic() > end:
            said = log.read_text(errors="replace").strip().splitlines()[-5:] if log.exists() else []
            raise LabError(
                f"a node of the lab did not come up: {' / '.join(said) or 'it said nothing'}; "
                "the lab needs root, and a kernel with all namespaces and tmpfs"
            )
        time.sleep(0.01)


def _listens(init: Process) -> bool:
    """The socket's name is there a moment before anybody listens."""
    with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
        line.connect(f"/proc/{init.pid}/root{SOCKET}")
        return True
    return False


def ask(init: Process, do: str, **words: object) -> Any:
    """Ask the first process of a node. Raises LabError with its answer, or when there is none."""
    return _ask(f"/proc/{init.pid}/root{SOCKET}", do, words)


def ask_here(do: str, **words: object) -> Any:
    """The same from inside the node. Raises LabError."""
    return _ask(str(SOCKET), do, words)


def _ask(where: str, do: str, words: Mapping[str, object]) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SHUTDOWN_S if do in ("shutdown", "stop", "stop_all") else 120)
            line.connect(where)
            line.sendall(json.dumps({"do": do, **words}).encode() + b"\n")
            reply = json.loads(line.makefile().readline() or '{"error": "the node went off while it was asked"}')
    except OSError as error:
        raise LabError(f"the node does not answer: {error}; is it switched off? See script/lab status") from None
    if "error" in reply:
        raise LabError(reply["error"])
    return reply["ok"]
