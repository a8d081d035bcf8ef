"""The conformance report at the end of a run tells a broken driver from a good one, and what was not asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BROKEN = """
import pytest
from pvc_core.model.storage import Pool
from pvc_core.testing.contract_storage import StorageContract
from pvc_core.testing.storage import NO_CAPABILITIES, Crashed, FakeStorage, FakeStorageDefinitions, FakeStorageWorld
from pvc_core.testing.storage_rig import StorageRig


class Forgetful(FakeStorage):
    def remove_volume(self, pool, volume, *, deadline_s):
        '''Goes by the name.'''
        volumes = self._volumes(pool)
        for one in [one for one in volumes.values() if one.name == volume.name]:
            del volumes[one.id]


class Rig(StorageRig):
    def __init__(self):
        self.definitions = FakeStorageDefinitions(NO_CAPABILITIES)
        self.world = FakeStorageWorld(definitions=self.definitions)
        self.pool = Pool(name="vms", driver="fake")

    def driver(self):
        return Forgetful(self.world, "hv1")

    def guest_writes(self, source, offset, data):
        self.world.guest_writes(source, offset, data)


class TestForgetful(StorageContract):
    @pytest.fixture
    def rig(self):
        return Rig()
"""


def test_the_report_has_a_line_per_capability(tmp_path: Path) -> None:
    (tmp_path / "test_forgetful.py").write_text(_BROKEN)
    plugins = ["-p", "no:pvc", "-p", "pvc_core.testing.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-k", "equal or shrink or space", "test_forgetful.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if " questions" in line or "not asked" in line}
    assert "conformance of test_forgetful.py::TestForgetful" in done.stdout
    assert lines["core"].split(maxsplit=1)[1].startswith("BROKEN: 1 of ")
    assert "test_only_an_equal_id_is_removed" in done.stdout
    assert lines["shrink"].endswith("ok, 1 questions")
    assert lines["space"].endswith("not asked")
