"""The questions that every storage driver is asked: one fixture is all that is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pvc_storage_example import Definitions, StorageExample
from pvc_storage_example.driver import Driver

from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.contract_storage import StorageContract
from pvc_core.testing.storage_rig import StorageRig


class Rig(StorageRig):
    """A pool in a temporary directory. What else a rig may offer stands in pvc_core/testing/storage_rig.py."""

    def __init__(self, tmp_path: Path) -> None:
        self.definitions = Definitions()
        self.pool = Pool(name="vms", driver="storage_example")
        self.path = tmp_path
        self.state = FakeState()

    def driver(self) -> Driver:
        return Driver(FakeContext({"path": str(self.path)}, state=self.state))

    def lose_bytes(self, volume: Volume) -> bool:
        (self.path / "vms" / f"{volume.id}.raw").unlink()
        return True

    def debris(self) -> Sequence[str]:
        return [str(path) for path in self.path.rglob("*.new")]


class TestStorageExample(StorageContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return Rig(tmp_path)


def test_a_note_is_kept_and_lost_bytes_show_in_health(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    context = FakeContext({"path": str(tmp_path)}, state=rig.state)
    drivers = StorageExample(context.config).build_drivers(context)
    assert isinstance(drivers.storage, Driver) and drivers.hooks is not None
    drivers.storage.ensure_pool(rig.pool, deadline_s=5)
    volume = rig.volume("db")
    drivers.storage.create_volume(rig.pool, volume, deadline_s=5)
    note = {"pool": "vms", "volume": "db"}
    drivers.actions["note"]({**note, "text": "ask Ann"}, lambda *_: None)
    assert drivers.actions["note"]({**note, "text": ""}, lambda *_: None) == {"volume": "db", "note": "ask Ann"}
    assert drivers.hooks.pvc_collect_health() == []
    rig.lose_bytes(volume)
    assert "vms/db" in drivers.hooks.pvc_collect_health()[0].message
