"""What TLS holds already is something to read: two answers in one record, of which the kernel knows no more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from pvc_core.errors import Permanent
from pvc_core.founding import pki
from pvc_core.peer.network import node_identity
from pvc_core.store.zookeeper.tls import secured, select_with_pending, trust


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(client, server) of one TLS connection."""
    place = pki.Place(tmp_path / "pki")
    pki.ensure_ca(place, "c")
    pki.ensure_node(place, "hv1", [ip_address("127.0.0.1")])
    server_side = node_identity(place.ca_crt, place.node_crt, place.node_key).server
    assert server_side
    plain_client, plain_server = socket.socketpair()
    served: list[socket.socket] = []
    thread = threading.Thread(target=lambda: served.append(server_side.wrap_socket(plain_server, server_side=True)))
    thread.start()
    client = secured(plain_client, trust(place.ca_crt), "127.0.0.1")
    thread.join()
    yield client, served[0]
    client.close()
    served[0].close()


def test_the_rest_of_a_record_is_seen_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    server.sendall(b"one.two.")
    assert select_with_pending([client], [], [], 5)[0] == [client]
    assert client.recv(4) == b"one."
    assert select_with_pending([client], [], [], 0.5)[0] == [client], "the kernel has nothing more, TLS has"
    assert client.recv(4) == b"two."
    assert select_with_pending([client], [], [], 0.05)[0] == []


def test_others_are_told_along_with_it(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    left, right = socket.socketpair()
    server.sendall(b"one.two.")
    select_with_pending([client], [], [], 5)
    client.recv(4)
    right.sendall(b"x")
    assert select_with_pending([client, left], [], [], 5)[0] == [client, left]
    left.close()
    right.close()


def test_without_the_authority_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="the authority of the store's servers cannot be read from"):
        trust(tmp_path / "ca.crt")
