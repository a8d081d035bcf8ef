"""docs/store-layout.md and cluster/layout.py say the same."""

from __future__ import annotations

import re
from pathlib import Path

from pvc_core.cluster.layout import KINDS, by_api

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_stands_in_the_table_with_its_record_and_writer() -> None:
    text = (ROOT / "docs/store-layout.md").read_text()
    rows = re.findall(r"^\| `([^`]+)/[^`/]+` \| (\w+) \| (yes|no) \|", text, re.MULTILINE)
    assert {(prefix, record, api == "yes") for prefix, record, api in rows} == {
        (kind.prefix, kind.record.__name__, kind.by_api) for kind in KINDS
    }


def test_the_api_may_not_write_who_runs_what() -> None:
    assert not by_api("/pvc/state/claims/u1")
    assert not by_api("/pvc/state/leader/cluster")
    assert by_api("/pvc/state/vm-wanted")
    assert by_api("/pvc/state/vm-wanted/u1")
