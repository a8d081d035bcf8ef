"""docs/library.md: its examples run, one after the other, on a real embedded store; what it lists is there."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvc_core import CONFIG_FILE
from pvc_core.clock import SystemClock
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import ConfigError, load
from pvc_core.daemon.life import prepare
from pvc_core.daemon.opening import open_store
from pvc_core.errors import NotFound, StoreUnavailable
from pvc_core.founding.secrets import ensure_secrets
from pvc_core.library import connect
from pvc_core.services.all import Services
from tests.api.fake_node import FakeNode
from tests.api.rig import NODE, fill
from tests.store.rigs import Pvcstored

pytestmark = pytest.mark.system

MANUAL = (Path(__file__).parents[2] / "docs" / "library.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)


class Locked(Pvcstored):
    """As it is deployed, with secrets."""

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Locked]]:
    """A pvc.yaml whose store runs, with one fake node that does what is wanted; and its store."""
    tmp = tmp_path_factory.mktemp("library")
    server = Locked(tmp)
    ensure_secrets(server.secrets)
    server.start()
    file = tmp / "pvc.yaml"
    file.write_text(
        f"cluster: {{name: cluster1, coordinators: [{NODE}]}}\nstore: {{embedded: {{port: {server.port}}}}}\n"
        f"paths: {{secrets: {server.secrets}, state: {tmp}, run: {tmp}}}\n"
        f"plugins: {{compute_libvirt: {{}}, storage_dir: {{path: {tmp}/volumes}}}}\n"
        "use: {compute: compute_libvirt, default_pool: {name: vms, driver: storage_dir}}\n"
    )
    store = open_store(load(file, node=NODE), "node")
    prepare(store, "cluster1")
    repository, keeper = Repository(store), ViewKeeper(store, SystemClock(), live=True)
    fill(repository, "storage_dir")
    threading.Thread(target=keeper.run, daemon=True).start()
    keeper.settle()
    node = FakeNode(repository, keeper)
    node.start()
    try:
        yield file, server
    finally:
        node.stop()
        keeper.stop()
        store.close()
        server.kill()


def test_the_examples_run(
    stored: tuple[Path, Locked], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = stored
    monkeypatch.setattr("socket.gethostname", lambda: NODE)
    names: dict[str, Any] = {}
    assert len(EXAMPLES) >= 6
    for example in EXAMPLES:
        assert CONFIG_FILE in example
        exec(compile(example.replace(CONFIG_FILE, str(config)), "docs/library.md", "exec"), names)
    told = capsys.readouterr().out
    assert "cluster1 is led by hv1" in told and "hv1 run 90 %" in told
    assert "exists a VM called 'web1' exists already" in told and "UUID 'nobody'" in told
    assert re.search(r"^vm \S+ \{.*'name': 'web1'", told, re.MULTILINE)
    with connect(config, node=NODE) as pvc:
        vm = pvc.vms.get("web1")
        assert sorted(tag.name for tag in vm.wanted.tags) == ["seen", "web"] and vm.state == "stop"
        assert [volume.users for volume in pvc.storage.volumes(pool="vms")] == [("web1",)]


def test_what_cannot_be_opened_is_told(stored: tuple[Path, Locked], tmp_path: Path) -> None:
    config, server = stored
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("cluster: {name: c, coordinators: []}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yaml:1"), connect(wrong, node=NODE):
        pass
    nobody = tmp_path / "nobody.yaml"
    nobody.write_text(config.read_text().replace(str(server.secrets), str(tmp_path / "none")))
    with pytest.raises(NotFound, match="none"), connect(nobody, node=NODE):
        pass
    silent = tmp_path / "silent.yaml"
    silent.write_text(config.read_text().replace(f"port: {server.port}", "port: 1"))
    with pytest.raises(StoreUnavailable, match="cluster1 has not answered within 1 s"):
        with connect(silent, node=NODE, within_s=1.0):
            pass


def test_what_the_manual_lists_is_what_there_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", MANUAL, re.MULTILINE)
    kinds = {name: kind for name, kind in inspect.get_annotations(Services, eval_str=True).items()}
    assert {name for name, _ in rows} == kinds.keys() - {"desk", "close"}
    for name, calls in rows:
        missing = [call for call in re.findall(r"`(\w+)`", calls) if not _has(kinds[name], call)]
        assert missing == [], name


def _has(kind: type, name: str) -> bool:
    return hasattr(kind, name) or name in inspect.get_annotations(kind)
