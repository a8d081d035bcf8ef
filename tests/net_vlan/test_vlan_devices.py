"""net_vlan's devices on a kernel that has VLANs: the suite's and its own questions inside User Mode Linux, and two such
machines on one trunk.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import NetNS, netns

from tests.uml import PROGRAM, Uml

ROOT = Path(__file__).parents[2]
WITHIN_S = 540.0
"""Also on a machine that does much else."""
DEVICES = "not acl and not rule_that_is_none and not own_mac and not in_the_way"
"""Filters are asked where they cost less: the same library below net_evpn and the example, on this machine's kernel."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network devices need root"),
    pytest.mark.skipif(not PROGRAM.exists(), reason="user-mode-linux is not installed (apt install user-mode-linux)"),
]


def test_the_suite_and_the_questions_of_its_own_in_user_mode_linux() -> None:
    pytest_ = f"PYTHONDONTWRITEBYTECODE=1 {sys.executable} -m pytest -q --color=no -p no:cacheprovider -p no:xdist"
    ended = Uml(f"cd {ROOT} && {pytest_} tests/net_vlan/questions.py -k '{DEVICES}'").ended(within_s=WITHIN_S)
    assert ended.code == 0, ended.said
    assert " passed" in ended.said and "core                 ok" in ended.said


@pytest.fixture
def switch() -> Iterator[str]:
    """A namespace with a bridge, as a switch that passes every frame, and a port (tap) for each machine."""
    name = f"pvcsw{os.getpid()}"
    enter = ["nsenter", f"--net=/run/netns/{name}"]
    with NetNS(name) as space:
        space.link("add", ifname="switch", kind="bridge", br_forward_delay=0, state="up")
        bridge = space.link_lookup(ifname="switch")[0]
        for number in (1, 2):
            subprocess.run([*enter, "ip", "tuntap", "add", f"port{number}", "mode", "tap"], check=True)
            port = space.link_lookup(ifname=f"port{number}")[0]
            space.link("set", index=port, master=bridge, state="up")
    yield name
    netns.remove(name)


def test_two_machines_on_one_trunk_carry_a_tagged_ping(switch: str) -> None:
    enter = ("nsenter", f"--net=/run/netns/{switch}")
    seen = subprocess.Popen(
        [*enter, "timeout", str(WITHIN_S), "tcpdump", "-lnnei", "switch", "-c", "2", "vlan 100 and icmp"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    machines = []
    try:
        for number in (1, 2):
            program = f"cd {ROOT} && PYTHONDONTWRITEBYTECODE=1 {sys.executable} -m tests.net_vlan.machine {number}"
            trunk = f"vec0:transport=tap,ifname=port{number},depth=64"
            machines.append(Uml(program, devices=[trunk], enter=enter))
        ended = machines[0].ended(within_s=WITHIN_S)
        assert ended.code == 0, ended.said
        frames, _ = seen.communicate(timeout=30)
        assert "vlan 100" in frames and "10.20.100.1 > 10.20.100.2" in frames
    finally:
        for machine in machines:
            machine.kill()
        seen.kill()
        seen.wait()
