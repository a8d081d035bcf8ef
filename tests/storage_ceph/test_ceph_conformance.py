"""storage_ceph answers the questions that every storage driver is asked, on a real Ceph."""

from __future__ import annotations

import pytest

from pvc_core.testing.contract_storage import StorageContract

from .volumes_rig import CephRig

pytestmark = pytest.mark.system


class TestCeph(StorageContract):
    @pytest.fixture
    def rig(self, whole: CephRig) -> CephRig:
        whole.begin()
        return whole
