"""Commands that other packages bring along, as pip would have installed them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

TAPE = '''
import click


@click.command()
@click.argument("name")
@click.pass_obj
def write(app, name):
    """Writes a VM to tape."""
    app.confirm("Really?", yes=True)
    app.out.say(app.api.get(f"/vm/{name}").body[0]["name"] + " is on tape")


@click.group()
def tape():
    """Tapes."""


tape.add_command(write)
nothing = 3
'''
POINTS = """[pvc.cli]
tape = brought_tape:tape
vm.write = brought_tape:write
vm.list = brought_tape:write
node.odd = brought_tape:nothing
storage.gone = brought_nowhere:it
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = tmp_path / "site"
    info = at / "pvc_tape-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pvc-tape\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (at / "brought_tape.py").write_text(TAPE)
    monkeypatch.syspath_prepend(str(at))
    monkeypatch.delitem(sys.modules, "brought_tape", raising=False)


@pytest.mark.parametrize("words", [["tape", "write"], ["vm", "write"]])
def test_a_strangers_command_has_our_connection_and_output(pvc: Any, api: Any, words: list[str]) -> None:
    api.on("GET /vm/web1", api.sample("GET /vm"))
    done = pvc(*words, "web1")
    assert (done.code, done.out.split()[-3:]) == (0, ["is", "on", "tape"]), done
    assert "From pvc-tape." in pvc(*words[:-1], "--help").out or words[0] == "tape"


def test_it_is_listed_with_where_it_is_from_and_guessed_at(pvc: Any) -> None:
    assert "tape         From pvc-tape." in pvc("--help").out
    assert "Did you mean tape or task?" in pvc("tapes").err


def test_it_takes_nothing_of_ours_away(pvc: Any) -> None:
    assert "Writes a VM to tape" not in pvc("vm", "list", "--help").out
    assert "node odd" not in pvc("--help").out and "odd" not in pvc("vm", "--help").out


@pytest.mark.parametrize(("words", "why"), [(["storage", "gone"], "No module named"), (["node", "odd"], "no click")])
def test_one_that_is_broken_breaks_itself_only(pvc: Any, words: list[str], why: str) -> None:
    done = pvc(*words)
    assert done.code == 1 and why in done.err and "pvc-tape" in done.err and "Traceback" not in done.err
    assert pvc(words[0], "--help").code == 0


def test_a_completion_offers_the_others(pvc: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("_PVC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "pvc storage ")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        pvc()
    offered = capfd.readouterr().out
    assert "volume" in offered and "gone" not in offered
