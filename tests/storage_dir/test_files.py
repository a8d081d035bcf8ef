"""What only files can show: holes stay holes, exports equal what QEMU reads, copies end in time, modes are right."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.contracts.targets import File
from pvc_core.errors import Refused, Retry
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.storage_rig import DEADLINE_S, pattern, snapshot
from pvc_core.testing.storage_user import StorageUser
from pvc_core.units import GIB, MIB
from pvc_storage_dir.copying import copy_file, used_bytes
from pvc_storage_dir.driver import DirStorage
from pvc_storage_dir.qcow2_map import qcow2_extents

from .rig import DirRig


@pytest.fixture(params=["raw", "qcow2"])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> StorageUser:
    rig = DirRig(tmp_path, {"format": request.param})
    user = StorageUser(rig, rig.driver(), rig.pool)
    user.driver.ensure_pool(rig.pool, deadline_s=DEADLINE_S)
    return user


def test_a_large_empty_volume_takes_no_space(user: StorageUser) -> None:
    volume = user.make("a", units=50 * 1024)
    assert user.found()[0].used_bytes < MIB
    user.clone(volume, user.volume("b"))
    assert all(one.used_bytes < MIB and one.size_bytes == 50 * GIB for one in user.found())


def test_zeros_in_an_image_become_holes(user: StorageUser) -> None:
    volume = user.make("a", units=64)
    user.upload(volume, b"begin".ljust(64 * MIB - 3, b"\0") + b"end")
    assert user.found()[0].used_bytes < MIB
    assert user.read(volume) == b"begin".ljust(64 * MIB - 3, b"\0") + b"end"


def test_a_clone_may_have_another_format(user: StorageUser) -> None:
    source = user.make("source")
    data = user.fill(source, seed=1)
    for image_format in ("raw", "qcow2"):
        target = replace(user.volume(f"to-{image_format}"), format=image_format)
        assert user.clone(source, target).format == image_format
        assert user.read(target) == data


def test_a_clone_of_a_volume_with_snapshots_has_none(user: StorageUser) -> None:
    source, target = user.make("source"), user.volume("target")
    data = user.fill(source, seed=1)
    user.snap(source, snapshot("s"))
    user.rig.guest_writes(user.attach(source), 0, b"newer")
    user.clone(source, target)
    assert user.snapshots_of(target) == () and user.read(target) == b"newer" + data[5:]


def test_an_upload_does_not_throw_snapshots_away(user: StorageUser) -> None:
    volume, snap = user.make("a"), snapshot("s")
    data = user.fill(volume, seed=1)
    user.snap(volume, snap)
    try:
        user.fill(volume, seed=2)
    except Refused as refused:
        assert "snapshots inside" in str(refused)
        assert user.read(volume) == data
    assert user.read(volume, snapshot="s") == data


def test_the_hypervisor_reaches_the_disk_and_nothing_else_of_the_pool(user: StorageUser, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        source = user.attach(user.make("a"))
    finally:
        os.umask(before)
    assert isinstance(source, File)
    disk = Path(source.path)
    assert stat.S_IMODE(disk.stat().st_mode) == 0o600
    assert stat.S_IMODE(disk.parent.stat().st_mode) == 0o711 == stat.S_IMODE(disk.parent.parent.stat().st_mode)
    assert stat.S_IMODE((disk.parent.parent / ".pvc").stat().st_mode) == 0o700


def test_a_clone_that_runs_out_of_time_leaves_nothing(user: StorageUser) -> None:
    class Slow:
        now_s = 0.0

        def boottime_s(self) -> float:
            self.now_s += 0.4
            return self.now_s

        def wall_s(self) -> float:
            return 0.0

    source, target = user.make("source"), user.volume("target")
    user.fill(source, seed=1)
    rig = user.rig
    assert isinstance(rig, DirRig)
    slow = DirStorage(FakeContext({"path": str(rig.root.parent)}, state=rig.state, clock=Slow()))
    with pytest.raises(Retry):
        slow.clone_volume(user.pool, source, target, progress=lambda *_: None, deadline_s=1.0)
    assert user.listed() == {"source": source.id} and not rig.debris()


def test_an_ending_daemon_interrupts_a_copy(user: StorageUser) -> None:
    source, target = user.make("source"), user.volume("target")
    user.fill(source, seed=1)
    rig = user.rig
    assert isinstance(rig, DirRig)
    context = FakeContext({"path": str(rig.root.parent)}, state=rig.state)

    def progress(done: int, total: int, sentence: str) -> None:
        context.is_stopping = True

    ending = DirStorage(context)
    try:
        ending.clone_volume(user.pool, source, target, progress=progress, deadline_s=60.0)
    except Retry as retry:
        assert "daemon is ending" in str(retry)
        assert user.listed() == {"source": source.id}
    assert not rig.debris()


def test_a_volume_in_use_by_a_process_waits(tmp_path: Path) -> None:
    """qemu locks the images it has open: what works on the file itself is told to wait, and does nothing."""
    rig = DirRig(tmp_path, {"format": "qcow2"})
    user = StorageUser(rig, rig.driver(), rig.pool)
    user.driver.ensure_pool(rig.pool, deadline_s=DEADLINE_S)
    volume = user.make("a")
    source = user.attach(volume)
    assert isinstance(source, File)
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", source.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(b"read 0 512\n")
        holder.stdin.flush()
        holder.stdout.readline()
        with pytest.raises(Retry, match="in use"):
            user.snap(volume, snapshot("s"))
        holder.stdin.close()
        holder.wait(10)
    assert user.snapshots_of(volume) == ()


def test_copies_keep_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(300 * MIB)
        for at in (0, 100 * MIB + 17, 299 * MIB):
            file.seek(at)
            file.write(pattern(at, 70_000))
    steps: list[tuple[int, int]] = []
    copy_file(str(source), str(target), lambda done, total: steps.append((done, total)))
    assert used_bytes(str(target)) < MIB and steps[-1] == (300 * MIB, 300 * MIB)
    with source.open("rb") as one, target.open("rb") as other:
        while piece := one.read(MIB):
            assert piece == other.read(MIB)
        assert not other.read(1)


@pytest.mark.parametrize("seed", range(4))
def test_a_qcow2_reads_as_qemu_reads_it(tmp_path: Path, seed: int) -> None:
    """Random writes, zeros, discards, growth and snapshots; small clusters, so that there are many tables."""
    choose = random.Random(seed)
    path = str(tmp_path / "disk.qcow2")
    cluster = choose.choice(["512", "4k", "64k"])
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", path, "8M")
    size, tags = 8 * MIB, [""]
    for number in range(3):
        commands = []
        for _write in range(8):
            at = choose.randrange(0, size - 300_000) // 512 * 512
            word = choose.choice([f"write -P {choose.randrange(1, 255)}", "write -z", "discard"])
            commands += ["-c", f"{word} {at} {choose.randrange(1, 500) * 512}"]
        run("qemu-io", "-f", "qcow2", *commands, path)
        run("qemu-img", "snapshot", "-c", f"pvc-{number}", path)
        tags.append(f"pvc-{number}")
    run("qemu-img", "resize", "-q", path, "20M")
    for tag in tags:
        raw = str(tmp_path / "raw")
        of = ["-l", f"snapshot.name={tag}"] if tag else []
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", *of, path, raw)
        expected = Path(raw).read_bytes()
        pieces = []
        with open(path, "rb") as file:
            for extent in qcow2_extents(file, tag):
                piece = b"" if extent.at is None else os.pread(file.fileno(), extent.length, extent.at)
                pieces.append(piece.ljust(extent.length, b"\0"))
        content = b"".join(pieces)
        assert content == expected[: len(content)] and not any(expected[len(content) :])
        assert len(content) == (8 if tag else 20) * MIB


def test_a_compressed_image_is_not_misread(tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "disk.qcow2"
    raw.write_bytes(b"text" * MIB)
    run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(path))
    with path.open("rb") as file, pytest.raises(ValueError, match="compressed"):
        list(qcow2_extents(file))


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def test_state_is_per_cluster(tmp_path: Path) -> None:
    """Two nodes with pools of their own do not confuse each other's directories."""
    state = FakeState()
    for node in ("hv1", "hv2"):
        daemon = DirStorage(FakeContext({"path": str(tmp_path / node)}, node=node, state=state))
        daemon.ensure_pool(DirRig(tmp_path, {}).pool, deadline_s=5.0)
    assert state.children("pools/vms") == ["on-hv1", "on-hv2"]


def test_sizes_are_whole_sectors(user: StorageUser) -> None:
    volume = replace(user.volume("a"), size_bytes=MIB + 1)
    assert user.create(volume).size_bytes == MIB + 512
    for _again in range(3):
        assert user.resize(volume, MIB + 1).size_bytes == MIB + 512
        assert user.resize(volume, MIB + 1, in_use=True).size_bytes == MIB + 512
    assert user.resize(volume, 2 * MIB + 1).size_bytes == 2 * MIB + 512
    with pytest.raises(Refused):
        user.resize(volume, MIB)


def test_in_use_the_hypervisor_grows_and_the_driver_follows(user: StorageUser) -> None:
    volume = user.make("a")
    source = user.attach(volume)
    assert isinstance(source, File)
    with pytest.raises(Retry, match="hypervisor"):
        user.resize(volume, 2 * volume.size_bytes, in_use=True)
    run("qemu-img", "resize", "-q", "-f", source.format, source.path, str(2 * volume.size_bytes))
    assert user.resize(volume, 2 * volume.size_bytes, in_use=True).size_bytes == 2 * volume.size_bytes
