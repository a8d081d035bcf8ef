# SPDX-License-Identifier: LGPL-3.0-or-later
"""The conformance suite's hands: calls on one storage driver as short words. No assertion lives here but needs()."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from pvc_core.contracts.storage import StorageCapabilities, StorageDriver
from pvc_core.contracts.targets import DiskSource
from pvc_core.errors import Retry
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, Volume, VolumeFound
from pvc_core.testing.storage_rig import DEADLINE_S, StorageRig, pattern

_T = TypeVar("_T")
_CHUNK_BYTES = 256 * 1024 + 1
"""Odd, so that no driver may count on whole blocks."""


class StorageUser:
    """Uses `driver` on `pool`; a call that takes a driver uses that one instead."""

    vm_uuid = "2b57194c-777e-54d9-9dee-6a6bada3c400"

    def __init__(self, rig: StorageRig, driver: StorageDriver, pool: Pool) -> None:
        self.rig, self.driver, self.pool = rig, driver, pool

    @property
    def can(self) -> StorageCapabilities:
        return self.rig.definitions.capabilities

    def needs(self, capability: str) -> None:
        """Skips the test when the capability is not declared."""
        if not getattr(self.can, capability):
            pytest.skip(f"capability {capability} is not declared")

    def restarted(self) -> StorageUser:
        """The same with the driver of a daemon that has just started."""
        user = StorageUser(self.rig, self.rig.driver(), self.pool)
        user.insist(lambda: user.driver.ensure_pool(self.pool, deadline_s=DEADLINE_S))
        return user

    def insist(self, call: Callable[[], _T], limit_s: float = 60.0) -> _T:
        """What the core does with Retry: ask again. A client that was killed may be missed after half a minute only."""
        end = time.monotonic() + limit_s
        while True:
            try:
                return call()
            except Retry:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def volume(self, name: str, units: int = 4) -> Volume:
        return self.rig.volume(name, units, self.pool)

    def named(self, volume: Volume, name: str) -> Volume:
        return replace(volume, name=name)

    def create(self, volume: Volume) -> VolumeFound:
        return self.driver.create_volume(self.pool, volume, deadline_s=DEADLINE_S)

    def make(self, name: str, units: int = 4) -> Volume:
        volume = self.volume(name, units)
        self.create(volume)
        return volume

    def make_filled(self, name: str) -> tuple[Volume, bytes]:
        volume = self.make(name)
        return volume, self.fill(volume, seed=1)

    def fill(self, volume: Volume, seed: int) -> bytes:
        """The volume's whole content from now on."""
        data = pattern(seed, volume.size_bytes)
        self.upload(volume, data)
        return data

    def upload(
        self, volume: Volume, image: bytes, driver: StorageDriver | None = None, *, image_format: str = "raw"
    ) -> None:
        """As the core does it: abort after anything that went wrong."""
        upload = (driver or self.driver).begin_upload(
            self.pool, volume, image_format=image_format, size_bytes=len(image)
        )
        try:
            for start in range(0, len(image), _CHUNK_BYTES):
                upload.write(image[start : start + _CHUNK_BYTES])
            upload.commit(_quietly)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            upload.abort()
            raise

    def read(self, volume: Volume, *, snapshot: str = "") -> bytes:
        return b"".join(self.driver.export_volume(self.pool, volume, snapshot=snapshot))

    def remove(self, volume: Volume) -> None:
        self.driver.remove_volume(self.pool, volume, deadline_s=DEADLINE_S)

    def resize(self, volume: Volume, size_bytes: int, *, in_use: bool = False) -> VolumeFound:
        return self.driver.resize_volume(self.pool, volume, size_bytes, in_use=in_use, deadline_s=DEADLINE_S)

    def attach(self, volume: Volume, driver: StorageDriver | None = None) -> DiskSource:
        return (driver or self.driver).attach(
            self.pool, volume, vm_uuid=self.vm_uuid, read_only=False, deadline_s=DEADLINE_S
        )

    def clone(self, source: Volume, target: Volume, driver: StorageDriver | None = None) -> VolumeFound:
        return (driver or self.driver).clone_volume(self.pool, source, target, progress=_quietly, deadline_s=DEADLINE_S)

    def snap(
        self, volume: Volume, snapshot: Snapshot, driver: StorageDriver | None = None, *, in_use: bool = False
    ) -> None:
        (driver or self.driver).create_snapshot(self.pool, volume, snapshot, in_use=in_use, deadline_s=DEADLINE_S)

    def rollback(self, volume: Volume, snapshot: Snapshot, driver: StorageDriver | None = None) -> None:
        (driver or self.driver).rollback_snapshot(self.pool, volume, snapshot, deadline_s=DEADLINE_S)

    def usage(self) -> PoolUsage:
        return self.driver.pool_usage(self.pool, deadline_s=DEADLINE_S)

    def found(self) -> list[VolumeFound]:
        return self.driver.list_volumes(self.pool, deadline_s=DEADLINE_S)

    def listed(self, driver: StorageDriver | None = None) -> dict[str, str]:
        """Id by name."""
        found = (driver or self.driver).list_volumes(self.pool, deadline_s=DEADLINE_S)
        names = [one.name for one in found]
        assert len(names) == len(set(names)), "a name is listed twice"
        return {one.name: one.id for one in found}

    def snapshots_of(self, volume: Volume) -> tuple[str, ...]:
        return next(one.snapshots for one in self.found() if one.id == volume.id)


def _quietly(_current: int, _total: int, _sentence: str) -> None:
    """Progress that nobody looks at."""
