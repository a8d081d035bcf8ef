"""Pools, volumes, snapshots: the service of all three. What takes time or can fail in a driver is a task that these
calls wait for. Its parts: pools.py, volumes.py, volume_data.py, snapshots.py, on storage_tasks.py and storage_known.py.
"""

from __future__ import annotations

from pvc_core.services.pools import Pools
from pvc_core.services.snapshots import Snapshots
from pvc_core.services.volume_data import VolumeData


class StorageService(Pools, Snapshots, VolumeData):
    __slots__ = ()
