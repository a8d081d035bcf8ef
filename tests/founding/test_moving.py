"""From a real pvcstored to a real ZooKeeper: all of it, sealed before it moves, and once."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.config import load
from pvc_core.daemon.life import prepare
from pvc_core.daemon.noded import main
from pvc_core.daemon.opening import open_store
from pvc_core.errors import Refused, StoreUnavailable
from pvc_core.model.node import NodeWanted
from pvc_core.model.vm import Claim, Phase
from tests.daemon.test_identities import Locked
from tests.store.rigs import free_port

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Locked]:
    made = Locked(tmp_path)
    write(tmp_path, f"{{embedded: {{port: {made.port}}}}}")
    assert main(["init", "--config", str(tmp_path / "pvc.yaml"), "--node", "hv1"]) == 0
    made.start()
    yield made
    made.kill()


def write(root: Path, store: str) -> None:
    (root / "pvc.yaml").write_text(
        f"cluster: {{name: c, coordinators: [hv1]}}\nstore: {store}\nplugins: {{}}\n"
        f"paths: {{secrets: {root}/secrets, state: {root}/state, run: {root}/run}}\n"
    )


def run_zookeeper(root: Path) -> subprocess.Popen[bytes]:
    """What systemctl starts, once the command has written its files."""
    args = root / "state/zookeeper/java.args"
    while not args.exists():
        time.sleep(0.05)
    with (root / "zookeeper.log").open("ab") as log:
        return subprocess.Popen(["java", f"@{args}"], stdout=log, stderr=log, env=dict(os.environ))


def test_everything_moves_and_the_old_store_takes_no_more(
    server: Locked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, port = tmp_path / "pvc.yaml", free_port()
    old = Repository(open_store(load(file, node="hv1"), "node"))
    prepare(old.store, "c")
    for number in range(300):
        old.add(layout.CLAIMS, f"u{number}", Claim(uuid=f"u{number}", holder="hv1", phase=Phase.RUN))
    processes: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: processes.append(run_zookeeper(tmp_path)))
    thread.start()
    try:
        words = ["--config", str(file), "--node", "hv1"]
        assert main(["store", "move", "--port", str(port), *words]) == 0, capsys.readouterr().err
        with pytest.raises(StoreUnavailable, match="the store is sealed: its content was moved") as sealed:
            old.set(layout.CLAIMS, "u1", Claim(uuid="u1", holder="hv2"), if_version=None)
        assert not sealed.value.maybe_written
        server.restart()
        with pytest.raises(StoreUnavailable, match="the store is sealed"):
            Repository(open_store(load(file, node="hv1"), "node")).add(layout.NODE_WANTED, "x", NodeWanted(name="x"))
        assert main(["store", "move", "--port", str(port), *words]) == 1
        assert "holds a cluster's records already" in capsys.readouterr().err
        again = Repository(open_store(load(file, node="hv1"), "node"))  # `old` may still be on its way back
        claims = {id: kept.value for id, kept in again.all(layout.CLAIMS).items()}

        write(tmp_path, f"{{zookeeper: {{port: {port}}}}}")
        new, api = (Repository(open_store(load(file, node="hv1"), who)) for who in ("node", "api"))
        assert {id: kept.value for id, kept in new.all(layout.CLAIMS).items()} == claims and len(claims) == 300
        assert new.get(layout.ERA, layout.ONLY).value.era == 2
        api.add(layout.NODE_WANTED, "hv1", NodeWanted(name="hv1"))
        with pytest.raises(Refused):
            api.set(layout.CLAIMS, "u1", claims["u1"], if_version=None)
        new.store.close()
        api.store.close()
    finally:
        old.store.close()
        thread.join(10)
        for process in processes:
            process.kill()
            process.wait(10)


def test_a_move_that_did_not_come_about_changes_nothing(
    server: Locked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(tmp_path / "pvc.yaml"), "--node", "hv1"]
    assert main(["store", "move", "--port", str(free_port()), "--wait", "1", *words]) == 1
    assert "does not answer after 1 s, so nothing was moved" in capsys.readouterr().err
    store = open_store(load(tmp_path / "pvc.yaml", node="hv1"), "node")
    prepare(store, "c")
    store.close()
    assert main(["store", "unseal", *words]) == 1
    assert "is not sealed" in capsys.readouterr().err
