# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions every storage driver is asked. Subclass StorageContract in a test file and give it a fixture `rig`:

    class TestMine(StorageContract):
        @pytest.fixture
        def rig(self, tmp_path):
            return MyRig(tmp_path)

Each test says which capability it is about; pytest_plugin.py sums them up at the end. What a driver declares must work,
what it does not declare must be Refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pvc_core.contracts.storage import StorageCapabilities, StorageDriver
from pvc_core.contracts.targets import Block, DiskSource, File, Iscsi, Nbd, Rbd
from pvc_core.errors import Exists, NotFound, Permanent, Refused, Retry
from pvc_core.model.storage import Pool, Snapshot, Volume
from pvc_core.testing.contract_storage_images import ImageQuestions
from pvc_core.testing.contract_storage_more import MoreQuestions
from pvc_core.testing.storage_rig import DEADLINE_S, StorageRig, pattern, snapshot
from pvc_core.testing.storage_user import StorageUser

about = pytest.mark.pvc_capability
HOSTILE_NAMES = ("", ".", "..", "../evil", "a/b", "/etc/passwd", "a\0b", "a\nb", "-rf", ".pvc", "n" * 300, "café")


class StorageContract(ImageQuestions, MoreQuestions):
    """Everything the contract promises, as a driver's caller sees it."""

    @pytest.fixture
    def rig(self) -> StorageRig:
        raise NotImplementedError("give your class a fixture called rig that returns a StorageRig")

    @pytest.fixture
    def user(self, rig: StorageRig) -> Iterator[StorageUser]:
        user = StorageUser(rig, rig.driver(), rig.pool)
        user.driver.ensure_pool(rig.pool, deadline_s=DEADLINE_S)
        yield user
        assert not rig.debris(), "something half-made was left behind"

    # --- pools

    @about("core")
    def test_capabilities_are_well_formed(self, rig: StorageRig) -> None:
        can = rig.definitions.capabilities
        assert isinstance(can, StorageCapabilities)
        assert can.disk_sources and set(can.disk_sources) <= {File, Block, Rbd, Nbd, Iscsi}
        assert can.formats and can.online_resize in ("", "driver", "hypervisor")
        assert isinstance(rig.definitions.shared(rig.definitions.pool_options().load(dict(rig.pool.options))), bool)

    @about("core")
    def test_ensuring_a_pool_again_changes_nothing(self, user: StorageUser) -> None:
        volume = user.make("a")
        for _again in range(10):
            user.rig.driver().ensure_pool(user.pool, deadline_s=DEADLINE_S)
        assert user.listed() == {volume.name: volume.id}

    @about("core")
    def test_a_pool_that_holds_a_volume_is_not_removed(self, user: StorageUser) -> None:
        volume = user.make("a")
        with pytest.raises(Refused):
            user.driver.remove_pool(user.pool, deadline_s=DEADLINE_S)
        assert user.listed() == {"a": volume.id}

    @about("core")
    def test_an_empty_pool_is_removed_and_can_be_made_again(self, user: StorageUser) -> None:
        user.remove(user.make("a"))
        for _again in range(10):
            user.rig.driver().remove_pool(user.pool, deadline_s=DEADLINE_S)
        user.driver.ensure_pool(user.pool, deadline_s=DEADLINE_S)
        assert user.listed() == {}

    @about("core")
    def test_usage_is_plausible(self, user: StorageUser) -> None:
        user.fill(user.make("a"), seed=1)
        usage = user.driver.pool_usage(user.pool, deadline_s=DEADLINE_S)
        assert 0 < usage.used_bytes <= usage.total_bytes and 0 <= usage.free_bytes <= usage.total_bytes
        assert usage.stored_bytes > 0

    # --- volumes

    @about("core")
    def test_creating_again_changes_nothing(self, user: StorageUser) -> None:
        volume = user.volume("a")
        first = user.create(volume)
        data = user.fill(volume, seed=1)
        for _again in range(10):
            again = user.rig.driver().create_volume(user.pool, volume, deadline_s=DEADLINE_S)
            assert (again.id, again.name, again.size_bytes) == (volume.id, "a", first.size_bytes)
        assert user.read(volume) == data

    @about("core")
    def test_a_new_volume_is_as_large_as_wanted_and_reads_as_zeros(self, user: StorageUser) -> None:
        volume = user.volume("a")
        found = user.create(volume)
        assert found.size_bytes == volume.size_bytes and found.format in user.can.formats
        assert user.read(volume) == bytes(volume.size_bytes)

    @about("core")
    def test_a_name_that_is_taken_is_refused_and_its_volume_untouched(self, user: StorageUser) -> None:
        volume = user.make("a")
        data = user.fill(volume, seed=1)
        with pytest.raises(Exists):
            user.create(user.volume("a"))
        assert user.listed() == {"a": volume.id} and user.read(volume) == data

    @about("core")
    def test_no_size_is_refused(self, user: StorageUser) -> None:
        with pytest.raises(Refused):
            user.create(user.volume("a", units=0))
        assert user.listed() == {}

    @about("core")
    def test_every_volume_is_listed(self, user: StorageUser) -> None:
        made = {name: user.make(name, units=1).id for name in ("a", "b.c", "D-4", "e_5")}
        assert user.listed() == made
        assert user.listed(user.rig.driver()) == made

    @about("core")
    def test_removing_again_changes_nothing(self, user: StorageUser) -> None:
        gone, stays = user.make("gone"), user.make("stays")
        for _again in range(10):
            user.rig.driver().remove_volume(user.pool, gone, deadline_s=DEADLINE_S)
        assert user.listed() == {"stays": stays.id}
        with pytest.raises(NotFound):
            user.attach(gone)

    @about("core")
    def test_only_an_equal_id_is_removed(self, user: StorageUser) -> None:
        volume = user.make("a")
        with pytest.raises(Refused):
            user.remove(user.volume("a"))
        assert user.listed() == {"a": volume.id}

    @about("core")
    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_a_hostile_name_is_refused(self, user: StorageUser, name: str) -> None:
        volume = user.make("a")
        for attempt in (
            lambda: user.create(user.volume(name)),
            lambda: user.driver.rename_volume(user.pool, volume, name, deadline_s=DEADLINE_S),
        ):
            with pytest.raises((Refused, Permanent)):
                attempt()
        assert user.listed() == {"a": volume.id}

    @about("core")
    def test_a_volume_is_renamed_once(self, user: StorageUser) -> None:
        volume = user.make("old")
        data = user.fill(volume, seed=1)
        for _again in range(10):
            user.rig.driver().rename_volume(user.pool, volume, "new", deadline_s=DEADLINE_S)
        assert user.listed() == {"new": volume.id}
        assert user.read(user.named(volume, "new")) == data

    @about("core")
    def test_a_rename_never_hides_another_volume(self, user: StorageUser) -> None:
        one, other = user.make("one"), user.make("other")
        with pytest.raises(Exists):
            user.driver.rename_volume(user.pool, one, "other", deadline_s=DEADLINE_S)
        with pytest.raises(NotFound):
            user.driver.rename_volume(user.pool, user.volume("ghost"), "x", deadline_s=DEADLINE_S)
        assert user.listed() == {"one": one.id, "other": other.id}

    @about("core")
    def test_growing_keeps_the_content(self, user: StorageUser) -> None:
        volume = user.make("a")
        data = user.fill(volume, seed=1)
        larger = 2 * volume.size_bytes
        for _again in range(10):
            found = user.rig.driver().resize_volume(user.pool, volume, larger, in_use=False, deadline_s=DEADLINE_S)
            assert found.size_bytes == larger
        assert user.read(volume) == data + bytes(larger - len(data))

    @about("shrink")
    def test_shrinking(self, user: StorageUser) -> None:
        volume = user.make("a")
        data = user.fill(volume, seed=1)
        smaller = volume.size_bytes // 2
        if user.can.shrink:
            assert user.resize(volume, smaller).size_bytes == smaller
            assert user.read(volume) == data[:smaller]
        else:
            with pytest.raises(Refused):
                user.resize(volume, smaller)
            assert user.read(volume) == data

    @about("online_resize")
    def test_resizing_in_use(self, user: StorageUser) -> None:
        volume = user.make("a")
        source = user.attach(volume)
        if not user.can.online_resize:
            with pytest.raises(Refused):
                user.resize(volume, 2 * volume.size_bytes, in_use=True)
        elif user.can.online_resize == "driver":
            assert user.resize(volume, 2 * volume.size_bytes, in_use=True).size_bytes == 2 * volume.size_bytes
        else:
            assert user.resize(volume, volume.size_bytes, in_use=True).size_bytes == volume.size_bytes
        assert user.attach(volume) == source

    @about("core")
    def test_attach_leads_to_the_bytes(self, user: StorageUser) -> None:
        volume = user.make("a")
        source = user.attach(volume)
        assert isinstance(source, user.can.disk_sources)
        user.rig.guest_writes(source, 4096, b"written by a guest")
        assert all(user.attach(volume, user.rig.driver()) == source for _again in range(10))
        for _again in range(10):
            user.driver.detach(user.pool, volume, vm_uuid=user.vm_uuid, deadline_s=DEADLINE_S)
        assert user.read(volume)[4096:4114] == b"written by a guest"

    @about("core")
    def test_attach_never_makes_bytes(self, user: StorageUser) -> None:
        with pytest.raises(NotFound):
            user.attach(user.volume("ghost"))
        volume = user.make("a")
        if user.rig.lose_bytes(volume):
            with pytest.raises(NotFound):
                user.attach(volume)
        assert "ghost" not in user.listed()

    @about("core")
    def test_another_node_attaches_only_what_is_shared(self, user: StorageUser) -> None:
        elsewhere = user.rig.driver_elsewhere()
        if elsewhere is None:
            pytest.skip("the rig has no second node")
        volume = user.make("a")
        elsewhere.ensure_pool(user.pool, deadline_s=DEADLINE_S)
        if user.rig.definitions.shared(user.pool.options):
            assert _same_bytes(user.attach(volume, elsewhere), user.attach(volume))
        else:
            with pytest.raises((Refused, NotFound)):
                user.attach(volume, elsewhere)

    @about("core")
    def test_a_call_without_time_does_all_or_nothing(self, user: StorageUser) -> None:
        volume = user.volume("a")
        try:
            user.driver.create_volume(user.pool, volume, deadline_s=0.0)
        except Retry:
            assert user.listed() == {}
        else:
            assert user.listed() == {"a": volume.id}

    # --- clones

    @about("clone")
    def test_a_clone_is_complete_and_independent(self, user: StorageUser) -> None:
        source, target = user.make("source"), user.volume("target")
        if not user.can.clone:
            with pytest.raises(Refused):
                user.clone(source, target)
            assert user.listed() == {"source": source.id}
            return
        data = user.fill(source, seed=1)
        for _again in range(10):
            assert user.clone(source, target, user.rig.driver()).id == target.id
        user.rig.guest_writes(user.attach(source), 0, b"changed")
        assert user.read(target) == data
        user.remove(source)
        assert user.read(target) == data

    @about("clone")
    def test_a_clone_needs_its_source_and_a_free_name(self, user: StorageUser) -> None:
        user.needs("clone")
        source, other = user.make("source"), user.make("other")
        with pytest.raises(NotFound):
            user.clone(user.volume("ghost"), user.volume("target"))
        with pytest.raises(Exists):
            user.clone(source, user.volume("other"))
        assert user.listed() == {"source": source.id, "other": other.id}

    # --- snapshots

    @about("snapshots")
    def test_snapshots_of_nothing_or_undeclared_are_refused(self, user: StorageUser) -> None:
        volume, snap = user.make("a"), snapshot("s")
        wrong, error = (user.volume("ghost"), NotFound) if user.can.snapshots else (volume, Refused)
        for attempt in (
            lambda: user.snap(wrong, snap),
            lambda: user.rollback(wrong, snap),
            lambda: user.driver.rename_snapshot(user.pool, wrong, snap, "t", deadline_s=DEADLINE_S),
        ):
            with pytest.raises(error):
                attempt()
        assert user.snapshots_of(volume) == () and user.listed() == {"a": volume.id}

    @about("snapshots")
    def test_rollback_brings_content_and_size_back(self, user: StorageUser) -> None:
        user.needs("snapshots")
        volume, snap = user.make("a"), snapshot("s")
        before = user.fill(volume, seed=1)
        for _again in range(10):
            user.snap(volume, snap, user.rig.driver())
        user.rig.guest_writes(user.attach(volume), 0, pattern(2, 8192))
        user.resize(volume, 2 * volume.size_bytes)
        assert user.read(volume)[: len(before)] != before
        assert b"".join(user.driver.export_volume(user.pool, volume, snapshot="s")) == before
        for _again in range(10):
            user.rollback(volume, snap, user.rig.driver())
        assert user.read(volume) == before
        assert user.snapshots_of(volume) == ("s",)

    @about("snapshots")
    def test_snapshots_have_names_of_their_own(self, user: StorageUser) -> None:
        user.needs("snapshots")
        volume, one, other = user.make("a"), snapshot("one"), snapshot("other")
        user.snap(volume, one)
        user.snap(volume, other)
        with pytest.raises(Exists):
            user.snap(volume, snapshot("one"))
        with pytest.raises(Exists):
            user.driver.rename_snapshot(user.pool, volume, one, "other", deadline_s=DEADLINE_S)
        for _again in range(10):
            user.rig.driver().rename_snapshot(user.pool, volume, one, "first", deadline_s=DEADLINE_S)
        assert sorted(user.snapshots_of(volume)) == ["first", "other"]

    @about("snapshots")
    def test_a_snapshot_is_removed_alone_and_with_its_volume(self, user: StorageUser) -> None:
        user.needs("snapshots")
        volume, one, other = user.make("a"), snapshot("one"), snapshot("other")
        data = user.fill(volume, seed=1)
        user.snap(volume, one)
        user.snap(volume, other)
        for _again in range(10):
            user.rig.driver().remove_snapshot(user.pool, volume, one, deadline_s=DEADLINE_S)
        assert user.snapshots_of(volume) == ("other",) and user.read(volume) == data
        with pytest.raises(NotFound):
            user.rollback(volume, one)
        user.remove(volume)
        user.driver.remove_snapshot(user.pool, volume, other, deadline_s=DEADLINE_S)
        assert user.listed() == {}

    @about("online_snapshots")
    def test_a_snapshot_in_use(self, user: StorageUser) -> None:
        volume, snap = user.make("a"), snapshot("s")
        user.attach(volume)
        if not user.can.online_snapshots:
            with pytest.raises(Refused):
                user.snap(volume, snap, in_use=True)
            assert user.snapshots_of(volume) == ()
        else:
            user.snap(volume, snap, in_use=True)
            assert user.snapshots_of(volume) == ("s",)

    # --- space

    @about("space")
    def test_a_volume_larger_than_the_pool_is_refused(self, rig: StorageRig) -> None:
        user, total = self._small(rig)
        volume = user.volume("a", units=2 * total // rig.unit_bytes)
        with pytest.raises(Refused):
            user.create(volume)
        small = user.make("small", units=1)
        with pytest.raises(Refused):
            user.resize(small, 2 * total)
        assert user.listed() == {"small": small.id}
        user.remove(small)

    @about("space")
    def test_out_of_space_is_one_error_and_leaves_nothing(self, rig: StorageRig) -> None:
        user, total = self._small(rig)
        full, other = (
            user.make("full", units=total // rig.unit_bytes),
            user.make("other", units=total // rig.unit_bytes),
        )
        data = pattern(1, 6 * total // 10)
        user.rig.guest_writes(user.attach(full), 0, data)
        before = user.usage().used_bytes
        attempts: dict[str, Callable[[], object]] = {"upload": lambda: user.upload(other, data)}
        if user.can.clone:
            attempts["clone"] = lambda: user.clone(full, user.volume("clone"))
        for what, attempt in attempts.items():
            with pytest.raises(Refused):
                attempt()
            assert user.listed() == {"full": full.id, "other": other.id}, what
            assert not rig.debris(), what
            assert user.usage().used_bytes <= before + rig.unit_bytes, what
        assert user.read(full)[: len(data)] == data and not any(user.read(other))
        user.remove(full)
        user.upload(other, data[: total // 4])
        assert user.read(other)[: total // 4] == data[: total // 4]
        user.remove(other)

    # --- crashes

    @about("crash")
    @pytest.mark.parametrize(
        "call", ["create", "remove", "rename", "resize", "upload", "clone", "snapshot", "rollback"]
    )
    def test_a_call_killed_at_any_moment_is_completed_by_the_next(self, user: StorageUser, call: str) -> None:
        if call in ("snapshot", "rollback"):
            user.needs("snapshots")
        elif call == "clone":
            user.needs("clone")
        moments = random.Random(call)
        for number in range(user.rig.crash_rounds):
            getattr(self, f"_killed_{call}")(user, f"{call}-{number}", moments.random())

    def _killed_create(self, user: StorageUser, name: str, moment: float) -> None:
        volume = user.volume(name)
        user.rig.interrupt(lambda driver: driver.create_volume(user.pool, volume, deadline_s=DEADLINE_S), moment)
        after = user.restarted()
        if after.listed().get(name):
            assert after.read(volume) == bytes(volume.size_bytes)
        after.insist(lambda: after.create(volume))
        assert after.read(volume) == bytes(volume.size_bytes)
        after.remove(volume)

    def _killed_remove(self, user: StorageUser, name: str, moment: float) -> None:
        volume, data = user.make_filled(name)
        user.rig.interrupt(lambda driver: driver.remove_volume(user.pool, volume, deadline_s=DEADLINE_S), moment)
        after = user.restarted()
        if after.listed().get(name):
            assert after.read(volume) == data
        after.insist(lambda: after.remove(volume))
        assert name not in after.listed()

    def _killed_rename(self, user: StorageUser, name: str, moment: float) -> None:
        volume, data = user.make_filled(name)
        new = f"{name}-new"
        user.rig.interrupt(lambda driver: driver.rename_volume(user.pool, volume, new, deadline_s=DEADLINE_S), moment)
        after = user.restarted()
        assert [found for found in (name, new) if after.listed().get(found) == volume.id], "it has exactly one name"
        after.insist(lambda: after.driver.rename_volume(user.pool, volume, new, deadline_s=DEADLINE_S))
        assert after.listed() == {new: volume.id} and after.read(user.named(volume, new)) == data
        after.remove(user.named(volume, new))

    def _killed_resize(self, user: StorageUser, name: str, moment: float) -> None:
        volume, data = user.make_filled(name)
        size = 2 * volume.size_bytes

        def resize(driver: StorageDriver) -> Any:
            return driver.resize_volume(user.pool, volume, size, in_use=False, deadline_s=DEADLINE_S)

        user.rig.interrupt(resize, moment)
        after = user.restarted()
        assert after.read(volume)[: len(data)] == data
        after.insist(lambda: resize(after.driver))
        assert after.read(volume) == data + bytes(size - len(data))
        after.remove(volume)

    def _killed_upload(self, user: StorageUser, name: str, moment: float) -> None:
        volume, old = user.make_filled(name)
        new = pattern(99, volume.size_bytes)
        user.rig.interrupt(lambda driver: user.upload(volume, new, driver), moment)
        after = user.restarted()
        assert after.read(volume) in (old, new)
        after.insist(lambda: after.upload(volume, new))
        assert after.read(volume) == new
        after.remove(volume)

    def _killed_clone(self, user: StorageUser, name: str, moment: float) -> None:
        source, data = user.make_filled(f"{name}-source")
        target = user.volume(name)
        user.rig.interrupt(lambda driver: user.clone(source, target, driver), moment)
        after = user.restarted()
        if after.listed().get(name):
            assert after.read(target) == data
        after.insist(lambda: after.clone(source, target))
        assert after.read(target) == data and after.read(source) == data
        after.remove(source)
        after.remove(target)

    def _killed_snapshot(self, user: StorageUser, name: str, moment: float) -> None:
        volume, data = user.make_filled(name)
        snap = snapshot("s")
        user.rig.interrupt(lambda driver: user.snap(volume, snap, driver), moment)
        after = user.restarted()
        assert after.read(volume) == data
        after.insist(lambda: after.snap(volume, snap))
        self._change_and_roll_back(after, volume, snap, data)
        after.remove(volume)

    def _killed_rollback(self, user: StorageUser, name: str, moment: float) -> None:
        volume, data = user.make_filled(name)
        snap = snapshot("s")
        user.snap(volume, snap)
        user.rig.guest_writes(user.attach(volume), 0, pattern(3, 65536))
        user.resize(volume, 2 * volume.size_bytes)
        changed = user.read(volume)
        user.rig.interrupt(lambda driver: user.rollback(volume, snap, driver), moment)
        after = user.restarted()
        try:
            after.attach(volume)
        except Retry:
            pass
        else:
            assert after.read(volume) in (changed, data), "usable, but neither the old nor the new content"
        after.insist(lambda: after.rollback(volume, snap))
        assert after.read(volume) == data
        after.remove(volume)

    def _change_and_roll_back(self, user: StorageUser, volume: Volume, snap: Snapshot, data: bytes) -> None:
        user.rig.guest_writes(user.attach(volume), 0, pattern(3, 65536))
        user.rollback(volume, snap)
        assert user.read(volume) == data

    def _small(self, rig: StorageRig) -> tuple[StorageUser, int]:
        pool: Pool | None = rig.small_pool
        if pool is None:
            pytest.skip("the rig has no small pool")
        user = StorageUser(rig, rig.driver(), pool)
        user.driver.ensure_pool(pool, deadline_s=DEADLINE_S)
        return user, user.usage().total_bytes


def _same_bytes(one: DiskSource, other: DiskSource) -> bool:
    """Each node may have a key of its own."""
    if isinstance(one, Rbd) and isinstance(other, Rbd):
        return (one.pool, one.image) == (other.pool, other.image)
    return one == other
