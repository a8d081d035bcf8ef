"""A local port that leads to a guest's screen, and the viewer that shows it. Each viewer that connects gets a websocket
of its own; what they say to each other (RFB) is theirs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping

from pvc_cli.app import App
from pvc_cli.errors import CliError
from pvc_cli.sockets import NORMAL, Channel, Ended

PIECE_BYTES = 65536
VIEWERS = {
    "remote-viewer": "vnc://{host}:{port}",
    "vncviewer": "{host}::{port}",
    "xtigervncviewer": "{host}::{port}",
    "krdc": "vnc://{host}:{port}",
}
LOOK_S = 0.3

Opens = Callable[[], Channel]


def listen(address: str, port: int) -> socket.socket:
    """Raises CliError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(8)
    except OSError as error:
        listening.close()
        raise CliError(
            f"Port {port} of {address} cannot be listened at: {error.strerror}.", help="-p 0 takes a free one"
        ) from None
    listening.settimeout(LOOK_S)
    return listening


def viewer_command(environ: Mapping[str, str], host: str, port: int) -> list[str] | None:
    """The viewer named in PVC_VNC_VIEWER, else the first there is on a desktop; None without any."""
    named = environ.get("PVC_VNC_VIEWER", "")
    if named:
        return [
            *named.split(),
            VIEWERS.get(os.path.basename(named.split()[0]), "{host}::{port}").format(host=host, port=port),
        ]
    if not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return None
    found = next((name for name in VIEWERS if shutil.which(name, path=environ.get("PATH"))), None)
    return None if found is None else [found, VIEWERS[found].format(host=host, port=port)]


def serve(app: App, opens: Opens, listening: socket.socket, *, once: bool, viewer: list[str] | None) -> None:
    """Until interrupted, the viewer is closed, or with `once` the first connection has ended."""
    program = None if viewer is None else subprocess.Popen(viewer, stdin=subprocess.DEVNULL)
    with listening:
        while program is None or program.poll() is None:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connection.settimeout(None)
            if once:
                carry(app, opens, connection)
                return
            threading.Thread(target=carry, args=(app, opens, connection), daemon=True).start()


def carry(app: App, opens: Opens, connection: socket.socket) -> None:
    """One viewer's connection, to its end. What goes wrong is told on standard error: the viewer only sees an end."""
    with connection:
        try:
            channel = opens()
        except CliError as error:
            app.out.fail(error)
            return
        typing = threading.Thread(target=_type, args=(connection, channel), daemon=True)
        typing.start()
        try:
            _show(app, connection, channel)
        except Ended as ended:
            if ended.code != NORMAL:
                app.out.note(f"The screen was closed: {ended.reason}.")
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            typing.join(5.0)


def _show(app: App, connection: socket.socket, channel: Channel) -> None:
    while True:
        said = channel.receive()
        if isinstance(said, str):
            app.out.note(said.strip())
            continue
        try:
            connection.sendall(said)
        except OSError:
            channel.close()
            return


def _type(connection: socket.socket, channel: Channel) -> None:
    try:
        while data := connection.recv(PIECE_BYTES):
            channel.send(data)
    except (OSError, Ended):
        pass  # the other direction tells
    channel.close()
