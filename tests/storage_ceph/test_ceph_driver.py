"""What only a real Ceph can show: calls that hang end in time, many volumes are listed at once, others' are shown."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.ceph_make import Ceph
from pvc_core.contracts.targets import Rbd
from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.model.storage import Pool
from pvc_core.testing.context import FakeContext
from pvc_core.testing.storage_rig import DEADLINE_S, pattern, snapshot
from pvc_core.testing.storage_user import StorageUser
from pvc_core.units import GIB
from pvc_storage_ceph.driver import CephStorage
from pvc_storage_ceph.health import Health

from .ceph_rig import kill_daemon
from .volumes_rig import POOL, Admin, CephRig

pytestmark = pytest.mark.system
MANY = 100


@contextmanager
def frozen(ceph: Ceph) -> Iterator[None]:
    """All OSDs stand still: nothing is refused, nothing is answered."""
    for osd in ceph.osds:
        kill_daemon(ceph, f"osd.{osd.number}", signal.SIGSTOP)
    try:
        yield
    finally:
        for osd in ceph.osds:
            kill_daemon(ceph, f"osd.{osd.number}", signal.SIGCONT)


def test_many_volumes_are_listed_at_once(whole: CephRig, admin: Admin, ceph: Ceph) -> None:
    pool = Pool(name="many", driver="storage_ceph", pgs=4)
    user = StorageUser(whole, whole.driver(), pool)
    user.driver.ensure_pool(pool, deadline_s=DEADLINE_S)
    filled = user.make("filled", units=16)
    user.upload(filled, pattern(1, filled.size_bytes // 2))
    with admin.io("many") as io:
        for number in range(MANY):
            admin.rbd.RBD().create(io, f"other-{number}", GIB, old_format=False, features=61)
    found = {one.name: one for one in user.found()}
    assert len(found) == MANY + 1
    assert found["other-7"].size_bytes == GIB and (found["other-7"].id, found["other-7"].used_bytes) == ("", 0)
    assert found["filled"].id == filled.id and found["filled"].used_bytes == filled.size_bytes // 2
    ceph.command("osd", "pool", "delete", "many", "many", "--yes-i-really-really-mean-it")


def test_what_others_made_is_shown_and_left_alone(user: StorageUser, admin: Admin) -> None:
    with admin.io(POOL) as io:
        admin.rbd.RBD().create(io, "theirs", GIB, old_format=False, features=61)
    assert user.listed() == {"theirs": ""}
    with pytest.raises(Refused):
        user.remove(user.volume("theirs"))
    with pytest.raises(Refused, match="theirs"):
        user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
    assert admin.names(POOL) == ["theirs"]


def test_a_call_that_hangs_ends_in_time_and_then_all_is_well(user: StorageUser, ceph: Ceph) -> None:
    started = time.monotonic()
    with frozen(ceph), pytest.raises(Retry, match="in time"):
        user.driver.create_volume(user.pool, user.volume("a"), deadline_s=2.0)
    assert time.monotonic() - started < 20
    volume = user.volume("a")
    user.insist(lambda: user.create(volume))
    assert user.read(volume) == bytes(volume.size_bytes)


def test_the_guests_key_is_for_root_only(user: StorageUser) -> None:
    source = user.attach(user.make("a"))
    assert isinstance(source, Rbd) and source.monitors and source.secret_uuid
    assert Path(source.key_file).read_text().endswith("==") and os.stat(source.key_file).st_mode & 0o777 == 0o600


def test_a_pool_that_ceph_has_lost_is_not_made_anew(user: StorageUser, ceph: Ceph) -> None:
    volume = user.make("a")
    ceph.command("osd", "pool", "delete", POOL, POOL, "--yes-i-really-really-mean-it")
    with pytest.raises(Permanent, match="never made a second time"):
        user.driver.ensure_pool(user.pool, deadline_s=DEADLINE_S)
    user.remove(volume)  # its bytes are gone with the pool; else neither could ever be removed
    user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
    user.driver.ensure_pool(user.pool, deadline_s=DEADLINE_S)
    assert user.listed() == {}


def test_copies_are_as_wanted(whole: CephRig, ceph: Ceph) -> None:
    pool = Pool(name="two", driver="storage_ceph", pgs=4, replcfg="copies=2,mincopies=1")
    whole.driver().ensure_pool(pool, deadline_s=DEADLINE_S)
    assert ceph.asked("osd", "pool", "get", "two", "size")["size"] == 2
    assert ceph.asked("osd", "pool", "get", "two", "min_size")["min_size"] == 1
    whole.driver().remove_pool(pool, deadline_s=DEADLINE_S)
    assert "two" not in ceph.asked("osd", "pool", "ls")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conf": "/nonexistent/ceph.conf"}, "is missing"),
        ({"keyring": "/nonexistent/keyring"}, "no key of client.admin"),
        ({"user": "nobody"}, "client.nobody"),
    ],
)
def test_what_is_wrong_is_said(whole: CephRig, tmp_path: Path, change: dict[str, str], words: str) -> None:
    driver = CephStorage(FakeContext({**whole.config("hv1"), "state": str(tmp_path), **change}))
    with pytest.raises(Permanent, match=words):
        driver.ensure_pool(whole.pool, deadline_s=DEADLINE_S)
    health = Health(driver.health, patience_s=60.0).pvc_collect_health()
    driver.close()
    assert len(health) == 1 and words in health[0].message


def test_a_pool_whose_snapshots_are_not_trimmed_yet_is_empty(user: StorageUser, whole: CephRig, ceph: Ceph) -> None:
    """What is left of a removed image is listed until the OSDs have trimmed its snapshots."""
    ceph.command("osd", "set", "nosnaptrim")
    try:
        volume = user.make("a")
        user.fill(volume, seed=1)
        user.snap(volume, one := snapshot("s"))
        whole.guest_writes(user.attach(volume), 0, pattern(2, 512))
        user.driver.detach(user.pool, volume, vm_uuid=user.vm_uuid, deadline_s=DEADLINE_S)
        user.driver.remove_snapshot(user.pool, volume, one, deadline_s=DEADLINE_S)
        user.remove(volume)
        user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
    finally:
        ceph.command("osd", "unset", "nosnaptrim")
    user.driver.ensure_pool(user.pool, deadline_s=DEADLINE_S)
    assert user.listed() == {}


def test_a_pool_with_anything_hidden_in_it_is_not_removed(user: StorageUser, admin: Admin) -> None:
    with admin.io(POOL) as io:
        admin.rbd.RBD().create(io, "old", GIB, old_format=False, features=61)
        admin.rbd.RBD().trash_move(io, "old", 0)
        ours, _content = user.make_filled("ours")
        told = ['image "old" in its trash', 'namespace "apart"', 'group "both" of images', 'object "kept"']
        admin.rbd.RBD().namespace_create(io, "apart")
        admin.rbd.RBD().group_create(io, "both")
        io.write_full("kept", b"by somebody")
        assert user.driver.strangers(user.pool, deadline_s=DEADLINE_S) == told
        io.remove_object("kept")
        admin.rbd.RBD().group_remove(io, "both")
        admin.rbd.RBD().namespace_remove(io, "apart")
        admin.rbd.RBD().create(io, ".pvc-bench-killed", GIB, old_format=False, features=61)
        assert user.driver.strangers(user.pool, deadline_s=DEADLINE_S) == told[:1]
        user.remove(ours)
        with pytest.raises(Refused, match='image "old" in its trash'):
            user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
        for one in admin.rbd.RBD().trash_list(io):
            admin.rbd.RBD().trash_remove(io, one["id"], True)
        io.set_namespace("elsewhere")
        io.write_full("kept", b"by somebody")
        with pytest.raises(Refused, match='object "kept"'):
            user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
        io.remove_object("kept")
    user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
    user.driver.ensure_pool(user.pool, deadline_s=DEADLINE_S)
