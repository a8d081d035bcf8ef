"""One world of network namespaces for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net_evpn.evpn_rig import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
