"""Which role each server of a lab's ZooKeeper ensemble plays. Its files are pvcnoded's to render."""

from __future__ import annotations

import sys

from lab import node
from lab.processes import Process
from lab.state import Lab

CONFIG = "var/lib/pvc/zookeeper/zoo.cfg"

# ZooKeeper's four-letter words go over plain TCP or TLS as its clients do.
ASK = """
import socket, ssl, sys
address, port, kind = sys.argv[1:]
line = socket.create_connection((address, int(port)), 2)
if kind == "secureClientPort":
    context = ssl._create_unverified_context()
    context.load_cert_chain("/etc/pvc/pki/node.crt", "/etc/pvc/pki/node.key")
    line = context.wrap_socket(line)
line.sendall(b"srvr")
while data := line.recv(4096):
    sys.stdout.write(data.decode())
"""


def role(lab: Lab, init: Process, coordinator: str) -> str:
    """Return what the coordinator's server says it is (leader, follower, standalone), asked from inside its node."""
    config = (lab.node_dir(coordinator) / CONFIG).read_text()
    options = dict(line.split("=", 1) for line in config.splitlines() if "=" in line and line[0] != "#")
    kind = "secureClientPort" if "secureClientPort" in options else "clientPort"
    where = [options.get(f"{kind}Address", "127.0.0.1"), options[kind], kind]
    for line in node.enter(init, [sys.executable, "-I", "-c", ASK, *where]).stdout.splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ")
    return "not serving"
