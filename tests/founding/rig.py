"""Nodes of a cluster as directories: a pvc.yaml, secrets and certificates each, on addresses of 127/8 of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from pvc_core.clock import SystemClock
from pvc_core.config import Config, load
from pvc_core.founding.pki import Place
from pvc_core.founding.places import cluster_address, pki_of
from pvc_core.founding.welcome import Welcome
from pvc_core.peer import Answer, Handler
from pvc_core.peer.network import Address, NetworkServer, node_identity
from tests.store.rigs import free_port

COORDINATORS = ("hv1", "hv2", "hv3")


class Cluster:
    """No node of it makes a network: its device is none that a machine has.

    `net` is a part of 127/8 that no other test uses at this moment, so the fixed ports are free.
    """

    def __init__(self, root: Path, *, coordinators: tuple[str, ...] = COORDINATORS, store: str = "zookeeper") -> None:
        self.root, self.coordinators, self.store = root, coordinators, store
        self.store_port, self.peer_port = free_port(), free_port()
        self.net = f"127.{os.getpid() % 200 + 20}.{time.monotonic_ns() // 1000 % 250}"
        self.servers: list[NetworkServer] = []

    def address(self, node: str) -> str:
        return f"{self.net}.{int(node[2:])}"

    def file(self, node: str) -> Path:
        return self.root / node / "pvc.yaml"

    def write_config(self, node: str) -> Path:
        place = self.root / node
        place.mkdir(parents=True, exist_ok=True)
        self.file(node).write_text(
            f"# {node}'s own words\n"
            f"cluster: {{name: c, coordinators: [{', '.join(self.coordinators)}]}}\n"
            f"store: {{{self.store}: {{port: {self.store_port}}}}}\n"
            f"host_networks:\n  cluster: {{device: none0, address: {self.address(node)}/24}}\n"
            f"peer: {{port: {self.peer_port}}}\n"
            f"paths: {{secrets: {place}/etc/secrets, state: {place}/state, run: {place}/run}}\n"
            "plugins: {}\n"
        )
        return self.file(node)

    def config(self, node: str) -> Config:
        return load(self.file(node), node=node)

    def place(self, node: str) -> Place:
        return Place(pki_of(self.config(node)))

    def serve(
        self,
        node: str,
        handlers: Mapping[str, Handler] | None = None,
        *,
        removed: frozenset[str] = frozenset(),
        known: Mapping[str, str] | None = None,
        for_strangers: Mapping[str, Handler] | None = None,
    ) -> NetworkServer:
        """The peer channel of `node`, as its daemon has it but for what is given."""
        config, place = self.config(node), self.place(node)
        welcome = Welcome(config, SystemClock(), lambda: known or {node: self.address(node)}, structlog.get_logger())
        host = cluster_address(config)
        assert host
        server = NetworkServer(
            host,
            config.peer_port,
            node_identity(place.ca_crt, place.node_crt, place.node_key),
            {"who": lambda args, body: Answer({"node": node}), **(handlers or {})},
            for_strangers={**welcome.handlers(), **(for_strangers or {})},
            objection=lambda name, serial: f"node {name} was removed from the cluster" if serial in removed else "",
            idle_s=5.0,
        )
        server.start()
        self.servers.append(server)
        return server

    def peer(self, frm: str, to: str, *, called: str | None = None) -> Address:
        """`to` as `frm` asks it; `called` is the name it expects."""
        place = self.place(frm)
        identity = node_identity(place.ca_crt, place.node_crt, place.node_key)
        return Address(called or to, self.address(to), self.peer_port, identity)

    def close(self) -> None:
        for server in self.servers:
            server.stop()
            assert server.open_count == 0, "a connection was not freed"


def tree(root: Path) -> dict[str, Any]:
    """Every file below `root` with its content, to see that nothing has changed."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
