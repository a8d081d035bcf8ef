"""What Ceph's errors become for people; needs no Ceph."""

from __future__ import annotations

import errno

from pvc_core.errors import Permanent, Refused
from pvc_storage_ceph.faults import translated


def test_an_image_in_a_group_is_told_with_the_way_out() -> None:
    error = translated("remove volume", OSError(errno.EMLINK, "error deleting image from image"))
    assert isinstance(error, Permanent)
    assert "member of a group" in error.message and "rbd group image" in error.help


def test_a_full_pool_is_refused_and_not_permanent() -> None:
    assert isinstance(translated("write", OSError(errno.ENOSPC, "no")), Refused)
