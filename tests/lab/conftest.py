"""A directory for labs of their own, and the check that nothing of them outlives a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lab_traces
import pytest

from lab import leash
from lab.state import Lab, all_labs


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory below which this test's labs live; they are removed afterwards, whatever happened."""
    monkeypatch.setenv("PVC_LAB_DIR", str(tmp_path))
    before = lab_traces.look()
    held = leash.hold()
    yield tmp_path
    for name in all_labs():
        Lab(name).remove()
    leash.let_go(held)
    assert lab_traces.processes_of(tmp_path) == []
    assert lab_traces.look() == before
