"""Launch permits on files and a hand-moved clock (safety A15)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pvc_core.errors import Invalid, Permanent, Refused
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.generations import Generations
from pvc_core.guard.permits import Permits

from .conftest import UUID, HandClock


@pytest.fixture
def deadline() -> Deadline:
    return Deadline(8.0)


@pytest.fixture
def permits(tmp_path: Path, clock: HandClock, deadline: Deadline) -> Permits:
    return Permits(tmp_path, clock, deadline)


def test_a_permit_is_what_the_hook_reads(permits: Permits, tmp_path: Path) -> None:
    permits.give(UUID.upper(), 3, "incoming", 30.0)
    content = json.loads((tmp_path / "permits" / UUID).read_text())
    assert content == {"generation": 3, "deadline_boottime_s": 1030.0, "kind": "incoming"}
    assert [path.name for path in (tmp_path / "permits").iterdir()] == [UUID]


def test_it_ends_with_the_nodes_deadline(permits: Permits, deadline: Deadline) -> None:
    deadline.sending(armed=True, limit_s=8.0)
    deadline.accepted(998.0, armed=True, limit_s=8.0)
    assert permits.give(UUID, 0, "start", 30.0).deadline_boottime_s == 1006.0
    assert permits.give(UUID, 0, "start", 2.0).deadline_boottime_s == 1002.0


def test_after_the_deadline_none_is_given(
    permits: Permits, deadline: Deadline, clock: HandClock, tmp_path: Path
) -> None:
    deadline.accepted(998.0, armed=True, limit_s=8.0)
    clock.advance(6.0)
    with pytest.raises(Refused, match="the store has not heard this node for its limit of 8 s"):
        permits.give(UUID, 0, "start", 30.0)
    assert list((tmp_path / "permits").iterdir()) == []


def test_a_lower_generation_is_refused_also_after_revoke_and_restart(
    permits: Permits, tmp_path: Path, clock: HandClock, deadline: Deadline
) -> None:
    permits.give(UUID, 5, "start", 30.0)
    permits.give(UUID, 5, "start", 30.0)
    permits.revoke(UUID)
    with pytest.raises(Refused, match="generation 5 was permitted before"):
        permits.give(UUID, 4, "start", 30.0)
    with (tmp_path / "generations").open("a") as file:
        file.write(f"{UUID} 99")  # torn by kill -9
    again = Permits(tmp_path, clock, deadline)
    with pytest.raises(Refused, match="generation 5 was permitted before"):
        again.give(UUID, 4, "start", 30.0)
    assert again.give(UUID, 6, "start", 30.0).generation == 6


FULL = """
import resource, sys
from pathlib import Path
from pvc_core.guard.generations import Generations
from pvc_core.guard.incarnation import write_whole
run = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # as a full /run: a write takes what fits, only the next fails
for what in ("write_whole(run / 'frozen.json', b'x' * 9000)", "Generations(run).raise_to('b' * 36, 7)"):
    try:
        exec(what)
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_full_run_keeps_the_old_file_and_no_part_of_a_new_one(tmp_path: Path) -> None:
    """A part of what is frozen would be read as nothing by the next guard, and no guest thawed."""
    (tmp_path / "frozen.json").write_text("[]")
    lines = "".join(f"{number:036} 5\n" for number in range(128))
    assert 4980 < len(lines) < 5000
    (tmp_path / "generations").write_text(lines)
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["OSError", "OSError"]
    assert (tmp_path / "frozen.json").read_text() == "[]"
    generations = Generations(tmp_path)
    generations.raise_to(UUID, 6)
    assert Generations(tmp_path).highest(UUID) == 6
    assert Generations(tmp_path).highest(f"{0:036}") == 5


def test_what_comes_after_a_torn_line_is_kept(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    with (tmp_path / "generations").open("a") as file:
        file.write(UUID[:20])
    generations.raise_to(UUID, 6)
    assert Generations(tmp_path).highest(UUID) == 6


def test_revoke_takes_it_away_and_says_whether_it_was_there(permits: Permits, tmp_path: Path) -> None:
    permits.give(UUID, 0, "start", 30.0)
    assert permits.revoke(UUID) is True
    assert not (tmp_path / "permits" / UUID).exists()
    assert permits.revoke(UUID) is False


def test_sweep_removes_what_has_ended_and_what_is_none(permits: Permits, tmp_path: Path, clock: HandClock) -> None:
    other = UUID.replace("2b", "3c")
    permits.give(UUID, 0, "start", 5.0)
    permits.give(other, 0, "start", 50.0)
    (tmp_path / "permits" / "garbage").write_text("no permit")
    permits.sweep()
    assert {path.name for path in (tmp_path / "permits").iterdir()} == {UUID, other}
    clock.advance(5.0)
    permits.sweep()
    assert {path.name for path in (tmp_path / "permits").iterdir()} == {other}


def test_what_somebody_put_in_the_way_is_not_written_through(tmp_path: Path, clock: HandClock) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".generations.new").symlink_to(victim)
    permits = Permits(tmp_path, clock, Deadline(8.0))
    (tmp_path / "permits" / f".{UUID}.new").symlink_to(victim)
    permits.give(UUID, 0, "start", 5.0)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "permits" / UUID).is_symlink()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_directory_others_may_write_is_refused(tmp_path: Path, clock: HandClock, mode: int) -> None:
    (tmp_path / "permits").mkdir()
    (tmp_path / "permits").chmod(mode)
    with pytest.raises(Permanent, match="anybody could permit a start"):
        Permits(tmp_path, clock, Deadline(8.0))


@pytest.mark.parametrize("uuid", ["../../etc/passwd", "", "x", UUID + "/..", "\0"])
def test_a_name_that_is_no_uuid_is_refused(permits: Permits, tmp_path: Path, uuid: str) -> None:
    with pytest.raises(Invalid, match="is not a UUID"):
        permits.give(uuid, 0, "start", 5.0)
    with pytest.raises(Invalid, match="is not a UUID"):
        permits.revoke(uuid)
    assert list((tmp_path / "permits").iterdir()) == []


@pytest.mark.parametrize(
    ("generation", "for_s"), [(-1, 5.0), (0, 0.0), (0, -1.0), (0, 601.0), (0, float("nan")), (0, float("inf"))]
)
def test_senseless_figures_are_refused(permits: Permits, generation: int, for_s: float) -> None:
    with pytest.raises(Invalid, match="cannot be permitted"):
        permits.give(UUID, generation, "start", for_s)
