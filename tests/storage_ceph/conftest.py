"""One Ceph for all tests of this folder, and the rig on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ceph_make import Ceph
from pvc_core.testing.storage_rig import DEADLINE_S
from pvc_core.testing.storage_user import StorageUser

from . import ceph_leash
from .ceph_rig import running_ceph
from .volumes_rig import Admin, CephRig


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    directory = Path(tempfile.mkdtemp(prefix="pvc-ceph-", dir="/tmp"))
    leash = ceph_leash.hold(directory)
    try:
        with running_ceph(directory) as ceph:
            yield ceph
    finally:
        ceph_leash.let_go(leash)


@pytest.fixture(scope="session")
def admin(ceph: Ceph) -> Admin:
    return Admin(ceph)


@pytest.fixture(scope="session")
def whole(ceph: Ceph, admin: Admin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CephRig]:
    rig = CephRig(ceph, admin, tmp_path_factory.mktemp("nodes"))
    yield rig
    rig.end()


@pytest.fixture
def user(whole: CephRig) -> StorageUser:
    """Of an empty pool."""
    whole.begin()
    user = StorageUser(whole, whole.driver(), whole.pool)
    user.driver.ensure_pool(whole.pool, deadline_s=DEADLINE_S)
    return user
