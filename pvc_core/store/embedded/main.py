"""pvcstored: reads where to listen and what to keep, opens the file, serves until it is told to stop.

Exit codes: 0 stopped by a signal, 1 the disk failed while running, 2 it could not begin (one sentence on stderr).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pvc_core import config_file
from pvc_core.errors import Permanent, PvcError
from pvc_core.store.embedded.journal import Journal
from pvc_core.store.embedded.options import Options, read_options
from pvc_core.store.embedded.rights import Door
from pvc_core.store.embedded.server import Server

_log = logging.getLogger("pvcstored")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="pvcstored: %(levelname)s: %(message)s")
    try:
        options = read_options(given.config, host=given.listen, port=given.port, path=given.path, secrets=given.secrets)
        journal = Journal(options.path)
    except PvcError as error:
        return _give_up(str(error))
    try:
        return asyncio.run(_serve(options, journal))
    finally:
        journal.close()


async def _serve(options: Options, journal: Journal) -> int:
    loop = asyncio.get_running_loop()
    try:
        server = Server(journal, _door(options))
        listener = await server.listen(options.host, options.port)
    except (PvcError, OSError) as error:
        return _give_up(_cannot_begin(options, error))
    gc.freeze()  # what was loaded stays: without this each full collection walks the whole store
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    _log.info("serving %d keys of %s on %s port %d", len(server.tree), options.path, options.host, options.port)
    _notify("READY=1")
    stop = asyncio.create_task(told_to_stop.wait())
    await asyncio.wait((stop, server.ended), return_when=asyncio.FIRST_COMPLETED)
    listener.close()
    if server.ended.done():
        _log.error("the disk failed, ending so as not to answer wrongly: %s", server.ended.exception())
        return 1
    _log.info("stopped")
    return 0


def _door(options: Options) -> Door:
    door = Door(options.secrets)
    if not door.locked:
        _log.warning("no secrets are asked for: every program on this machine may read and write the store")
        return door
    try:
        users = door.users()
    except OSError as error:
        raise Permanent(
            f"cannot read the secrets in {options.secrets}: {error.strerror}", help="make them with: pvcnoded init"
        ) from error
    if not users:
        raise Permanent(f"there are no secrets (store-USER) in {options.secrets}", help="make them with: pvcnoded init")
    return door


def _give_up(why: str) -> int:
    sys.stderr.write(f"pvcstored: {why}\n")
    return 2


def _cannot_begin(options: Options, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot listen on {options.host} port {options.port}: {error.strerror or error}"
    return str(error)


def _notify(message: str) -> None:
    """Tell systemd; protocol: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pvcstored", description="The embedded store of a PVC cluster of one node.")
    default = config_file(os.environ)
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(default),
        help="pvc.yaml to read store.embedded and paths from (%(default)s)",
    )
    parser.add_argument("--listen", metavar="ADDRESS", help="loopback address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (2181)")
    parser.add_argument("--path", type=Path, help="the file that holds the store (store.db in store.embedded.path)")
    parser.add_argument("--secrets", help="directory of the users' passwords, 'none' to ask for none (paths.secrets)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
