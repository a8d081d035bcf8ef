"""`pvc vm move` against bare `virsh migrate --live`: the time until the command comes back, and how long the guest
stood still; and which pings are lost while another one moves, or while the cable below its network is cut.

In a lab of three nodes, the same guest twice: once PVC's, once libvirt's alone with the very XML that PVC rendered (its
own name, UUID, MAC address and disk). Both count every 5 ms, both travel over TLS with auto-converge, in turn. What the
guest stood still is read from its own counter (bench/tools/pulse.py), so it holds all that a user of the guest notices.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.tools.figures import Spread, begin, say, table
from bench.tools.labs import BenchLab, bench_lab
from bench.tools.pulse import Pulse
from bench.tools.talking import measure
from lab import guests
from lab.guest_xml import mac_of
from lab.state import REPOSITORY

OURS, BARE = "ours", "bare"
NODES = ("hv1", "hv2")
GOAL_RATIO, GOAL_MS = 1.1, 50.0
GUARD = "from pathlib import Path; from pvc_core.guard.client import Guard; Guard(Path('/run/pvc')).permit({!r}, " + (
    "generation=0, kind={!r}, for_s=120)"
)
WAYS = {
    "pvc": "PVC: `pvc vm move -w`",
    "api": "PVC: POST /vm/NAME/node, wait=true",
    "virsh": "libvirt: `virsh migrate --live --p2p --tls`",
}


@dataclass(frozen=True)
class Taken:
    """Milliseconds."""

    whole: float
    still: float


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pings", type=int, default=6, help="so many moves under pings [6]")
    parser.add_argument("--cuts", type=float, nargs="*", default=[5.0, 15.0], help="seconds, one cut after the other")
    options = parser.parse_args(argv)
    begin("bench.migrate", argv)
    with bench_lab("migrate", nodes=3) as lab:
        if options.pings:  # first: the guests of the rest let the machine no rest
            measure(lab, options.pings, options.cuts)
        ways = _ways(lab)
        for way in ways.values():  # the first to a node costs more: libvirt looks at QEMU, the driver at its hook
            for node in (*NODES[1:], NODES[0]):
                way(node)
        rounds = [{name: way(node) for name, way in ways.items()} for node in _nodes(options.rounds)]
    _print(rounds)
    return 0


def _nodes(rounds: int) -> list[str]:
    """Each way has one guest of its own, or shares one that is back by then: to and fro."""
    return [NODES[(number + 1) % 2] for number in range(rounds)]


def _ways(lab: BenchLab) -> dict[str, Callable[[str], Taken]]:
    uuids = {name: _guest(lab, name) for name in (OURS, "ours-too")}
    bare = _bare(lab, OURS, uuids[OURS])
    cli = [str(REPOSITORY / ".venv/bin/pvc"), "-c", "local", "vm", "move", "-w", OURS, "-t"]
    return {
        "pvc": lambda node: _timed(lab, uuids[OURS], node, lambda: lab.inside("hv3", *cli, node)),
        "api": lambda node: _timed(
            lab, uuids["ours-too"], node,
            lambda: lab.api.post("/vm/ours-too/node", action="move", node=node, wait="true"),
        ),
        "virsh": lambda node: _virsh(lab, bare, node),
    }  # fmt: skip


def _guest(lab: BenchLab, name: str) -> str:
    guests.make_guest(lab.api, guests.Wish(name=name, node=NODES[0], flavour="pulse"), say=lambda _: None)
    (vm,) = lab.api.get(f"/vm/{name}")
    return str(vm["uuid"])


def _bare(lab: BenchLab, name: str, uuid: str) -> str:
    """The same guest again, libvirt's alone. Returns its UUID."""
    twin = f"{int(uuid[:8], 16) ^ 1:08x}{uuid[8:]}"
    guests.ensure_volume(lab.api, guests.Wish(name=BARE, flavour="pulse"), say=lambda _: None)
    xml = lab.inside(NODES[0], "virsh", "dumpxml", "--migratable", name)
    disk = re.search(r"<source file='([^']+)'", xml)
    assert disk is not None, "the guest's disk is a file"
    xml = (
        xml.replace(disk[1], disk[1].replace(f"/{name}-root/", f"/{BARE}-root/"))
        .replace(uuid, twin)
        .replace(mac_of(name), mac_of(BARE))
    )
    xml = xml.replace(f"<name>{name}</name>", f"<name>{BARE}</name>")
    (lab.lab.node_dir(NODES[0]) / "var/tmp/bare.xml").write_text(xml)
    _permit(lab, NODES[0], twin, "start")
    lab.inside(NODES[0], "virsh", "create", "/var/tmp/bare.xml")
    end_s = time.monotonic() + 120.0
    log = lab.lab.node_dir(NODES[0]) / f"var/log/libvirt/{twin}.log"
    while not (log.exists() and b"tick 100" in log.read_bytes()):
        if time.monotonic() > end_s:
            raise RuntimeError("the bare guest did not boot")
        time.sleep(0.2)
    return twin


def _virsh(lab: BenchLab, uuid: str, node: str) -> Taken:
    source = next(other for other in NODES if other != node)
    _permit(lab, node, uuid, "incoming")
    address = lab.inside(node, "hostname", "-i").split()[0]
    how = ["--live", "--p2p", "--tls", "--auto-converge", "--abort-on-error", "--unsafe"]
    argv = ["virsh", "migrate", *how, BARE, f"qemu+tls://{node}/system", f"tcp://{address}"]
    return _timed(lab, uuid, node, lambda: lab.inside(source, *argv))


def _permit(lab: BenchLab, node: str, uuid: str, kind: str) -> None:
    lab.inside(node, "env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-P", "-c", GUARD.format(uuid, kind))


def _timed(lab: BenchLab, uuid: str, node: str, move: Callable[[], object]) -> Taken:
    source = next(other for other in NODES if other != node)
    pulse = Pulse(*(lab.lab.node_dir(name) / f"var/log/libvirt/{uuid}.log" for name in (source, node)))
    time.sleep(0.5)
    began_s = time.monotonic()
    move()
    whole_s = time.monotonic() - began_s
    return Taken(whole_s * 1000, pulse.gap_s() * 1000)


def _print(rounds: list[dict[str, Taken]]) -> None:
    for what, pick in (("until it is back, ms", _whole), ("the guest stood still, ms", _still)):
        bare = Spread.of(pick(each["virsh"]) for each in rounds)
        rows = []
        for way, words in WAYS.items():
            spread = Spread.of(pick(each[way]) for each in rounds)
            more = Spread.of(pick(each[way]) - pick(each["virsh"]) for each in rounds)
            rows.append([words, *spread.cells(), *more.cells()[:1], f"{spread.p50 / bare.p50:.2f}"])
        table((what, "p50", "p95", "p99", "on top p50", "ratio p50"), rows)
    say(f"{len(rounds)} rounds, each way in turn. Goals: ratio {GOAL_RATIO}, {GOAL_MS:.0f} ms on top.")


def _whole(taken: Taken) -> float:
    return taken.whole


def _still(taken: Taken) -> float:
    return taken.still


if __name__ == "__main__":
    sys.exit(main())
