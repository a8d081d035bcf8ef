"""schemathesis asks every route what the OpenAPI document allows and more, on the embedded store: whatever comes, the
answer is one the document names. Always the same questions; `python -m tests.api.fuzz` asks many more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_api_falcon.routes import THERE as ROUTES
from pvc_core.config import load
from pvc_core.daemon.life import prepare
from pvc_core.daemon.opening import open_store
from pvc_core.founding.secrets import ensure_secrets
from tests.store.rigs import Pvcstored

from .fuzz import THERE, furnish, fuzz
from .rig import Api, new_rig, running

pytestmark = pytest.mark.system

BRIEFLY = ("--phases", "fuzzing", "--max-examples", "2", "--generation-deterministic", "--warnings", "off")


class Locked(Pvcstored):
    """As it is deployed, with secrets."""

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The frontend and the services on a real pvcstored, as its two identities; one fake node does what is wanted."""
    tmp = tmp_path_factory.mktemp("stored")
    server = Locked(tmp)
    ensure_secrets(server.secrets)
    server.start()
    file = tmp / "pvc.yaml"
    file.write_text(
        f"cluster: {{name: c, coordinators: [hv1]}}\nstore: {{embedded: {{port: {server.port}}}}}\n"
        f"paths: {{secrets: {server.secrets}}}\nplugins: {{}}\n"
    )
    config = load(file, node="hv1")
    prepare(open_store(config, "node"), "c")
    rig = new_rig(lambda who: open_store(config, who))
    try:
        with running(rig, tmp) as api:
            furnish(api)
            yield api
    finally:
        rig.close()
        server.kill()


@pytest.mark.parametrize("names", [THERE, {}], ids=["of-what-there-is", "made-up"])
def test_every_answer_is_one_the_document_names(
    stored: Api, tmp_path: Path, names: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    done = fuzz(stored, tmp_path, BRIEFLY, names=names, within_s=900)
    told = capfd.readouterr().out
    assert done.returncode == 0, told
    assert f"Tested: {len(ROUTES) - 1}" in told, "all but the document itself"
    assert not stored.rig.log.errors
    with stored.client() as client:
        assert client.get("/vm").status_code == 200, "else what was asked last was only answered with 401"
