"""The benches' own arithmetic: percentiles that were really measured, tables that paste, a relay that counts right."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from bench.tools.figures import Spread, table
from bench.tools.records import definition
from bench.tools.servers import Relay
from bench.tools.start_ways import Bare
from pvc_compute_libvirt.definitions import LibvirtDefinitions

UUID = "4a2cb9a0-9f4d-4a62-9c66-7d3f6a9a2a01"


def test_percentiles_are_nearest_ranks_whatever_the_order() -> None:
    spread = Spread.of(reversed(range(1, 101)))
    assert (spread.count, spread.p50, spread.p95, spread.p99) == (100, 50, 95, 99)


def test_the_worst_of_few_is_all_the_high_percentiles() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(3, 2.0, 3.0, 3.0)


def test_nothing_measured_is_told_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_table_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    table(("what", "p50"), [["a", "1.0"], ["longer", "10.0"]])
    assert capsys.readouterr().out == "\n| what   |  p50 |\n| ------ | ---: |\n| a      |  1.0 |\n| longer | 10.0 |\n\n"


def test_definitions_are_of_usual_size_and_read_by_the_compute_plugin() -> None:
    text = definition(513, UUID)
    description = LibvirtDefinitions().describe(text)
    assert 2800 <= len(text) <= 3600
    assert (description.name, description.uuid) == ("vm00513", UUID)
    assert description.volumes == ("vms/vm00513-root", "vms/vm00513-data")
    assert [nic.network for nic in description.nics] == ["upstream", "storage"]


def test_the_bare_guest_differs_in_identity_alone() -> None:
    same = {"name": "start", "uuid": UUID, "mac": "52:54:00:aa:bb:cc"}
    xml = f"<domain><name>start</name><uuid>{UUID}</uuid><log file='/{UUID}.log'/><mac a='52:54:00:aa:bb:cc'/></domain>"
    bare = Bare.like(xml, **same)
    assert UUID not in bare.xml and "52:54:00:aa:bb:cc" not in bare.xml and "<name>start<" not in bare.xml
    assert bare.as_of(bare.xml, **same) == xml


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client = listener.accept()[0]
        while piece := client.recv(4096):
            client.sendall(piece)
        client.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(5)
    assert not thread.is_alive(), "the relay did not pass on that the client had gone"
    listener.close()


def test_the_relay_counts_requests_but_neither_the_session_nor_pings(echo: int) -> None:
    relay = Relay(echo)
    hello, get, ping = struct.pack(">iq", 0, 0), struct.pack(">ii", 1, 4), struct.pack(">ii", -2, 11)
    sent = b"".join(struct.pack(">i", len(frame)) + frame for frame in (hello, get, ping, get))
    with socket.create_connection(("127.0.0.1", relay.port), timeout=5) as client:
        client.sendall(sent)
        back = b""
        while len(back) < len(sent):
            back += client.recv(4096)
    relay.close()
    assert back == sent
    assert relay.requests == 2
