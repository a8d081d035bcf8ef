"""The picture against real servers: after each fault of the store it equals it again, and a stale picture says so."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Conflict, NotFound, StoreUnavailable
from pvc_core.model.vm import VmWanted
from pvc_core.store.base import Store
from tests.store.rigs import ProcessRig, Pvcstored, ZooKeeper

pytestmark = pytest.mark.system


@pytest.fixture(params=[Pvcstored, ZooKeeper], ids=["pvcstored", "zookeeper"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProcessRig]:
    server = request.param(tmp_path)
    server.start()
    server.await_ready()
    made = ProcessRig(server)
    try:
        yield made
    finally:
        made.close()
        server.kill()


def test_equals_the_store_after_every_fault(rig: ProcessRig) -> None:
    reader = rig.client()
    keeper = ViewKeeper(reader, SystemClock())
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    repository, choose = Repository(rig.client()), random.Random(7)
    try:
        faults = {
            "nothing": lambda: None,
            "the server hangs": lambda: (rig.freeze(), rig.eventually(lambda: not keeper.view.fresh), rig.thaw()),
            "the server restarts": rig.restart,
            "the session expires": lambda: rig.expire(reader),
            "the connection is cut": lambda: _cut(rig, reader, keeper, lambda: _write(repository, choose)),
        }
        for name, fault in faults.items():
            _write(repository, choose)
            fault()
            _write(repository, choose)
            rig.eventually(lambda: keeper.view.fresh and keeper.settle(timeout_s=1.0) and keeper.differences() == [])
            assert keeper.view.vm_wanted, name
    finally:
        keeper.stop()
        thread.join(5.0)


def _cut(rig: ProcessRig, reader: Store, keeper: ViewKeeper, meanwhile: Callable[[], None]) -> None:
    rig.cut(reader)
    rig.eventually(lambda: not keeper.view.fresh)
    meanwhile()
    rig.mend(reader)


def _write(repository: Repository, choose: random.Random) -> None:
    """Twenty changes; while the store is away they are tried until it is back."""
    left = 20
    while left:
        id = f"u{choose.randrange(8)}"
        try:
            kept = repository.find(layout.VM_WANTED, id)
            if kept is None or choose.random() < 0.6:
                repository.save(layout.VM_WANTED, id, VmWanted(uuid=id, name=id, definition=str(choose.random())), kept)
            else:
                repository.drop(layout.VM_WANTED, id, if_version=kept.version)
        except StoreUnavailable:
            threading.Event().wait(0.1)
            continue
        except (Conflict, NotFound):
            pass
        left -= 1
