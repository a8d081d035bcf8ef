"""net_sriov on functions of real drivers: questions.py, asked in a machine with two NICs that can be divided."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.tcg import VIRTIOFSD, run

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".cache" / "sriov"
WITHIN_S = 1500.0
"""A minute and a half on a quiet machine; emulated processors get little on one that does much else."""
MODULES = ("igb", "igbvf", "macvtap", "macvlan", "veth")
NICS = tuple(
    word
    for number in (0, 1)
    for word in (
        "-device", f"pcie-root-port,id=port{number},chassis={number + 1},slot={number}",
        "-netdev", f"hubport,id=switch{number},hubid=0",
        "-device", f"igb,bus=port{number},netdev=switch{number},mac=52:54:00:12:34:5{number}",
    )
)  # fmt: skip

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="virtiofsd needs root"),
    pytest.mark.skipif(not VIRTIOFSD.exists(), reason="virtiofsd is not installed"),
    pytest.mark.skipif(
        not (PLACE / "done").exists(), reason="needs QEMU's igb with SR-IOV (8 or newer): tests/net_sriov/fetch gets it"
    ),
]


def test_the_questions_where_there_are_functions() -> None:
    modules = "; ".join(f"modprobe -d {shlex.quote(str(PLACE / 'root'))} {name}" for name in MODULES)
    pytest_ = f"PYTHONDONTWRITEBYTECODE=1 {sys.executable} -m pytest -q --color=no -p no:cacheprovider -p no:xdist"
    command = f"{modules}; sleep 1; cd {shlex.quote(str(ROOT))} && {pytest_} tests/net_sriov/questions.py"
    ended = run(command, PLACE, NICS, within_s=WITHIN_S)
    assert ended.code == 0, ended.said
    assert " passed" in ended.said
