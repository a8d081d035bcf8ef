"""pvc-simulate as an operator meets it: its help, one clear sentence for a bad file, what it prints of many seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_core.errors import Invalid
from pvc_core.testing.sim_actions import ACTIONS
from pvc_core.testing.sim_text import load
from pvc_core.testing.simulate import EPILOG, main, progress

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "scenario.yaml"
LOST = """
name: a node is lost
vms: [web]
steps:
  - {at: 2, do: power_off, node: "@web"}
  - {at: 30, do: must_execute, vm: web}
expect: ["is given up", "running on"]
quiet: 40
"""


def test_a_scenario_is_played_and_its_log_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lost.yaml"
    file.write_text(LOST)
    assert main([str(file)]) == 0
    said = capsys.readouterr().out
    assert "is given up" in said and said.endswith(f"{file}: a node is lost: as it must be\n")
    file.write_text(LOST.replace("is given up", "is not given up"))
    assert main(["-q", str(file)]) == 1
    assert "NOT AS IT MUST BE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "it is no YAML: "),
        ("name: 2024-13-45", "it is no YAML: month must be in 1..12"),
        ("[" * 5000, "it is no YAML: "),
        ("[]", "a scenario is a mapping"),
        ("name: x\nsteps: [{do: heal, at: .inf}]", "step 1: at is inf (seconds after all VMs run, at most 2592000)"),
        ("name: x\nsteps: [{do: heal, at: .nan}]", "step 1: at is nan"),
        ("name: x\nsteps: [{do: elect, seconds: .inf}]", "step 1: seconds is inf (a number, not below 0)"),
        ("name: x\nquiet: .inf", "quiet is inf (seconds without faults at the end, 0 for none, at most 2592000)"),
        ("name: x\nsetting: {limit_s: .nan}", "setting: limit_s is nan (like 8.0)"),
        ("name: x\nsetting: {memory_bytes: -1}", "setting: memory_bytes is -1 (like "),
        ("steps: []", "a scenario has a name"),
        ("name: x\nnonsense: 1", "a scenario has no nonsense (it may have: expect, "),
        ("name: x\nsteps: 5", "steps is a list, not 5"),
        ("name: x\nsteps: [power_off]", "step 1 is a mapping"),
        ("name: x\nsteps: [{do: fly}]", "step 1: 'fly' is nothing that can happen (choose among: "),
        ("name: x\nsteps: [{do: heal}, {do: cut}]", "step 2: cut needs node"),
        ("name: x\nsteps: [{do: heal, of: 1}]", "step 1: heal takes no of (it takes: nothing)"),
        ("name: x\nsteps: [{do: heal, at: 1, once: a}]", "step 1: it happens at a time, once something was said, or"),
        ("name: x\nsteps: [{do: heal, once: 5}]", "step 1: once is 5 (a regular expression)"),
        ("name: x\nsteps: [{do: heal, before: '('}]", "'(' is no regular expression"),
        ("name: x\nsteps: [{do: heal, at: soon}]", "step 1: at is 'soon' (seconds after all VMs run, at most "),
        ("name: x\nsteps: [{do: power_off, node: hv9}]", "step 1: there is no node 'hv9' (there are: hv1, hv2, hv3, "),
        ("name: x\nvms: [a]\nsteps: [{do: stop, vm: b}]", "step 1: there is no VM 'b' (there are: a)"),
        ("name: x\nsetting: {a: 1}", "setting has no a (it may have: "),
        ("name: x\nsetting: {nodes: many}", "setting: nodes is 'many' (like 3)"),
        ("name: x\nsteps: [{do: power_off, node: 3}]", "step 1: node is 3 (a text)"),
        (
            "name: x\nsteps: [{do: bmc, node: hv1, behaviour: odd}]",
            "step 1: behaviour is 'odd' (one of ok, dead, denies",
        ),
        ("name: x\nsteps: [{do: cut, node: hv1, networks: lan}]", "step 1: networks is 'lan' (one of all, upstream, "),
        ("name: x\nsteps: [{do: cut, node: hv1, others: hv2 hv7}]", "step 1: there is no node 'hv7' (there are: hv1, "),
        (
            "name: x\nsteps: [{do: stop_daemon, node: hv1, seconds: -1}]",
            "step 1: seconds is -1 (a number, not below 0)",
        ),
        (
            "name: x\nsteps: [{do: bmc_wired, node: hv1, to: '@free'}]",
            "step 1: there is no node '@free' (there are: hv1",
        ),
        ("name: x\nsteps: [{do: maintenance, on: 1}]", "step 1: on is 1 (true or false)"),
        ("name: x\nvms: [a, a]", "vms: 'a' (names of letters, digits and _.-, each once)"),
        ("name: x\nquiet: -1", "quiet is -1 (seconds without faults at the end"),
        ("name: x\nsetting: {coordinators: 2}", "setting: coordinators is 2 (1, 3 or 5 of the nodes)"),
        ("name: x\nsetting: {rates: [fast]}", "setting: rates has 'fast' (a number, not below 0)"),
        ("name: x\nsetting: {nodes: 0}", "setting: nodes is 0 (from 1 to 50)"),
        ("name: x\nsetting: {proof: none}", "setting: proof is 'none' (one or all)"),
        ("name: x\nsetting: {patience: {silent: 1}}", "setting: patience has no silent"),
        ("name: x\nexpect: ['(']", "'(' is no regular expression"),
        ("name: x\nquiet: long", "quiet is 'long', which is not a number"),
        ("name: x\nwhere: {z: hv1}", "where: there is no VM 'z'"),
    ],
)
def test_what_is_no_scenario_is_refused_in_one_sentence(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert main([str(file)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"pvc-simulate: {file}: {said}") and told.count("\n") == 1
    with pytest.raises(Invalid):
        load(text)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no.yaml")]) == 2
    assert capsys.readouterr().err.startswith(f"pvc-simulate: {tmp_path / 'no.yaml'} cannot be read: No such file")
    (tmp_path / "image").write_bytes(b"\xff\xfe\x80")
    assert main([str(tmp_path / "image")]) == 2
    assert "is no text" in capsys.readouterr().err


def test_the_example_in_the_docs_plays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", str(EXAMPLE)]) == 0
    assert capsys.readouterr().out == f"{EXAMPLE}: {load(EXAMPLE.read_text()).name}: as it must be\n"


def test_its_help_shows_a_scenario_that_plays_and_all_that_can_happen(capsys: pytest.CaptureFixture[str]) -> None:
    shown = EPILOG.partition("\n\n")[2].partition("\n\nTimes")[0]
    assert load("\n".join(line[4:] for line in shown.splitlines())).steps
    assert main(["--actions"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: " in said for name in ACTIONS)


@pytest.mark.parametrize("args", [[], ["--seeds", "0"], ["--seeds", "many"], ["--jobs", "0", "--seeds", "1"]])
def test_what_plays_nothing_is_refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2 and "error: " in capsys.readouterr().err


def test_many_seeds_tell_hours_violations_and_where_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--first", "7", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.startswith("seeds 7 to 8: 2 seeds, 0.")
    assert progress(range(100, 400), 7200.0, 1, 60.0) == (
        "seeds 100 to 399: 300 seeds, 2.0 simulated hours, 1 violations; 300 seeds and 2.0 simulated hours a minute"
    )
