"""The ZooKeeper ensemble of a lab: each coordinator's configuration and passwords, and which role its server plays.

Settings: ZooKeeper's Administrator's Guide; the intervals are those PVC's deadlines are reckoned with.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lab import network, node
from lab.processes import Process
from lab.state import Lab, Plan

PORT = 2181
HOME = "var/lib/pvc/zookeeper"
SECRETS = "etc/pvc/secrets"
OWNER = "pvcstore"
LOGIN = "org.apache.zookeeper.server.auth.DigestLoginModule"

CONFIG = """\
tickTime=500
initLimit=20
syncLimit=4
dataDir=/var/lib/pvc/zookeeper/data
clientPort={port}
clientPortAddress={address}
maxClientCnxns=0
admin.enableServer=false
autopurge.snapRetainCount=5
autopurge.purgeInterval=24
authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
enforce.auth.enabled=true
enforce.auth.schemes=sasl
{servers}
"""
QUORUM = """\
quorum.auth.enableSasl=true
quorum.auth.learnerRequireSasl=true
quorum.auth.serverRequireSasl=true
"""
# ZooKeeper's four-letter words go over plain TCP or TLS as its clients do.
ASK = """
import socket, ssl, sys
address, port, kind = sys.argv[1:]
line = socket.create_connection((address, int(port)), 2)
if kind == "secureClientPort":
    line = ssl._create_unverified_context().wrap_socket(line)
line.sendall(b"srvr")
while data := line.recv(4096):
    sys.stdout.write(data.decode())
"""


def share_secrets(lab: Lab, plan: Plan, to: str) -> None:
    """Give node `to` the first node's store passwords, with their owners: what joining a cluster does."""
    source, target = (lab.node_dir(name) / SECRETS for name in (plan.nodes[0], to))
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("store-*"):
        made = Path(shutil.copy2(file, target / file.name))
        os.chown(made, file.stat().st_uid, file.stat().st_gid)


def configure(lab: Lab, plan: Plan, coordinator: str) -> None:
    """Write zoo.cfg, jaas.conf and myid of this coordinator's server, where the node has none yet."""
    home = lab.node_dir(coordinator) / HOME
    if (home / "zoo.cfg").exists():
        return
    (home / "data").mkdir(parents=True)
    address = network.CLUSTER.address(plan.nodes.index(coordinator) + 1)
    config = CONFIG.format(port=PORT, address=address, servers=_servers(plan))
    (home / "zoo.cfg").write_text(config + (QUORUM if len(plan.coordinators) > 1 else ""))
    (home / "data/myid").write_text(f"{plan.coordinators.index(coordinator) + 1}\n")
    (home / "jaas.conf").write_text(_logins(lab, plan, coordinator))
    (home / "jaas.conf").chmod(0o600)
    uid, gid = _owner(lab.node_dir(coordinator))
    for path in (home, *home.rglob("*")):
        os.chown(path, uid, gid)


def role(lab: Lab, init: Process, coordinator: str) -> str:
    """Return what the coordinator's server says it is (leader, follower, standalone), asked from inside its node."""
    config = (lab.node_dir(coordinator) / HOME / "zoo.cfg").read_text()
    options = dict(line.split("=", 1) for line in config.splitlines() if "=" in line and line[0] != "#")
    kind = "secureClientPort" if "secureClientPort" in options else "clientPort"
    where = [options.get(f"{kind}Address", "127.0.0.1"), options[kind], kind]
    for line in node.enter(init, [sys.executable, "-I", "-c", ASK, *where]).stdout.splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ")
    return "not serving"


def _servers(plan: Plan) -> str:
    if len(plan.coordinators) == 1:
        return ""
    addresses = [network.CLUSTER.address(plan.nodes.index(name) + 1) for name in plan.coordinators]
    return "\n".join(f"server.{number}={address}:2888:3888" for number, address in enumerate(addresses, 1))


def _logins(lab: Lab, plan: Plan, coordinator: str) -> str:
    place = lab.node_dir(coordinator) / SECRETS
    users = {name: (place / f"store-{name}").read_text().strip() for name in ("node", "api")}
    quorum = _quorum_password(lab, plan)
    return (
        _login("Server", {f"user_{name}": password for name, password in users.items()})
        + _login("QuorumServer", {"user_quorum": quorum})
        + _login("QuorumLearner", {"username": "quorum", "password": quorum})
    )


def _login(name: str, options: Mapping[str, str]) -> str:
    lines = "\n".join(f'  {key}="{value}"' for key, value in options.items())
    return f"{name} {{\n  {LOGIN} required\n{lines};\n}};\n"


def _quorum_password(lab: Lab, plan: Plan) -> str:
    """One for the ensemble, made with its first server."""
    first = lab.node_dir(plan.coordinators[0]) / SECRETS / "quorum"
    if not first.exists():
        first.touch(mode=0o600)
        first.write_text(secrets.token_urlsafe(32) + "\n")
    return first.read_text().strip()


def _owner(place: Path) -> tuple[int, int]:
    """(uid, gid) of OWNER as that node knows it."""
    for line in (place / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == OWNER:
            return int(uid), int(gid)
    raise LookupError(f"{place} has no user {OWNER}")
