# SPDX-License-Identifier: LGPL-3.0-or-later
"""The part of contract_storage.py about thin clones, diffs and volumes that PVC did not make."""

from __future__ import annotations

import pytest

from pvc_core.contracts.storage import adopted_id
from pvc_core.errors import NotFound, PvcError, Refused
from pvc_core.model.storage import Snapshot, Volume
from pvc_core.testing.storage_rig import DEADLINE_S, pattern, snapshot
from pvc_core.testing.storage_user import StorageUser

about = pytest.mark.pvc_capability
_PART = 65536


class MoreQuestions:
    """Mixed into StorageContract, which gives `user`."""

    # --- thin clones

    @about("thin_clone")
    def test_a_thin_clone_has_the_content_and_goes_its_own_way(self, user: StorageUser) -> None:
        source, target = user.volume("a"), user.volume("b")
        if not user.can.thin_clone:
            user.create(source)
            with pytest.raises(Refused):
                _thin(user, source, target)
            with pytest.raises(Refused):
                _flatten(user, source)
            return
        source, data = user.make_filled("a")
        for _again in range(3):
            assert _thin(user, source, target).id == target.id
        assert user.read(target) == data and user.listed() == {"a": source.id, "b": target.id}
        user.rig.guest_writes(user.attach(target), 0, pattern(7, _PART))
        user.rig.guest_writes(user.attach(source), _PART, pattern(8, _PART))
        assert user.read(target) == pattern(7, _PART) + data[_PART:]
        assert user.read(source) == data[:_PART] + pattern(8, _PART) + data[2 * _PART :]

    @about("thin_clone")
    def test_what_a_thin_clone_needs_stays_until_it_is_flattened(self, user: StorageUser) -> None:
        user.needs("thin_clone")
        source, data = user.make_filled("a")
        target = user.volume("b")
        _thin(user, source, target)
        with pytest.raises(Refused):
            user.remove(source)
        with pytest.raises(Refused):
            user.upload(source, pattern(9, 4096))
        assert user.listed() == {"a": source.id, "b": target.id} and user.read(source) == data
        for _again in range(3):
            _flatten(user, target)
        user.remove(source)
        assert user.read(target) == data and user.listed() == {"b": target.id}

    @about("thin_clone")
    def test_a_thin_clone_of_a_thin_clone(self, user: StorageUser) -> None:
        user.needs("thin_clone")
        first, data = user.make_filled("a")
        second, third = user.volume("b"), user.volume("c")
        _thin(user, first, second)
        _thin(user, second, third)
        _flatten(user, third)
        user.remove(second)
        user.remove(first)
        assert user.read(third) == data

    # --- diffs

    @about("diffs")
    @pytest.mark.parametrize("version", [1, 2])
    def test_diffs_make_the_same_volume_elsewhere(self, user: StorageUser, version: int) -> None:
        source = user.make("a")
        if not user.can.diffs:
            with pytest.raises(Refused):
                b"".join(user.driver.export_diff(user.pool, source, snapshot="s1"))
            with pytest.raises(Refused):
                user.driver.begin_diff(user.pool, source, snapshot=snapshot("s1"))
            return
        states = self._history(user, source)
        copy = user.make("b")
        older = ""
        for name, content in states.items():
            stream = _diff(user, source, name, older, version)
            snap = snapshot(name)
            _apply(user, copy, stream, snap, older)
            assert user.read(copy) == content and user.read(copy, snapshot=name) == content
            assert next(one.size_bytes for one in user.found() if one.id == copy.id) == len(content)
            older = name
        assert user.snapshots_of(copy) == tuple(states)
        assert user.read(copy, snapshot="s1") == states["s1"]

    @about("diffs")
    def test_a_diff_is_small_when_little_changed(self, user: StorageUser) -> None:
        user.needs("diffs")
        source, _data = user.make_filled("a")
        user.snap(source, snapshot("s1"))
        user.rig.guest_writes(user.attach(source), _PART, pattern(5, 8192))
        user.snap(source, snapshot("s2"))
        assert 8192 <= len(_diff(user, source, "s2", "s1", 1)) < 200_000

    @about("diffs")
    @pytest.mark.parametrize("fault", ["cut", "garbage", "other parent", "trailing", "aborted"])
    def test_a_bad_diff_changes_nothing(self, user: StorageUser, fault: str) -> None:
        user.needs("diffs")
        source = user.make("a")
        states = self._history(user, source)
        copy = user.make("b")
        _apply(user, copy, _diff(user, source, "s1", "", 1), snapshot("s1"), "")
        good = _diff(user, source, "s2", "s1", 1)
        bad = {
            "cut": good[:-1],
            "garbage": good[:40] + b"?" * 40 + good[80:],
            "other parent": _diff(user, source, "s3", "s2", 1),
            "trailing": good + b"more",
            "aborted": good[: len(good) // 2],
        }[fault]
        if fault == "aborted":
            half = user.driver.begin_diff(user.pool, copy, snapshot=snapshot("s2"), since="s1")
            half.write(bad)
            half.abort()
        else:
            with pytest.raises(Refused):
                _apply(user, copy, bad, snapshot("s2"), "s1")
        assert user.read(copy) == states["s1"] and user.snapshots_of(copy) == ("s1",)
        user.attach(copy)
        _apply(user, copy, good, snapshot("s2"), "s1")
        assert user.read(copy) == states["s2"]

    @about("diffs")
    def test_a_diff_goes_only_where_it_fits(self, user: StorageUser) -> None:
        user.needs("diffs")
        source = user.make("a")
        self._history(user, source)
        full, later = _diff(user, source, "s1", "", 1), _diff(user, source, "s2", "s1", 1)
        copy = user.make("b")
        with pytest.raises(NotFound):
            _apply(user, copy, later, snapshot("s2"), "s1")
        _apply(user, copy, full, snapshot("s1"), "")
        with pytest.raises(PvcError):
            _apply(user, copy, full, snapshot("s9"), "")
        user.rig.guest_writes(user.attach(copy), 0, pattern(6, 4096))
        written = user.read(copy)
        with pytest.raises(Refused):
            _apply(user, copy, later, snapshot("s2"), "s1")
        assert user.read(copy) == written and user.snapshots_of(copy) == ("s1",)

    def _history(self, user: StorageUser, volume: Volume) -> dict[str, bytes]:
        """Content by snapshot: written, overwritten and zeroed in parts, grown."""
        states: dict[str, bytes] = {}
        for number, (offset, data) in enumerate(
            [(0, pattern(1, 3 * _PART)), (_PART, bytes(_PART)), (2 * _PART, pattern(2, 777))], 1
        ):
            if number == 3:
                user.resize(volume, 2 * volume.size_bytes)
            user.rig.guest_writes(user.attach(volume), offset, data)
            user.snap(volume, snapshot(f"s{number}"))
            states[f"s{number}"] = user.read(volume)
        return states

    # --- reports

    @about("reports")
    def test_a_report_tells_of_every_volume(self, user: StorageUser) -> None:
        volume, _data = user.make_filled("a")
        user.make("b")
        if not user.can.reports:
            with pytest.raises(Refused):
                user.driver.report([user.pool], deadline_s=DEADLINE_S)
            return
        report = user.driver.report([user.pool], deadline_s=DEADLINE_S)
        used = report.volumes
        assert used.keys() == {f"{user.pool.name}/a", f"{user.pool.name}/b"}
        assert used[f"{user.pool.name}/a"] == volume.size_bytes > used[f"{user.pool.name}/b"]
        assert all(fault.id and fault.weight and fault.message for fault in report.faults)
        assert report.silent or report.usage.keys() <= {user.pool.name}
        for usage in report.usage.values():
            assert usage.total_bytes >= usage.used_bytes >= volume.size_bytes

    # --- volumes that PVC did not make

    @about("adopt")
    def test_a_volume_made_outside_is_taken_over(self, user: StorageUser) -> None:
        volume, data = user.volume("theirs"), pattern(3, user.rig.unit_bytes)
        if not user.can.adopt:
            with pytest.raises(Refused):
                user.driver.adopt_volume(user.pool, volume, deadline_s=DEADLINE_S)
            return
        with pytest.raises(NotFound):
            user.driver.adopt_volume(user.pool, volume, deadline_s=DEADLINE_S)
        if not user.rig.make_outside("theirs", data):
            pytest.skip("the rig cannot make a volume as PVC would not")
        assert user.listed() == {"theirs": ""}
        for _again in range(3):
            found = user.driver.adopt_volume(user.pool, volume, deadline_s=DEADLINE_S)
            assert (found.id, found.size_bytes) == (volume.id, len(data))
        assert user.listed() == {"theirs": volume.id} and user.read(volume) == data
        for name in found.snapshots:
            kept = Snapshot(name=name, id=adopted_id(volume.id, name), size_bytes=0)
            user.driver.remove_snapshot(user.pool, volume, kept, deadline_s=DEADLINE_S)
        assert user.snapshots_of(volume) == ()
        with pytest.raises(Refused):
            user.driver.adopt_volume(user.pool, user.volume("theirs"), deadline_s=DEADLINE_S)


def _thin(user: StorageUser, source: Volume, target: Volume) -> Volume:
    found = user.driver.clone_thin(user.pool, source, target, deadline_s=DEADLINE_S)
    assert found.name == target.name
    return target


def _flatten(user: StorageUser, volume: Volume) -> None:
    user.driver.flatten_volume(user.pool, volume, progress=lambda *_: None, deadline_s=DEADLINE_S)


def _diff(user: StorageUser, volume: Volume, name: str, since: str, version: int) -> bytes:
    return b"".join(user.driver.export_diff(user.pool, volume, snapshot=name, since=since, version=version))


def _apply(user: StorageUser, volume: Volume, stream: bytes, snap: Snapshot, since: str) -> None:
    """As the core does it: in pieces of any length, abort after anything that went wrong."""
    diff = user.driver.begin_diff(user.pool, volume, snapshot=snap, since=since)
    try:
        for start in range(0, len(stream), 100_003):
            diff.write(stream[start : start + 100_003])
        diff.commit(lambda *_: None)
    except BaseException:  # an interruption too: what was begun is undone, and it is raised on
        diff.abort()
        raise
