"""What the command line of script/lab takes for its own, and which names a lab may have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import LabError
from lab.main import split_name
from lab.state import REPOSITORY, Lab, Plan, the_only_lab


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("power off --name demo hv2", ("demo", ["power", "off", "hv2"], [])),
        ("--name demo power off hv2", ("demo", ["power", "off", "hv2"], [])),
        ("power off hv2 --name=demo", ("demo", ["power", "off", "hv2"], [])),
        ("pvc --name demo vm list", ("demo", ["pvc"], ["vm", "list"])),
        ("pvc network add --name x 100", (None, ["pvc"], ["network", "add", "--name", "x", "100"])),
        ("exec --name demo hv1 find --name x", ("demo", ["exec"], ["hv1", "find", "--name", "x"])),
        ("exec hv1 -- ls", (None, ["exec"], ["hv1", "--", "ls"])),
        ("pvc", (None, ["pvc"], [])),
    ],
)
def test_where_the_name_may_stand(line: str, expected: tuple[str | None, list[str], list[str]]) -> None:
    assert split_name(line.split()) == expected


def test_a_name_without_a_word_is_refused() -> None:
    with pytest.raises(LabError, match="--name needs the name of a lab"):
        split_name(["down", "--name"])


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "x" * 21, "a b", "a\nb"])
def test_bad_names(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab"):
        Lab(name)


def test_which_lab_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVC_LAB_DIR", str(tmp_path))
    with pytest.raises(LabError, match="no lab runs"):
        the_only_lab()
    for name in ("one", "two"):
        with Lab(name).locked():
            Lab(name).save(Plan(name=name, nodes=["hv1"]))
        if name == "one":
            assert the_only_lab().name == "one"
    with pytest.raises(LabError, match="several labs: one, two; say which with --name"):
        the_only_lab()
    with pytest.raises(LabError, match="no node 'hv2'; it has hv1"):
        Lab("one").checked_node("hv2")


def test_only_one_command_changes_a_lab_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVC_LAB_DIR", str(tmp_path))
    with Lab("x").locked(), pytest.raises(LabError, match="another command is changing lab x"):
        Lab("x")._lock()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("up --nodes 0", "0 nodes are not possible; a lab has 1 to 20"),
        ("up --nodes 3 --store embedded", "the embedded store serves one node only"),
        ("cut hv1 --name nosuch", "there is no lab nosuch"),
        ("down --name nosuch", "there is no lab nosuch"),
        ("pvc --name nosuch vm list", "script/lab up --name nosuch makes one"),
        ("exec --name nosuch", "exec needs a node"),
    ],
)
def test_every_refusal_is_one_sentence(words: str, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [REPOSITORY / "script/lab", *words.split()],
        capture_output=True,
        text=True,
        env={"PVC_LAB_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
