"""The peer channel between nodes: the same promises as on one node, and who may ask at all."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.daemon.noded import main
from pvc_core.errors import NotFound, Refused, Retry
from pvc_core.founding import pki
from pvc_core.peer import PeerServer, Unreachable, ask
from pvc_core.peer.network import Address, Identity, stranger
from pvc_core.peer.relay import relay, relayed
from tests.founding.rig import Cluster
from tests.peer.conftest import Asked


@pytest.fixture
def nodes(tmp_path: Path, asked: Asked) -> Iterator[Cluster]:
    """hv1 and hv2 of one cluster; hv2 answers."""
    cluster = found(tmp_path)
    cluster.serve("hv2", asked.handlers())
    yield cluster
    cluster.close()


def found(root: Path) -> Cluster:
    cluster = Cluster(root)
    assert main(["init", "--config", str(cluster.write_config("hv1")), "--node", "hv1"]) == 0
    cluster.write_config("hv2")
    one, two = cluster.place("hv1"), cluster.place("hv2")
    two.directory.mkdir(parents=True)
    for path in ("ca.crt", "ca.key"):
        (two.directory / path).write_text((one.directory / path).read_text())
    pki.ensure_node(two, "hv2", [])
    return cluster


def test_bytes_both_ways(nodes: Cluster) -> None:
    pieces = [bytes([number]) * 300_000 for number in range(40)]
    with ask(nodes.peer("hv1", "hv2"), "upload", body=iter(pieces)) as reply:
        assert reply.result == {"sha256": hashlib.sha256(b"".join(pieces)).hexdigest(), "size": 12_000_000}
    with ask(nodes.peer("hv1", "hv2"), "export", {"size": 5_000_000, "piece": 77_777}) as reply:
        assert sum(map(len, reply.body)) == 5_000_000


def test_who_leaves_is_noticed_and_everything_freed(nodes: Cluster, asked: Asked) -> None:
    reply = ask(nodes.peer("hv1", "hv2"), "console")
    assert next(reply.body) == b"login: "
    reply.close()
    assert asked.freed.wait(5)


def test_an_upload_that_breaks_off_is_thrown_away(nodes: Cluster, asked: Asked) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        ask(nodes.peer("hv1", "hv2"), "upload", body=broken())
    assert asked.freed.wait(5) and asked.uploads[0].startswith("thrown away")


def test_a_refusal_in_the_middle_of_an_upload_arrives(nodes: Cluster) -> None:
    with pytest.raises(Refused, match="volume db is in use"):
        ask(nodes.peer("hv1", "hv2"), "refuse-upload", body=(b"x" * 1_000_000 for _ in range(200)))


def test_a_stranger_may_ask_how_to_join_and_nothing_else(nodes: Cluster) -> None:
    place = nodes.place("hv1")
    somebody = Address("hv2", nodes.address("hv2"), nodes.peer_port, stranger(place.need(place.ca_crt)))
    with ask(somebody, "authority") as reply:
        assert reply.result["certificate"] == place.need(place.ca_crt)
    for question in ("who", "console", "upload", "relay"):
        with pytest.raises(NotFound, match="is not known here"):
            ask(somebody, question)


def test_a_certificate_of_another_cluster_opens_nothing(nodes: Cluster, tmp_path: Path) -> None:
    other = found(tmp_path / "other")
    other.net, other.peer_port = nodes.net, nodes.peer_port
    with pytest.raises(Unreachable, match="it is somebody else"):
        ask(other.peer("hv1", "hv2"), "who")
    theirs = other.peer("hv1", "hv2").identity.client
    theirs.check_hostname, theirs.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(Unreachable):
        ask(Address("hv2", nodes.address("hv2"), nodes.peer_port, Identity(theirs)), "who")


def test_a_node_at_anothers_address_is_not_believed(nodes: Cluster) -> None:
    with pytest.raises(Unreachable, match="it is somebody else"):
        ask(nodes.peer("hv1", "hv2", called="hv3"), "who")


def test_a_removed_node_is_told_so(nodes: Cluster, tmp_path: Path) -> None:
    place = nodes.place("hv2")
    serial = pki.serial_of(place.need(place.node_crt))
    nodes.serve("hv1", removed=frozenset({serial}))
    with pytest.raises(Refused, match="node hv2 was removed from the cluster"):
        ask(nodes.peer("hv2", "hv1"), "who")


def test_the_relay_carries_questions_errors_and_bytes(nodes: Cluster, tmp_path: Path, asked: Asked) -> None:
    """As pvcapid asks: no certificate, through its node's own socket."""
    path = tmp_path / "node.sock"
    server = PeerServer(path, {"relay": relay(lambda node: nodes.peer("hv1", node))})
    server.start()
    try:
        question, args = relayed("hv2", "upload", {}, with_body=True, deadline_s=5)
        with ask(path, question, args, body=iter([b"ab"] * 1000)) as reply:
            assert reply.result["size"] == 2000
        question, args = relayed("hv2", "refuse-upload", {}, with_body=True, deadline_s=5)
        with pytest.raises(Refused, match="volume db is in use"):
            ask(path, question, args, body=(b"x" * 1_000_000 for _ in range(100)))
        asked.freed.clear()
        question, args = relayed("hv2", "console", {}, with_body=False, deadline_s=5)
        reply = ask(path, question, args)
        assert next(reply.body) == b"login: "
        reply.close()
        assert asked.freed.wait(8), "that the client has gone is passed on, though nothing is said on the console"
        question, args = relayed("hv3", "who", {}, with_body=False, deadline_s=5)
        with pytest.raises(Retry, match=r"cannot ask hv3 .*nobody listens there"):
            ask(path, question, args)
    finally:
        server.stop()


def test_garbage_and_silence_block_nobody(nodes: Cluster) -> None:
    idle = [socket.create_connection((nodes.address("hv2"), nodes.peer_port)) for _ in range(20)]
    for sock in idle[:10]:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    began = time.monotonic()
    with ask(nodes.peer("hv1", "hv2"), "who") as reply:
        assert reply.result == {"node": "hv2"}
    assert time.monotonic() - began < 3
    for sock in idle:
        sock.close()


def test_old_tls_is_refused(nodes: Cluster) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{nodes.address('hv2')}:{nodes.peer_port}", "-tls1_2"],
        input=b"", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode != 0
