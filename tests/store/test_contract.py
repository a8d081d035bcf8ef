"""The suite of the ten primitives, asked of the fake, of pvcstored and of a real ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pvc_core.testing.contract_store import StoreContract, StoreRig

from .rigs import FakeRig, ProcessRig, Pvcstored, ServerProcess, ZooKeeper


class TestFake(StoreContract):
    isolates_wakes = False

    @pytest.fixture
    def rig(self) -> Iterator[StoreRig]:
        yield FakeRig()


class OnProcess(StoreContract):
    kind: type[ServerProcess]

    @pytest.fixture(scope="class")
    def server(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[ServerProcess]:
        server = request.cls.kind(tmp_path_factory.mktemp("store"))
        server.start()
        yield server
        server.kill()

    @pytest.fixture
    def rig(self, server: ServerProcess) -> Iterator[StoreRig]:
        rig = ProcessRig(server)
        yield rig
        rig.close()


@pytest.mark.system
class TestPvcstored(OnProcess):
    kind = Pvcstored


@pytest.mark.system
class TestZooKeeper(OnProcess):
    kind = ZooKeeper
