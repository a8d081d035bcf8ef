"""storage_dir and the fake answer the questions that every storage driver is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.testing.contract_storage import StorageContract
from pvc_core.testing.storage import ALL_CAPABILITIES, NO_CAPABILITIES

from .rig import DirRig, FakeRig, may_mount, small_file_system


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    if not may_mount():
        yield ""  # the questions about space are then reported as not asked
        return
    with small_file_system() as path:
        yield path


class TestRaw(StorageContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, small: str) -> DirRig:
        return DirRig(tmp_path, {}, small)


class TestQcow2(StorageContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, small: str) -> DirRig:
        return DirRig(tmp_path, {"format": "qcow2"}, small)


class TestShared(StorageContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, small: str) -> DirRig:
        return DirRig(tmp_path, {"shared": "true", "path": str(tmp_path / "both")}, small)


class TestFake(StorageContract):
    @pytest.fixture
    def rig(self) -> FakeRig:
        return FakeRig(ALL_CAPABILITIES)


class TestFakeThatCanLittle(StorageContract):
    @pytest.fixture
    def rig(self) -> FakeRig:
        return FakeRig(NO_CAPABILITIES, {"shared": "true"})
