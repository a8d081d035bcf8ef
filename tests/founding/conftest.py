from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.daemon.noded import main
from tests.founding.rig import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """hv1 is founded; nobody else is there yet."""
    made = Cluster(tmp_path)
    assert main(["init", "--config", str(made.write_config("hv1")), "--node", "hv1"]) == 0
    yield made
    made.close()
