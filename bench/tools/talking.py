"""What a guest's peers notice of a live migration, and of a cut and healed cable below the networks: pings of a real
guest at 10 per second, from the gateway of its network.

The guest goes to and fro between the two nodes that are not primary. The cable is the cluster network of the guest's
node, in maintenance, so that high availability leaves the node alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from bench.tools.figures import say, table
from bench.tools.labs import BenchLab
from lab import LabError, guests, network, node
from lab.guest_xml import mac_of

VNI, GUEST, ADDRESS, GATEWAY = "100", "roams", "10.50.0.60", "10.50.0.1"
EACH_S, BEFORE_S, AFTER_S, PATIENCE_S = 0.1, 2.0, 3.0, 300.0
NOBODY_GIVES_UP_S = 5.0
"""Every guard has read by then that there is maintenance."""


def measure(lab: BenchLab, rounds: int, cuts: Sequence[float]) -> None:
    """`lab` has three nodes; so many moves, and cuts of so many seconds. Prints its tables
    and takes the guest away.
    """
    primary = _primary(lab)
    others = [name for name in ("hv1", "hv2", "hv3") if name != primary]
    _guest(lab, primary, others[0])
    _moves(lab, primary, others, rounds)
    if cuts:
        _cuts(lab, primary, cuts)
    lab.api.delete(f"/vm/{GUEST}", delete_disks="true")


def _moves(lab: BenchLab, primary: str, others: Sequence[str], rounds: int) -> None:
    rows = []
    for number in range(rounds):
        target = others[(number + 1) % 2]
        took: list[float] = []
        gaps = _lost(lab, primary, partial(_moved, lab, target, took))
        rows.append([target, f"{took[0]:.1f}", str(sum(gaps)), str(max(gaps, default=0))])
    table(["moved to", "s until it is back", "pings lost", "of them on end"], rows)
    say("Goal: 0 to 1 lost at 10 per second.")


def _cuts(lab: BenchLab, primary: str, cuts: Sequence[float]) -> None:
    lab.api.post("/status", state="true")
    time.sleep(NOBODY_GIVES_UP_S)
    (vm,) = lab.api.get(f"/vm/{GUEST}")
    rows = []
    for seconds in cuts:
        gaps = _lost(lab, primary, partial(_cut, lab, str(vm["node"]), seconds))
        silent_s = max(gaps, default=0) * EACH_S
        rows.append([f"{seconds:g}", str(sum(gaps)), f"{silent_s:.1f}", f"{silent_s - seconds:.1f}"])
    lab.api.post("/status", state="false")
    table(["the cluster cable is cut for s", "pings lost", "s of silence", "s after it was healed"], rows)


def _lost(lab: BenchLab, primary: str, fault: Callable[[], object]) -> list[int]:
    """How many pings on end were lost, each time any were, while `fault` happened."""
    _await(lambda: _answers(lab, primary), "the guest answers")
    place = "/var/tmp/pings"
    begun = f"busybox ping -i {EACH_S} -c 100000 {ADDRESS} >{place} 2>&1 & echo $!"
    pid = lab.inside(primary, "sh", "-c", begun).strip()
    time.sleep(BEFORE_S)
    fault()
    heard = len(_heard(lab, primary, place))
    _await(lambda: len(_heard(lab, primary, place)) > heard + AFTER_S / EACH_S, "the guest answers again")
    lab.inside(primary, "kill", "-INT", pid)
    seen = sorted(_heard(lab, primary, place))
    return [after - before - 1 for before, after in pairwise(seen) if after > before + 1]


def _heard(lab: BenchLab, primary: str, place: str) -> set[int]:
    said = lab.inside(primary, "cat", place)
    return {int(number) for number in re.findall(r" seq=(\d+) ", said)}


def _moved(lab: BenchLab, target: str, took: list[float]) -> None:
    began_s = time.monotonic()
    lab.api.post(f"/vm/{GUEST}/node", action="move", node=target, wait="true")
    took.append(time.monotonic() - began_s)


def _cut(lab: BenchLab, where: str, seconds: float) -> None:
    with lab.lab.locked():
        node.cut(lab.lab, where, network.named("cluster"))
        time.sleep(seconds)
        node.heal(lab.lab, where, network.named("cluster"))


def _guest(lab: BenchLab, primary: str, where: str) -> None:
    lab.api.post(
        "/network", vni=VNI, description="lab", nettype="managed", ip4_network="10.50.0.0/24", ip4_gateway=GATEWAY,
        dhcp4="true", dhcp4_start="10.50.0.100", dhcp4_end="10.50.0.199",
    )  # fmt: skip
    lab.api.post(f"/network/{VNI}/lease", macaddress=mac_of(GUEST), ipaddress=ADDRESS, hostname=GUEST)
    _await(lambda: lab.api.get(f"/network/{VNI}")[0]["status"] == "usable on all nodes", "the network is usable")
    guests.make_guest(lab.api, guests.Wish(name=GUEST, node=where, network=VNI), say=lambda _: None)
    _await(lambda: _answers(lab, primary), "the guest has its address")


def _answers(lab: BenchLab, primary: str) -> bool:
    try:
        lab.inside(primary, "busybox", "ping", "-c", "1", "-W", "1", ADDRESS)
    except LabError:
        return False
    return True


def _primary(lab: BenchLab) -> str:
    found: list[str] = []

    def acting() -> bool:
        found[:] = [one["name"] for one in lab.api.get("/node") if one["coordinator_state"] == "primary"]
        return len(found) == 1

    _await(acting, "one node is primary")
    return found[0]


def _await(true: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > until_s:
            raise RuntimeError(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.2)
