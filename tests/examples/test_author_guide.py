"""docs/plugin-author.md tells the whole contract: what exists stands in it, and what stands in it exists."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from pvc_core import errors
from pvc_core.contracts import PluginContext, StorageCapabilities, StorageDriver
from pvc_core.testing.storage_rig import StorageRig

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "plugin-author.md").read_text()
CODE = set(re.findall(r"`([A-Za-z_.]+)", GUIDE))


def section(title: str) -> str:
    return GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("The contract", [name for name in vars(StorageDriver) if not name.startswith("_")]),
        ("Capabilities", [field.name for field in fields(StorageCapabilities)]),
        ("Errors", ["Retry", "Refused", "NotFound", "Exists", "Permanent"]),
        ("The two halves", [name for name in vars(PluginContext) if not name.startswith("_")]),
        ("The two halves", list(inspect.get_annotations(PluginContext))),
    ],
)
def test_everything_is_named(title: str, names: list[str]) -> None:
    missing = [name for name in names if not re.search(rf"`{name}\b", section(title))]
    assert not missing


def test_what_the_guide_names_of_a_rig_exists() -> None:
    named = set(re.findall(r"`(\w+)` \(", section("Conformance"))) | {"debris", "lose_bytes"}
    assert named <= set(dir(StorageRig))


def test_its_errors_are_ours() -> None:
    assert all(hasattr(errors, name) for name in re.findall(r"^\| `(\w+)", section("Errors"), re.MULTILINE))


def test_its_files_are_there() -> None:
    for path in re.findall(r"\]\(([\w/.-]+)\)", GUIDE):
        assert (ROOT / "docs" / path).exists(), path
    for path in re.findall(r"`((?:docs|pvc_core)/[\w/.-]+)`", GUIDE):
        assert (ROOT / path).exists(), path
