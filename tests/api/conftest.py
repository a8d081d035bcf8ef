"""One API for all tests of a module; each test makes the objects it needs, under its own names."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx2
import pytest

from .rig import Api, Rig, new_rig, running


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = new_rig()
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(rig, tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture(scope="module")
def client(api: Api) -> Iterator[httpx2.Client]:
    with api.client() as made:
        yield made


@pytest.fixture
def raw(api: Api) -> Iterator[socket.socket]:
    """A bare connection, for what no client library would send."""
    with socket.create_connection(("127.0.0.1", api.frontend.port), timeout=10) as made:
        yield made
