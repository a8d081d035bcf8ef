"""The questions that kill a driver in the middle take a minute together: they wait for the long run."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "killed_at_any_moment" in item.name:
            item.add_marker(pytest.mark.slow)
