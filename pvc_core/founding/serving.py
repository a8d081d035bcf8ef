"""What a ZooKeeper server is just now: asked with its four-letter word `srvr`, over TLS as its clients are served."""

from __future__ import annotations

import socket

from pvc_core.config import Config, ZookeeperStore
from pvc_core.founding.pki import Place
from pvc_core.founding.places import cluster_address, pki_of
from pvc_core.store.zookeeper import trust

WAIT_S = 3.0


def role(config: Config, coordinator: str) -> str:
    """leader, follower or standalone; "" when it does not serve. Raises Permanent: this node has no certificate."""
    assert isinstance(config.store, ZookeeperStore)
    place = Place(pki_of(config))
    own = str(cluster_address(config) or "127.0.0.1")
    host = own if coordinator == config.node else coordinator
    context = trust(place.ca_crt, (place.node_crt, place.node_key))
    said = b""
    try:
        with socket.create_connection((host, config.store.port), WAIT_S) as plain:
            with context.wrap_socket(plain, server_hostname=host) as line:
                line.sendall(b"srvr")
                while data := line.recv(4096):
                    said += data
    except OSError:
        return ""
    lines = said.decode(errors="replace").splitlines()
    return next((line.removeprefix("Mode: ") for line in lines if line.startswith("Mode: ")), "")
