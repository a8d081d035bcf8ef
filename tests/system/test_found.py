"""Small reproductions of what the system tests found, each the shortest way to the fault."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from pvc_core.model.storage import Pool
from pvc_core.testing.context import FakeState
from pvc_storage_dir.known import KnownPools
from pvc_storage_dir.pooldir import PoolDir

DEBRIS = 1_000


def test_the_sweep_of_a_new_daemon_takes_no_work_of_its_own(tmp_path: Path) -> None:
    """Work that begins while debris of the daemon before is swept must not lose its staging room to the sweep."""
    pool, state = Pool(name="vms", driver="storage_dir"), FakeState()
    PoolDir(pool, str(tmp_path), "hv1", KnownPools(state)).ensure()
    staging = tmp_path / "vms/.pvc/staging/hv1"
    for number in range(DEBRIS):
        (staging / f"debris{number}").touch()
    again = PoolDir(pool, str(tmp_path), "hv1", KnownPools(state))
    sweeping = threading.Thread(target=again.ensure)
    sweeping.start()
    while (staging / "debris0").exists() and (staging / f"debris{DEBRIS - 1}").exists():
        time.sleep(0.0005)
    with again.open().staging("work") as staged:
        time.sleep(0.5)
        assert Path(staged).is_dir()
    sweeping.join()
    assert list(staging.iterdir()) == []
