"""Every scenario file is played; every schedule of the safety rules has one, or a test of real parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pvc_core.errors import Invalid
from pvc_core.testing.sim_scenario import play
from pvc_core.testing.sim_text import dump, load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "scenarios"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "elsewhere.yaml")
LETTERS = [f"A{number}" for number in range(1, 21)] + [f"B{number}" for number in range(1, 32)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_the_file_says_is_so(path: Path) -> None:
    play(load(path.read_text()))


def test_every_schedule_has_a_scenario_or_a_test_elsewhere() -> None:
    shown = {letter for path in FILES for letter in load(path.read_text()).letters}
    elsewhere = yaml.safe_load((FOLDER / "elsewhere.yaml").read_text())
    assert shown | set(elsewhere) >= set(LETTERS), sorted(set(LETTERS) - shown - set(elsewhere))
    for letter, where in elsewhere.items():
        name, _, test = where["test"].partition("::")
        text = (ROOT / name).read_text()
        assert re.search(rf"def {re.escape(test)}\b", text), f"{letter}: {where['test']} is not there"


def test_a_scenario_is_written_as_it_is_read() -> None:
    one = load((FOLDER / "power_loss.yaml").read_text())
    again = load(dump(one))
    assert (again.steps, again.setting, again.seed, again.vms) == (one.steps, one.setting, one.seed, one.vms)


def test_moments_are_written_as_they_are_read() -> None:
    one = load((FOLDER / "p15_aborted_migration.yaml").read_text())
    assert load(dump(one)).steps == one.steps and any(step.once for step in one.steps)


@pytest.mark.parametrize(
    ("moment", "said"),
    [("once: nobody says this", "the log does not show"), ("before: nobody asks for this", "nobody asks for")],
)
def test_a_moment_that_does_not_come_is_told(moment: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        play(load(f"name: x\nvms: [a]\nsteps: [{{{moment}, do: heal}}]"))


@pytest.mark.parametrize(
    "text", ["[]", "name: x\nnonsense: 1", "name: x\nsteps: [{do: fly}]", "name: x\nsetting: {a: 1}"]
)
def test_what_is_no_scenario_is_refused_in_words(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(text)
    assert str(caught.value)
