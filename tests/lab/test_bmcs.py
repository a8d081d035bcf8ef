"""The nodes' BMCs in a lab of three: every coordinator could fence every node, each fault is told in words, and a fence
switches the machine off before it is proved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]
FENCE = Path(__file__).resolve().parents[1] / "fence/from_node.py"


def fence(lab: RunningLab, judge: str, node: str, deadline_s: int = 60) -> dict[str, Any]:
    """What the driver on `judge`, built on its store, answers; its store may just be choosing a leader."""
    said: list[str] = []

    def answers() -> bool:
        said[:] = lab.exec(judge, sys.executable, str(FENCE), node, str(deadline_s)).splitlines()
        return True

    lab.eventually(answers, f"{judge} can ask about {node}")
    answer: dict[str, Any] = json.loads(said[-1])
    return answer


def steps(lab: RunningLab, node: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.api.call("POST", f"/node/{node}/fence-test", {})["steps"]
    return found


def state(lab: RunningLab, node: str) -> tuple[str, str]:
    found = lab.api.get(f"/node/{node}")[0]
    return found["daemon_state"], found["domain_state"]


def test_every_coordinator_could_fence_every_node(lab3: RunningLab) -> None:
    for node in lab3.nodes:
        lab3.eventually(lambda node=node: all(step["passed"] for step in steps(lab3, node)), f"{node} is on record")
        found = steps(lab3, node)
        assert {step["node"] for step in found} == set(lab3.coordinators)
        assert [step["step"] for step in found[:4]] == ["record", "login", "identity", "power"]
    done = lab3.pvc("node", "fence-test", "hv2")
    assert done.returncode == 0 and "Node hv2 could be fenced." in done.stdout, done.stdout + done.stderr


def test_what_is_wrong_with_a_bmc_is_told_and_hurts_nobody(lab3: RunningLab) -> None:
    try:
        lab3.bmc("hv3", "wrong", "hv2")
        wrong = [step for step in steps(lab3, "hv3") if not step["passed"]]
        assert {step["step"] for step in wrong} == {"identity"}
        assert "is not that of node hv3" in wrong[0]["message"]
        answer = fence(lab3, "hv1", "hv3")
        assert not answer["proof"] and answer["why"] == "wrong_machine" and not answer["acted"]
        lab3.bmc("hv3", "disobey")
        answer = fence(lab3, "hv1", "hv3", deadline_s=15)
        assert not answer["proof"] and answer["why"] == "disobeyed"
        lab3.bmc("hv3", "dead")
        assert {step["step"] for step in steps(lab3, "hv3") if not step["passed"]} == {"login"}
        assert lab3.pvc("node", "fence-test", "hv3").returncode == 1
        primary = next(n["name"] for n in lab3.api.get("/node") if n["coordinator_state"] == "primary")
        lab3.eventually(lambda: "hv3 could not be fenced" in json.dumps(lab3.api.get(f"/node/{primary}")), "a warning",
                        deadline_s=180)  # fmt: skip
    finally:
        lab3.bmc("hv3", "ok")
    for node in lab3.nodes:
        assert lab3.exec(node, "hostname").strip() == node


def test_a_fence_switches_the_node_off_and_proves_it(lab3: RunningLab) -> None:
    """Asked by hand: nobody else fences it meanwhile, and switches it on again."""
    with lab3.unfenced():
        _fenced_by_hand(lab3)


def _fenced_by_hand(lab3: RunningLab) -> None:
    boot = lab3.exec("hv3", "readlink", "/proc/1/ns/pid")
    answer = fence(lab3, "hv1", "hv3")
    assert answer["proof"] and answer["kind"] == "off" and answer["node"] == "hv3" and not answer["already"], answer
    print(f"power off and its proof took {answer['took_s']:.2f} s")
    assert not lab3.is_on("hv3")
    for node in ("hv1", "hv2"):  # the store lost a member, its leader perhaps
        lab3.eventually(lambda node=node: lab3.store_role(node) in ("follower", "leader"), f"{node}'s store serves")
    again = fence(lab3, "hv2", "hv3")
    assert again["proof"] and again["already"] and again["incarnation"] == answer["incarnation"]
    lab3.power_on("hv3")
    lab3.eventually(lambda: lab3.store_role("hv3") in ("follower", "leader"), "hv3 is back", deadline_s=120)
    lab3.eventually(lambda: state(lab3, "hv3")[0] == "run", "hv3 works again", deadline_s=120)
    assert lab3.exec("hv3", "readlink", "/proc/1/ns/pid") != boot


def test_a_password_is_in_no_log_and_the_api_cannot_read_it(lab3: RunningLab) -> None:
    word = lab3.exec("hv1", "cat", "/etc/pvc/bmc-password").strip()
    assert len(word) >= 16
    assert lab3.exec("hv1", "sh", "-c", f"grep -rl {word} /var /run 2>/dev/null || true").strip() == ""
