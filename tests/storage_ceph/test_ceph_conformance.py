"""storage_ceph answers the questions that every storage driver is asked, on a real Ceph."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ceph_make import Ceph
from pvc_core.testing.contract_storage import StorageContract

from .ceph_rig import running_ceph
from .volumes_rig import Admin, CephRig

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def ceph() -> Iterator[Ceph]:
    directory = Path(tempfile.mkdtemp(prefix="pvc-ceph-", dir="/tmp"))
    try:
        with running_ceph(directory) as ceph:
            yield ceph
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def whole(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CephRig]:
    rig = CephRig(ceph, Admin(ceph), tmp_path_factory.mktemp("nodes"))
    yield rig
    rig.end()


class TestCeph(StorageContract):
    @pytest.fixture
    def rig(self, whole: CephRig) -> CephRig:
        whole.begin()
        return whole
