"""What becomes of each step when each fault strikes in its middle: the table (pairs.yaml) has no gap, and all that it
names is played. The scenarios are in tests/scenarios/pairs, those of older stories beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pvc_core.testing.sim_scenario import play
from pvc_core.testing.sim_text import load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "scenarios"
FILES = sorted((FOLDER / "pairs").glob("*.yaml"))
TABLE = yaml.safe_load((Path(__file__).parent / "pairs.yaml").read_text())
STEPS = ("start", "stop", "migrate", "flush", "fence", "recover")
FAST = 4
"""Every so many-th is played with the fast tests, all of them with the others."""


@pytest.mark.parametrize(
    "path",
    [path if n % FAST == 0 else pytest.param(path, marks=pytest.mark.slow) for n, path in enumerate(FILES)],
    ids=lambda path: path.stem,
)
def test_what_the_file_says_is_so(path: Path) -> None:
    play(load(path.read_text()))


def test_every_step_and_fault_has_its_cell() -> None:
    assert tuple(TABLE["steps"]) == STEPS
    for step, cells in TABLE["steps"].items():
        assert list(cells) == list(TABLE["faults"]), step


@pytest.mark.parametrize("step", STEPS)
def test_what_the_cells_name_is_there(step: str) -> None:
    for fault, cell in TABLE["steps"][step].items():
        for name in [cell] if isinstance(cell, str) else cell:
            assert _is_there(step, name), f"{step}, {fault}: {name}"


def test_every_scenario_of_a_pair_stands_in_the_table() -> None:
    named = {f"{step}_{name}" for step, cells in TABLE["steps"].items() for name in _names(cells)}
    assert {path.stem for path in FILES} <= named, sorted({path.stem for path in FILES} - named)


def _names(cells: dict[str, str | list[str]]) -> Iterator[str]:
    for cell in cells.values():
        yield from [cell] if isinstance(cell, str) else cell


def _is_there(step: str, name: str) -> bool:
    if name.startswith("nothing: "):
        return True
    if name.startswith("as "):
        cell = TABLE["steps"][step].get(name.removeprefix("as "), "as nobody")
        return not str(cell).startswith(("as ", "nothing: "))
    if "::" in name:
        path, _, test = name.partition("::")
        return re.search(rf"def {re.escape(test)}\b", (ROOT / path).read_text()) is not None
    places = (FOLDER / "pairs" / f"{step}_{name}.yaml", FOLDER / f"{name}.yaml", ROOT / name)
    return any(place.is_file() for place in places)
