"""Lets the machine reach a lab's API: listens on free ports of 127.0.0.1 and connects inside the lab's network.

Arguments: the switch's process id, the file to write the ports to, and one or more NAME=ADDRESS:PORT. Written is a
JSON object: "" -> the port that leads to the first that answers, and NAME -> the port of this one. No address, route or
interface of the machine is needed for it: the listening sockets stay in the machine's network namespace when the
process moves to the lab's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import kernel

CHUNK_BYTES = 65536
CONNECT_S = 2.0
HEAD_START_S = 0.25
"""Who is off or cut says nothing: after this long the next one is tried beside it."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Target:
    host: str
    port: int


def main() -> None:
    switch_pid, port_file, *words = sys.argv[1:]
    targets = {name: Target(host, int(port)) for name, host, port in map(_split, words)}
    doors = {name: socket.create_server(("127.0.0.1", 0), backlog=128) for name in ("", *targets)}
    kernel.enter_network_of(int(switch_pid))
    new = Path(port_file).with_suffix(".new")
    new.write_text(json.dumps({name: door.getsockname()[1] for name, door in doors.items()}))
    new.rename(port_file)
    asyncio.run(_serve([(door, [targets[name]] if name else [*targets.values()]) for name, door in doors.items()]))


def _split(word: str) -> tuple[str, str, str]:
    name, _, address = word.partition("=")
    host, _, port = address.rpartition(":")
    return name, host, port


async def _serve(doors: Sequence[tuple[socket.socket, list[Target]]]) -> None:
    servers = [await asyncio.start_server(_Door(targets).accepted, sock=door) for door, targets in doors]
    await asyncio.gather(*(server.serve_forever() for server in servers))


class _Door:
    """One listening socket. Its targets are tried in their order."""

    def __init__(self, targets: list[Target]) -> None:
        self._targets = targets

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            near: socket.socket = writer.get_extra_info("socket")
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it on the far side only
            far_reader, far_writer = await self._connect()
            with contextlib.closing(far_writer):
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    async def _connect(self) -> Streams:
        """Raises ConnectionError when no target answers within its time."""
        tries = [asyncio.ensure_future(self._try(target, n)) for n, target in enumerate(self._targets)]
        try:
            for answer in asyncio.as_completed(tries):
                with contextlib.suppress(OSError, TimeoutError):
                    return await answer
        finally:
            for one in tries:
                one.cancel()
        raise ConnectionError("no node answers")

    async def _try(self, target: Target, place: int) -> Streams:
        await asyncio.sleep(place * HEAD_START_S)
        far = await asyncio.wait_for(asyncio.open_connection(target.host, target.port), CONNECT_S)
        _notice_silence(far[1].get_extra_info("socket"))
        return far


def _notice_silence(sock: socket.socket) -> None:
    """A floating address moves while somebody waits for an answer from it: nobody tells of the old connection's end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 5)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    main()
