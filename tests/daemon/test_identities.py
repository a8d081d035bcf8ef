"""Two identities: the API may write what people ask for, and never who runs what (design section 5). On a real
pvcstored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.config import Config, load
from pvc_core.daemon.life import prepare
from pvc_core.daemon.opening import open_store
from pvc_core.errors import Refused
from pvc_core.founding.secrets import ensure_secrets
from pvc_core.model.cluster import Leader
from pvc_core.model.node import NodeSeen
from pvc_core.model.vm import Claim, VmWanted
from tests.store.rigs import Pvcstored

pytestmark = pytest.mark.system


class Locked(Pvcstored):
    """As it is deployed: with the secrets of `pvcnoded init`."""

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    def command(self) -> list[str]:
        made = super().command()
        made[made.index("--secrets") + 1] = str(self.secrets)
        return made


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    server = Locked(tmp_path)
    ensure_secrets(server.secrets)
    server.start()
    file = tmp_path / "pvc.yaml"
    file.write_text(
        f"cluster: {{name: c, coordinators: [hv1]}}\nstore: {{embedded: {{port: {server.port}}}}}\n"
        f"paths: {{secrets: {server.secrets}}}\nplugins: {{}}\n"
    )
    yield load(file, node="hv1")
    server.kill()


def test_the_api_reads_all_but_writes_only_what_people_ask_for(config: Config) -> None:
    node, api = Repository(open_store(config, "node")), Repository(open_store(config, "api"))
    try:
        prepare(node.store, "c")
        node.add(layout.NODE_SEEN, "hv1", NodeSeen(name="hv1"))
        claim = node.add(layout.CLAIMS, "u1", Claim(uuid="u1", holder="hv1"))
        assert set(api.all(layout.NODE_SEEN)) == {"hv1"}
        api.drop(layout.VM_WANTED, "u1", if_version=api.add(layout.VM_WANTED, "u1", _vm()).version)
        forbidden: list[Callable[[], object]] = [
            lambda: api.add(layout.CLAIMS, "u2", Claim(uuid="u2", holder="hv1")),
            lambda: api.set(layout.CLAIMS, "u1", claim.value, if_version=claim.version),
            lambda: api.drop(layout.NODE_SEEN, "hv1", if_version=None),
            lambda: api.add(layout.LEADER, layout.ONLY, Leader(node="hv1", incarnation="", term=9)),
        ]
        for call in forbidden:
            with pytest.raises(Refused, match="does not allow it to user 'api'"):
                call()
        assert node.get(layout.CLAIMS, "u1").version == claim.version
    finally:
        node.store.close()
        api.store.close()


def test_another_clusters_store_is_refused(config: Config) -> None:
    store = open_store(config, "node")
    try:
        prepare(store, "c")
        with pytest.raises(Refused, match="belongs to cluster 'c', not to 'other'"):
            prepare(store, "other")
    finally:
        store.close()


def _vm() -> VmWanted:
    return VmWanted(uuid="u1", name="x", definition="")
