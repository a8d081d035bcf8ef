"""What went wrong in clusters of this kind: each line (pitfalls.yaml) is played, by a scenario or a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pvc_core.testing.sim_text import load

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios"
LINES = yaml.safe_load((Path(__file__).parent / "pitfalls.yaml").read_text())
COUNT = 19


def test_no_line_is_missing() -> None:
    assert list(LINES) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", LINES)
def test_each_is_played(number: int) -> None:
    assert LINES[number]["what"] and LINES[number]["plays"]
    for name in LINES[number]["plays"]:
        assert _is_there(name), f"{number}: {name} is not there"


def test_a_scenario_of_a_line_has_its_number() -> None:
    for path in SCENARIOS.glob("p[0-9][0-9]_*.yaml"):
        assert path.stem in LINES[int(path.stem[1:3])]["plays"], path.stem


@pytest.mark.parametrize("path", sorted(SCENARIOS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_scenario_says_what_it_expects(path: Path) -> None:
    """A log that must show something or must not, a count, a place, or what is so at a moment."""
    if path.name == "elsewhere.yaml":
        return
    one = load(path.read_text())
    moments = [step for step in one.steps if step.do in ("must_execute", "must_stand_still", "unbroken")]
    assert one.expect or one.refuse or moments or one.starts is not None or one.where, path.stem


def _is_there(name: str) -> bool:
    path, _, test = name.partition("::")
    if not test:
        return (SCENARIOS / f"{path}.yaml").is_file()
    return re.search(rf"def {re.escape(test)}\b", (ROOT / path).read_text()) is not None
