"""A directory is the pool only if it says so: empty mount points, strangers' directories, shared file systems."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pvc_core.errors import Permanent, Refused, Retry, StoreUnavailable
from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.context import FakeContext, FakeState
from pvc_storage_dir.driver import DirStorage
from pvc_storage_dir.health import Health
from pvc_storage_dir.plugin import Config, StorageDir

from .rig import DirRig, may_mount, small_file_system

S = 10.0


def driver(path: Path, state: FakeState, node: str = "hv1") -> DirStorage:
    return DirStorage(FakeContext({"path": str(path)}, node=node, state=state))


def volume(name: str = "a", **more: object) -> Volume:
    return Volume(id=f"id-{name}", pool="vms", name=name, size_bytes=1024**2, **more)


@pytest.fixture
def state() -> FakeState:
    return FakeState()


POOL = Pool(name="vms", driver="storage_dir")


def test_an_empty_mount_point_is_not_the_pool(tmp_path: Path, state: FakeState) -> None:
    first = driver(tmp_path, state)
    first.ensure_pool(POOL, deadline_s=S)
    first.create_volume(POOL, volume(), deadline_s=S)
    (tmp_path / "vms").rename(tmp_path / "unmounted")
    (tmp_path / "vms").mkdir()
    for daemon in (first, driver(tmp_path, state)):
        for call in (daemon.ensure_pool, daemon.list_volumes, daemon.pool_usage, daemon.remove_pool):
            with pytest.raises(Permanent, match="file system mounted"):
                call(POOL, deadline_s=S)
        with pytest.raises(Permanent):
            daemon.create_volume(POOL, volume("b"), deadline_s=S)
    assert list((tmp_path / "vms").iterdir()) == []
    (tmp_path / "vms").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "vms")
    assert [one.name for one in first.list_volumes(POOL, deadline_s=S)] == ["a"]


def test_a_pool_whose_directory_vanished_is_not_made_again(tmp_path: Path, state: FakeState) -> None:
    driver(tmp_path, state).ensure_pool(POOL, deadline_s=S)
    shutil.rmtree(tmp_path / "vms")
    with pytest.raises(Permanent, match="never made anew"):
        driver(tmp_path, state).ensure_pool(POOL, deadline_s=S)
    assert not (tmp_path / "vms").exists()


def test_another_file_system_with_a_pool_of_that_name_is_not_it(tmp_path: Path, state: FakeState) -> None:
    driver(tmp_path, state).ensure_pool(POOL, deadline_s=S)
    (tmp_path / "vms").rename(tmp_path / "mine")
    driver(tmp_path, FakeState()).ensure_pool(POOL, deadline_s=S)  # some other cluster's
    with pytest.raises(Permanent, match="not the one this cluster made"):
        driver(tmp_path, state).ensure_pool(POOL, deadline_s=S)


def test_a_pool_is_recognised_when_the_store_has_forgotten_it(tmp_path: Path, state: FakeState) -> None:
    first = driver(tmp_path, state)
    first.ensure_pool(POOL, deadline_s=S)
    first.create_volume(POOL, volume(), deadline_s=S)
    again = driver(tmp_path, FakeState())
    again.ensure_pool(POOL, deadline_s=S)
    assert [one.id for one in again.list_volumes(POOL, deadline_s=S)] == ["id-a"]


def test_a_directory_with_other_things_in_it_does_not_become_a_pool(tmp_path: Path, state: FakeState) -> None:
    (tmp_path / "vms").mkdir()
    (tmp_path / "vms" / "letters").write_text("dear")
    with pytest.raises(Permanent, match="it holds letters"):
        driver(tmp_path, state).ensure_pool(POOL, deadline_s=S)
    assert [path.name for path in (tmp_path / "vms").iterdir()] == ["letters"]


def test_two_pools_do_not_share_a_directory(tmp_path: Path, state: FakeState) -> None:
    daemon = driver(tmp_path, state)
    daemon.ensure_pool(POOL, deadline_s=S)
    other = Pool(name="other", driver="storage_dir", options={"path": str(tmp_path / "vms")})
    with pytest.raises(Permanent, match='holds pool "vms"'):
        daemon.ensure_pool(other, deadline_s=S)


def test_a_pool_is_not_used_before_it_was_prepared(tmp_path: Path, state: FakeState) -> None:
    with pytest.raises(Retry, match="not been prepared"):
        driver(tmp_path, state).create_volume(POOL, volume(), deadline_s=S)


def test_no_answer_from_the_store_is_not_taken_for_a_new_pool(tmp_path: Path) -> None:
    class Silent(FakeState):
        def get(self, key: str) -> tuple[bytes, int]:
            raise StoreUnavailable("no answer")

    with pytest.raises(Retry):
        driver(tmp_path, Silent()).ensure_pool(POOL, deadline_s=S)
    assert not (tmp_path / "vms").exists()


def test_foreign_files_are_listed_and_keep_the_pool(tmp_path: Path, state: FakeState) -> None:
    daemon = driver(tmp_path, state)
    daemon.ensure_pool(POOL, deadline_s=S)
    (tmp_path / "vms" / "debian.raw").write_bytes(b"x" * 5000)
    (tmp_path / "vms" / "link").symlink_to("/etc/passwd")
    found = daemon.list_volumes(POOL, deadline_s=S)
    assert [(one.name, one.id, one.size_bytes, one.format) for one in found] == [("debian.raw", "", 5000, "raw")]
    with pytest.raises(Refused, match=r"debian\.raw"):
        daemon.remove_pool(POOL, deadline_s=S)
    with pytest.raises(Refused):
        daemon.remove_volume(POOL, volume("debian.raw"), deadline_s=S)
    assert (tmp_path / "vms" / "debian.raw").exists()


def test_what_no_list_shows_and_would_keep_the_pool_is_told(tmp_path: Path, state: FakeState) -> None:
    daemon = driver(tmp_path, state)
    daemon.ensure_pool(POOL, deadline_s=S)
    for name in ("a", "lost"):
        daemon.create_volume(POOL, volume(name), deadline_s=S)
    (tmp_path / "vms" / "lost" / "disk.raw").unlink()
    (tmp_path / "vms" / "debian.raw").write_bytes(b"x" * 5000)
    assert daemon.strangers(POOL, deadline_s=S) == []
    (tmp_path / "vms" / "link").symlink_to("/etc/passwd")
    (tmp_path / "vms" / "iso").mkdir()
    (tmp_path / "vms" / ".hidden").touch()
    assert [Path(one).name for one in daemon.strangers(POOL, deadline_s=S)] == [".hidden", "iso", "link"]


def test_a_link_in_the_pool_leads_nowhere(tmp_path: Path, state: FakeState) -> None:
    daemon = driver(tmp_path, state)
    daemon.ensure_pool(POOL, deadline_s=S)
    daemon.create_volume(POOL, volume("b"), deadline_s=S)
    (tmp_path / "vms" / "b").rename(tmp_path / "elsewhere")
    (tmp_path / "vms" / "b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        daemon.remove_volume(POOL, volume("b"), deadline_s=S)
    assert (tmp_path / "elsewhere" / "disk.raw").exists()


def test_a_damaged_record_hides_no_other_volume(tmp_path: Path, state: FakeState) -> None:
    daemon = driver(tmp_path, state)
    daemon.ensure_pool(POOL, deadline_s=S)
    daemon.create_volume(POOL, volume("a"), deadline_s=S)
    daemon.create_volume(POOL, volume("b"), deadline_s=S)
    (tmp_path / "vms" / "a" / "volume.json").write_text("{")
    found = {one.name: one.id for one in daemon.list_volumes(POOL, deadline_s=S)}
    assert found == {"a": "", "b": "id-b"}
    with pytest.raises(Permanent, match="damaged"):
        daemon.attach(POOL, volume("a"), vm_uuid="u", read_only=False, deadline_s=S)


def test_what_a_killed_daemon_left_is_swept_by_the_next(tmp_path: Path, state: FakeState) -> None:
    first = driver(tmp_path, state)
    first.ensure_pool(POOL, deadline_s=S)
    first.create_volume(POOL, volume(), deadline_s=S)
    first.begin_upload(POOL, volume(), image_format="raw", size_bytes=None).write(b"data")
    staging = tmp_path / "vms" / ".pvc" / "staging" / "hv1"
    assert list(staging.iterdir())
    driver(tmp_path, state).ensure_pool(POOL, deadline_s=S)
    assert list(staging.iterdir()) == []


# --- shared pools


def shared(tmp_path: Path) -> Pool:
    return Pool(name="vms", driver="storage_dir", options={"shared": "true", "path": str(tmp_path / "nfs")})


def test_nodes_on_one_file_system_see_each_other(tmp_path: Path, state: FakeState) -> None:
    pool = shared(tmp_path)
    nodes = [driver(tmp_path, state, node) for node in ("hv1", "hv2", "hv3")]
    for node in nodes:
        node.ensure_pool(pool, deadline_s=S)
    assert [node.sees_peers(pool, deadline_s=S) for node in nodes] == [True, True, True]
    restarted = driver(tmp_path, state, "hv2")
    restarted.ensure_pool(pool, deadline_s=S)
    assert all(node.sees_peers(pool, deadline_s=S) for node in (*nodes, restarted))


def test_a_pool_removed_and_made_again_is_believed_again(tmp_path: Path, state: FakeState) -> None:
    pool = shared(tmp_path)
    one, other = driver(tmp_path, state, "hv1"), driver(tmp_path, state, "hv2")
    for node in (one, other):
        node.ensure_pool(pool, deadline_s=S)
    one.remove_pool(pool, deadline_s=S)
    for node in (one, other):
        node.ensure_pool(pool, deadline_s=S)
    assert one.sees_peers(pool, deadline_s=S) and other.sees_peers(pool, deadline_s=S)


def test_threads_that_make_the_pool_at_once_leave_one_token(tmp_path: Path, state: FakeState) -> None:
    pool = shared(tmp_path)
    for _round in range(10):
        node = driver(tmp_path, state)
        with ThreadPoolExecutor(4) as threads:
            for made in [threads.submit(node.ensure_pool, pool, deadline_s=S) for _ in range(4)]:
                made.result()
        assert node.sees_peers(pool, deadline_s=S)


def test_a_node_with_a_copy_of_the_pool_is_found_out(tmp_path: Path, state: FakeState) -> None:
    """The same files on two file systems: the pool's id is right on both, what is written anew is not."""
    pool = shared(tmp_path)
    one, other = driver(tmp_path, state, "hv1"), driver(tmp_path, state, "hv2")
    one.ensure_pool(pool, deadline_s=S)
    other.ensure_pool(pool, deadline_s=S)
    shutil.copytree(tmp_path / "nfs", tmp_path / "copy")
    (tmp_path / "nfs").rename(tmp_path / "real")
    (tmp_path / "copy").rename(tmp_path / "nfs")
    restarted = driver(tmp_path, state, "hv2")
    restarted.ensure_pool(pool, deadline_s=S)  # writes its new token into the copy
    (tmp_path / "nfs").rename(tmp_path / "copy")
    (tmp_path / "real").rename(tmp_path / "nfs")
    assert one.sees_peers(pool, deadline_s=S) is False


def test_a_node_whose_share_is_not_mounted_makes_no_second_pool(tmp_path: Path, state: FakeState) -> None:
    pool = shared(tmp_path)
    driver(tmp_path, state, "hv1").ensure_pool(pool, deadline_s=S)
    (tmp_path / "nfs").rename(tmp_path / "real")
    (tmp_path / "nfs").mkdir()
    late = driver(tmp_path, state, "hv2")
    with pytest.raises(Permanent, match="mounted"):
        late.ensure_pool(pool, deadline_s=S)
    with pytest.raises(Permanent):
        late.sees_peers(pool, deadline_s=S)
    assert list((tmp_path / "nfs").iterdir()) == []


def test_of_two_nodes_that_make_the_pool_at_once_one_is_found_out(tmp_path: Path) -> None:
    """hv2 looks into the store before hv1 has written there, and finds its mount point empty too."""
    pool = shared(tmp_path)

    class LateLook(FakeState):
        blind = True

        def get(self, key: str) -> tuple[bytes, int]:
            if self.blind:
                self.blind = False
                (tmp_path / "nfs").rename(tmp_path / "real")
                (tmp_path / "nfs").mkdir()
                return FakeState().get(key)
            return super().get(key)

    state = LateLook()
    state.blind = False
    driver(tmp_path, state, "hv1").ensure_pool(pool, deadline_s=S)
    state.blind = True
    with pytest.raises(Permanent, match="mounted"):
        driver(tmp_path, state, "hv2").ensure_pool(pool, deadline_s=S)
    assert list((tmp_path / "nfs").iterdir()) == []
    assert (tmp_path / "real" / ".pvc" / "pool.json").exists()


# --- the plugin


def test_the_plugin_builds_its_driver(tmp_path: Path) -> None:
    plugin = StorageDir(Config().load({"path": str(tmp_path)}))
    drivers = plugin.build_drivers(FakeContext(plugin.config))
    assert drivers.storage is not None and drivers.hooks is not None
    assert plugin.storage.shared({"shared": "true"}) and not plugin.storage.shared({})


@pytest.mark.parametrize("path", ["volumes", "/var/../etc", "/", "/var//x", "/x\0y"])
def test_a_path_with_detours_is_not_taken(path: str) -> None:
    from marshmallow import ValidationError

    with pytest.raises(ValidationError):
        Config().load({"path": path})


@pytest.mark.skipif(not may_mount(), reason="needs root and unshare, to mount a small file system of its own")
def test_health_names_a_full_pool() -> None:
    with small_file_system(10 * 1024**2) as path:
        daemon = driver(Path("/nowhere"), FakeState())
        pool = Pool(name="vms", driver="storage_dir", options={"path": path})
        daemon.ensure_pool(pool, deadline_s=S)
        health = Health(daemon.pools)
        assert health.pvc_collect_health() == []
        (Path(path) / "ballast").write_bytes(bytes(int(8.5 * 1024**2)))
        (finding,) = health.pvc_collect_health()
        assert finding.delta == 10 and 'pool "vms" is 85 % full' in finding.message
        (Path(path) / "ballast").write_bytes(bytes(int(9.8 * 1024**2)))
        (finding,) = health.pvc_collect_health()
        assert finding.delta == 50
        shutil.rmtree(Path(path) / ".pvc")
        (finding,) = health.pvc_collect_health()
        assert "mounted" in finding.message


def test_a_volume_of_another_node_is_not_attached_here(tmp_path: Path) -> None:
    rig = DirRig(tmp_path, {})
    daemon = rig.driver()
    daemon.ensure_pool(rig.pool, deadline_s=S)
    with pytest.raises(Refused, match="on node hv7, not here"):
        daemon.attach(rig.pool, volume(home="hv7"), vm_uuid="u", read_only=False, deadline_s=S)
