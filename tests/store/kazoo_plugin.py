"""A pytest plugin: kazoo's own tests, unmodified, find a pvcstored where they expect to make a ZooKeeper cluster.

Loaded with -p by test_kazoo.py in a pytest of its own. kazoo.testing.common, which makes clusters with java and needs
two libraries for TLS, is replaced as a whole.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from .rigs import Pvcstored

LEFT_OUT = Path(__file__).with_name("kazoo_left_out.txt")
_NOT_COLLECTED = {"test_gevent_handler", "test_eventlet_handler"}
"""Modules whose import fails without their library; pytest is told to ignore them."""


class OneServer:
    """What kazoo's harness calls a server."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pvcstored-kazoo-")
        self._server = Pvcstored(Path(self._directory.name))

    @property
    def address(self) -> str:
        return self._server.hosts

    @property
    def client_port(self) -> int:
        return self._server.port

    @property
    def running(self) -> bool:
        return bool(self._server.process and self._server.process.poll() is None)

    def run(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.kill()

    def destroy(self) -> None:
        self._directory.cleanup()

    def get_logs(self) -> list[str]:
        return self._server.log.read_text().splitlines()[-50:]


class OneServerCluster:
    """What kazoo's harness calls a cluster."""

    def __init__(self, **_ignored: object) -> None:
        self._servers = [OneServer()]

    def __getitem__(self, index: int) -> OneServer:
        return self._servers[index]

    def __iter__(self) -> Iterator[OneServer]:
        return iter(self._servers)

    def start(self) -> None:
        for server in self._servers:
            if not server.running:
                server.run()

    def stop(self) -> None:
        for server in self._servers:
            server.stop()

    def terminate(self) -> None:
        """The harness does this after every class; the next one starts a server on the same data."""
        self.stop()

    def get_logs(self) -> list[str]:
        return self._servers[0].get_logs()


def pytest_configure() -> None:
    common = ModuleType("kazoo.testing.common")
    common.ZookeeperCluster = OneServerCluster
    sys.modules["kazoo.testing.common"] = common


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what kazoo_left_out.txt names; a line that names nothing is an error."""
    left_out = {
        line.split()[0] for line in LEFT_OUT.read_text().splitlines() if line.strip() and not line.startswith("#")
    }
    places = {item.nodeid: _places(item.nodeid) for item in items}
    unknown = left_out - {place for item in places.values() for place in item} - _NOT_COLLECTED
    if unknown:
        raise pytest.UsageError(f"{LEFT_OUT.name} names what kazoo does not have: {sorted(unknown)}")
    config.hook.pytest_deselected(items=[item for item in items if places[item.nodeid] & left_out])
    items[:] = [item for item in items if not places[item.nodeid] & left_out]


def _places(nodeid: str) -> set[str]:
    """test_client::TestClient::test_x is at itself, its class and its module."""
    parts = nodeid.rpartition("/")[2].replace(".py", "").split("::")
    return {"::".join(parts[:count]) for count in range(1, len(parts) + 1)}
