"""storage_ceph answers the questions about fencing on a real Ceph, and what only it can be asked: both of its layers,
keys and the blocklist, each without the other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.testing.contract_storage_fencing import StorageFencingContract, StorageFencingRig

from .fencing_rig import CephFencingRig, Hub, ceph_on, network_of

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[object, Hub]]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    directory = Path(tempfile.mkdtemp(prefix="pvc-ceph-", dir="/tmp"))
    hub = Hub()
    try:
        with ceph_on(hub, directory) as ceph:
            yield ceph, hub
    finally:
        hub.end()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def rig(made: tuple[object, Hub], tmp_path: Path) -> Iterator[CephFencingRig]:
    ceph, hub = made
    with network_of(hub.place("10.2.0.11")):
        rig = CephFencingRig(ceph, hub, tmp_path)  # type: ignore[arg-type]
        try:
            yield rig
        finally:
            rig.end()


class TestCeph(StorageFencingContract):
    @pytest.fixture
    def rig(self, rig: CephFencingRig) -> StorageFencingRig:
        return rig

