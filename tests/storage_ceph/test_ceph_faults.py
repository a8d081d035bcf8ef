"""Parts of Ceph are lost, stand still or are full, and files of the node are gone: every call ends in time, in words
that tell an operator what to do, and goes on by itself when the part is back.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lab.ceph_make import Ceph
from pvc_core.errors import Permanent, PvcError, Refused, Retry
from pvc_core.model.storage import StorageReport
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.storage_rig import DEADLINE_S, pattern, snapshot
from pvc_core.testing.storage_user import StorageUser
from pvc_storage_ceph import convert, uploads
from pvc_storage_ceph.driver import CephStorage
from pvc_storage_ceph.keys import FSID
from pvc_storage_ceph.report import NO_MANAGER

from .ceph_rig import kill_daemon
from .volumes_rig import POOL, CephRig

pytestmark = pytest.mark.system
SOON_S, LONG_S = 3.0, 120.0
ENDS_S = 30.0
"""A call of SOON_S has ended by then on any machine; Ceph's own patience is longer by far."""


@contextmanager
def still(ceph: Ceph, name: str) -> Iterator[None]:
    """It refuses nothing and answers nothing."""
    kill_daemon(ceph, name, signal.SIGSTOP)
    try:
        yield
    finally:
        kill_daemon(ceph, name, signal.SIGCONT)


def eventually(true: Callable[[], object], what: str) -> None:
    """Asked again while Ceph says "later"."""
    end = time.monotonic() + LONG_S
    while True:
        with suppress(Retry):
            if true():
                return
        assert time.monotonic() < end, f"not within {LONG_S:.0f} s: {what}"
        time.sleep(0.2)


def report(user: StorageUser) -> StorageReport:
    return user.driver.report([user.pool], deadline_s=DEADLINE_S)


def faults(user: StorageUser) -> dict[str, str]:
    return {one.id: one.message for one in report(user).faults}


def test_no_monitor_answers_and_every_call_ends_in_time(
    user: StorageUser, whole: CephRig, ceph: Ceph, tmp_path: Path
) -> None:
    new = CephStorage(FakeContext({**whole.config("hv1"), "state": str(tmp_path)}, node="hv7"))
    volume = user.volume("a")
    with still(ceph, "mon.a"):
        calls: list[Callable[[], object]] = [
            lambda: user.driver.report([user.pool], deadline_s=SOON_S),
            lambda: user.driver.create_volume(user.pool, volume, deadline_s=SOON_S),
            lambda: new.ensure_pool(user.pool, deadline_s=SOON_S),  # of a node that boots just now
        ]
        for call in calls:
            started = time.monotonic()
            with pytest.raises(Retry) as raised:
                call()
            assert time.monotonic() - started < ENDS_S
            assert "in time" in str(raised.value) or "no monitor" in str(raised.value)
    eventually(lambda: user.create(volume), "a volume is made when the monitor is back")
    eventually(lambda: not report(user).silent, "and figures are told")
    new.close()


def test_without_a_manager_figures_are_old_and_say_so(user: StorageUser, ceph: Ceph) -> None:
    volume = user.make("a")
    kill_daemon(ceph, "mgr.x", signal.SIGKILL)
    try:
        told = report(user)
        assert (told.silent, told.osds, told.utilization) == (NO_MANAGER, (), "")
        assert "health" in told.status, "what the monitors know is told"
        user.create(user.volume("b"))
        assert user.read(volume) == bytes(volume.size_bytes), "volumes need no manager"
    finally:
        ceph.mon_runs[0](ceph.mgr_argv("x"))
    eventually(lambda: not report(user).silent, "a manager counts again")
    eventually(lambda: len(report(user).osds) == len(ceph.osds), "all OSDs are told of")
    ceph.await_clean()


def test_a_lost_osd_is_told_and_volumes_go_on(user: StorageUser, whole: CephRig, ceph: Ceph) -> None:
    volume = user.make("a")
    source = user.attach(volume)
    kill_daemon(ceph, "osd.2", signal.SIGKILL)
    try:
        eventually(lambda: "CEPH_OSD_DOWN_2" in faults(user), "its loss is told")
        said = faults(user)
        assert said["CEPH_OSD_DOWN_2"] == "OSD 2 on local is down: its daemon does not answer"
        assert said["CEPH_WARN_OSD_DOWN"].startswith("Ceph: 1 osds down")
        whole.guest_writes(source, 0, pattern(3, 4096))
        user.create(user.volume("b"))
    finally:
        ceph.start_osd(ceph.osds[2])
    eventually(lambda: not [one for one in faults(user) if "OSD_DOWN" in one], "it is back")
    user.driver.detach(user.pool, volume, vm_uuid=user.vm_uuid, deadline_s=DEADLINE_S)
    assert user.read(volume)[:4096] == pattern(3, 4096)
    ceph.await_clean()


def test_slow_requests_are_told(user: StorageUser, ceph: Ceph) -> None:
    """One OSD stands still, and nobody may call it down: who writes waits."""
    volume = user.volume("a")
    ceph.command("config", "set", "osd", "osd_op_complaint_time", "1")
    ceph.command("osd", "set", "nodown")
    try:
        with still(ceph, "osd.2"):
            with pytest.raises(Retry):
                user.driver.create_volume(user.pool, volume, deadline_s=SOON_S)
            eventually(lambda: "slow ops" in faults(user).get("CEPH_WARN_SLOW_OPS", ""), "slow requests are told")
    finally:
        ceph.command("osd", "unset", "nodown")
        ceph.command("config", "rm", "osd", "osd_op_complaint_time")
    eventually(lambda: "CEPH_WARN_SLOW_OPS" not in faults(user), "they are over")
    user.insist(lambda: user.create(volume))
    ceph.await_clean()


def test_a_full_pool_refuses_in_one_sentence_and_what_makes_room_is_done(user: StorageUser, ceph: Ceph) -> None:
    volume, other = user.make("a"), user.make("b")
    user.fill(volume, seed=1)
    user.snap(volume, one := snapshot("s"))
    ceph.command("osd", "pool", "set-quota", POOL, "max_bytes", "1")
    try:
        eventually(lambda: "CEPH_WARN_POOL_FULL" in faults(user), "that it is full is told")
        eventually(lambda: user.usage().free_bytes == 0, "there is no room")
        started = time.monotonic()
        for call in (
            lambda: user.driver.create_volume(user.pool, user.volume("c"), deadline_s=DEADLINE_S),
            lambda: user.upload(other, pattern(2, other.size_bytes)),
        ):
            with pytest.raises(Refused, match="pool is full"):
                call()
        assert time.monotonic() - started < ENDS_S, "nothing waited for room"
        assert sorted(user.listed()) == ["a", "b"]
        user.driver.remove_snapshot(user.pool, volume, one, deadline_s=DEADLINE_S)
        user.remove(volume)
    finally:
        ceph.command("osd", "pool", "set-quota", POOL, "max_bytes", "0")
    eventually(lambda: "CEPH_WARN_POOL_FULL" not in faults(user), "it is full no more")
    user.create(user.volume("c"))
    user.upload(other, pattern(2, other.size_bytes))
    assert user.read(other) == pattern(2, other.size_bytes)


def test_a_pool_that_gets_full_while_an_image_is_converted(
    user: StorageUser, whole: CephRig, ceph: Ceph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """qemu-img would wait for room; the volume keeps what it had, and nothing of the upload stays."""
    volume = user.make("a")
    had = user.fill(volume, seed=1)
    image = tmp_path / "image.qcow2"
    (tmp_path / "raw").write_bytes(pattern(2, volume.size_bytes))
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(tmp_path / "raw"), str(image)]
    subprocess.run(argv, check=True, capture_output=True)
    data = image.read_bytes()

    def late(*args: Any) -> None:
        """The bytes are in the pool, and then there is no room."""
        ceph.command("osd", "pool", "set-quota", POOL, "max_bytes", "1")
        eventually(lambda: "CEPH_WARN_POOL_FULL" in faults(user), "that it is full is told")
        convert.convert(*args)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(convert, "WAITS_S", 3)
            patched.setattr(uploads, "convert", late)
            with pytest.raises(Refused, match="converting the image failed: the pool is full"):
                user.upload(volume, data, image_format="qcow2")
        assert whole.debris() == []
    finally:
        ceph.command("osd", "pool", "set-quota", POOL, "max_bytes", "0")
    eventually(lambda: "CEPH_WARN_POOL_FULL" not in faults(user), "it is full no more")
    assert user.read(volume) == had
    user.upload(volume, data, image_format="qcow2")
    assert user.read(volume) == pattern(2, volume.size_bytes)


def test_lost_key_files_of_this_life_are_made_again(user: StorageUser, whole: CephRig) -> None:
    """A guest's start needs one that the daemon itself does not."""
    volume = user.make("a")
    before = {path.name: path.read_text() for path in Path(whole.config("hv1")["state"]).glob("boot-1.*")}
    assert sorted(before) == ["boot-1.guest.key", "boot-1.manager.keyring"]
    for name in before:
        Path(whole.config("hv1")["state"], name).unlink()
        user.attach(volume)
        assert {one: Path(whole.config("hv1")["state"], one).read_text() for one in before} == before


@pytest.mark.parametrize("named", [True, False])
def test_a_lost_keyring_is_named_with_what_to_do(whole: CephRig, ceph: Ceph, tmp_path: Path, named: bool) -> None:
    """The administrator's, when a node boots: the file of pvc.yaml, or where Ceph looks by itself."""
    lost = tmp_path / "ceph.client.admin.keyring"
    conf = tmp_path / "ceph.conf"
    lines = ceph.conf.read_text().replace(f"{ceph.directory}/$name.keyring", f"{tmp_path}/ceph.$name.keyring")
    conf.write_text(lines)
    config = {**whole.config("hv1"), "state": str(tmp_path / "state"), "conf": str(conf)}
    driver = CephStorage(FakeContext(config | ({"keyring": str(lost)} if named else {}), node="hv7"))
    with pytest.raises(Permanent) as raised:
        driver.ensure_pool(whole.pool, deadline_s=DEADLINE_S)
    driver.close()
    assert str(lost) in raised.value.message and "no key of client.admin" in raised.value.message
    assert "put the keyring file back" in raised.value.help


def test_another_ceph_is_refused_by_its_fsid(whole: CephRig, ceph: Ceph, tmp_path: Path) -> None:
    state = FakeState()
    state.put(FSID, b"11111111-2222-3333-4444-555555555555", if_version=-1)
    context = FakeContext({**whole.config("hv1"), "state": str(tmp_path)}, node="hv7", state=state)
    driver = CephStorage(context)
    with pytest.raises(PvcError, match="this is another Ceph") as raised:
        driver.ensure_pool(whole.pool, deadline_s=DEADLINE_S)
    driver.close()
    assert isinstance(raised.value, Permanent)
    assert ceph.fsid in str(raised.value) and "11111111-2222" in str(raised.value)
    assert "pvc.hv7." not in ceph.command("auth", "ls"), "nothing was changed there"
