"""Lets the machine reach a lab's API: listens on a free port of 127.0.0.1 and connects inside the lab's network.

Arguments: the switch's process id, the file to write the port to, and one or more ADDRESS:PORT, tried in that order.
No address, route or
interface of the machine is needed for it: the listening socket stays in the machine's network namespace when the
process moves to the lab's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import kernel

CHUNK_BYTES = 65536


def main() -> None:
    switch_pid, port_file, *targets = sys.argv[1:]
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    kernel.enter_network_of(int(switch_pid))
    new = Path(port_file).with_suffix(".new")
    new.write_text(str(listening.getsockname()[1]))
    new.rename(port_file)
    asyncio.run(
        _serve(listening, [(host, int(port)) for host, _, port in (target.rpartition(":") for target in targets)])
    )


async def _serve(listening: socket.socket, targets: Sequence[tuple[str, int]]) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            far_reader, far_writer = await _connect(targets)
            with contextlib.closing(far_writer):
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    server = await asyncio.start_server(accepted, sock=listening)
    await server.serve_forever()


async def _connect(targets: Sequence[tuple[str, int]]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for host, port in targets:
        with contextlib.suppress(OSError, TimeoutError):
            return await asyncio.wait_for(asyncio.open_connection(host, port), 2)
    raise ConnectionError("no node answers")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    main()
