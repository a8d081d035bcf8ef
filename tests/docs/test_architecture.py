"""The table "where does my change go?" names files that exist; so does every path in the README's and CONTRIBUTING's
text.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def table_rows() -> list[tuple[str, str]]:
    text = (ROOT / "docs/architecture.md").read_text()
    section = text.split("## Where does my change go?")[1]
    return re.findall(r"^\| ([^|]+) \| `([^`]+)` \|$", section, re.MULTILINE)


def test_names_at_least_twelve_changes() -> None:
    assert len(table_rows()) >= 12


@pytest.mark.parametrize(("change", "path"), table_rows())
def test_the_file_to_open_exists(change: str, path: str) -> None:
    assert (ROOT / path).is_file(), f"to {change}: {path} does not exist"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_scripts_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"\bscript/[a-z]+\b", (ROOT / page).read_text()))
    assert named
    assert not [name for name in named if not (ROOT / name).is_file()]
