"""How long from `POST /vm/NAME/state` to a running domain, against libvirt alone with the very XML that PVC renders.

In a lab of its own, one guest, every way in turn in each round. The guest is a boot sector that halts, so that what is
measured is the start and not the boot. `running` is libvirt's own event "started", for all ways.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.tools.figures import Spread, begin, say, table
from bench.tools.labs import BenchLab, bench_lab
from lab.guest_xml import guest_xml

NAME, POOL, VOLUME = "start", "vms", "start-root"
MEMORY_MIB = 32
GOAL_MS = 50.0
BEGINS = "libvirt begins QEMU"
WAYS = {
    "pvc": "PVC: POST state=start, from the request",
    "pvc accepted": "PVC: POST state=start, from its answer",
    "libvirt with hook": "libvirt: createXML, PVC's hook active",
    "libvirt": "libvirt: createXML, a libvirtd without hook",
    "virsh": "libvirt: `virsh create`, a libvirtd without hook",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args(argv)
    begin("bench.start", argv)
    with bench_lab("start") as lab:
        uuid = _define(lab)
        words = {"key": lab.api.key, "name": NAME, "uuid": uuid, "pool": POOL, "volume": VOLUME}
        numbers = {"memory-mib": MEMORY_MIB, "rounds": options.rounds}
        arguments = [word for name, value in {**words, **numbers}.items() for word in (f"--{name}", str(value))]
        rounds = lab.python("bench.tools.start_probe", *arguments)
    _print_ways(rounds)
    _print_phases(rounds)
    return 0


def _define(lab: BenchLab) -> str:
    """A VM whose disk is one boot sector that disables interrupts and halts. Returns its UUID."""
    api = lab.api
    api.post("/storage/ceph/volume", volume=VOLUME, pool=POOL, size="1M")
    with tempfile.TemporaryDirectory() as directory:
        image = Path(directory) / "halt.raw"
        image.write_bytes(bytes([0xFA, 0xF4, 0xEB, 0xFD]).ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
        path = f"/storage/ceph/volume/{POOL}/{VOLUME}/upload"
        api.upload(path, image, image_format="raw", file_size=image.stat().st_size)
    xml = guest_xml(NAME, pool=POOL, volume=VOLUME, memory_mib=MEMORY_MIB)
    api.call("POST", "/vm", {}, form={"xml": xml, "selector": "mem", "autostart": "false"})
    vms = api.get(f"/vm/{NAME}")
    return str(vms[0]["uuid"])


def _print_ways(rounds: list[dict[str, Any]]) -> None:
    times = {way: [each[way]["running"] for each in rounds] for way in rounds[0]}
    times["pvc accepted"] = [each["pvc"]["running"] - each["pvc"]["answered"] for each in rounds]
    rows = []
    for way, what in WAYS.items():
        ratio = Spread.of(times[way]).p50 / Spread.of(times["libvirt"]).p50
        rows.append([what, *Spread.of(times[way]).cells(), *_on_top(times, way).cells()[:2], f"{ratio:.2f}"])
    head = ("until the domain runs, ms", "p50", "p95", "p99", "on top p50", "on top p95", "ratio p50")
    table(head, rows)
    say(f'{len(rounds)} rounds. "On top" is the difference to createXML without hook in the same round.')
    on_top = _on_top(times, "pvc").p50
    say(f"PVC costs {on_top:.1f} ms on top of bare libvirt (p50); goal: at most {GOAL_MS:.0f} ms")
    before = {way: [each[way][BEGINS] for each in rounds] for way in ("pvc", "libvirt")}
    say(
        f"Of that before libvirt begins QEMU, where the times are less noisy: {_on_top(before, 'pvc').p50:.1f} ms (p50)"
    )


def _on_top(times: dict[str, list[float]], way: str) -> Spread:
    return Spread.of(mine - bare for mine, bare in zip(times[way], times["libvirt"], strict=True))


def _print_phases(rounds: list[dict[str, Any]]) -> None:
    """Where the time goes, step by step."""
    rows = []
    for way in ("pvc", "libvirt with hook", "libvirt"):
        before = [0.0] * len(rounds)
        for what in rounds[0][way]:
            now = [each[way][what] for each in rounds]
            step = Spread.of(after - earlier for after, earlier in zip(now, before, strict=True))
            rows.append([f"{way}: {what}", *Spread.of(now).cells(), *step.cells()[:2]])
            before = now
    table(("ms after it was asked for", "p50", "p95", "p99", "step p50", "step p95"), rows)


if __name__ == "__main__":
    sys.exit(main())
