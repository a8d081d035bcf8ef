"""What goes wrong in the middle of a live migration, pair by pair (step, fault), on a real cluster, while somebody
looks who executes the guest. `python -m tests.system.move_grid` plays all pairs (script/soak --migrations), the tests a
few.

A step is where a daemon is held (Ground.moment), or the copying of memory, made slow. The table of what comes of each
pair is in docs/migration.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab import LabError, guests
from tests.lab_fixture import RunningLab
from tests.system.execution import ExecutionWatch

STEPS = {
    "asked": ("source", "move.asked"),
    "prepare": ("target", "move.prepare"),
    "set out": ("source", "move.set-out"),
    "copying": ("", ""),
    "gone": ("source", "move.gone"),
    "arrived": ("target", "move.arrived"),
    "stamped": ("target", "move.stamped"),
    "resumed": ("target", "move.resumed"),
}
"""Name -> (whose daemon is held, where). In order; what they mean: the table in docs/migration.md."""
CUT = "is cut off"
FAULTS = ("pvcnoded dies", "libvirtd dies", "libvirtd hangs", "power fails", CUT)
SIDES = ("source", "target")
MOVED, STAYED, ANEW = "moved", "stayed", "started anew"
HANG_S, CUT_S, DARK_S = 50.0, 15.0, 8.0
"""How long libvirtd hangs: longer than libvirt waits for the other end (schedule A1). Then it goes on, is joined to the
network again, is switched on again."""
REST_S = 240.0


@dataclass(frozen=True)
class Pair:
    step: str
    side: str
    fault: str

    def __str__(self) -> str:
        whose = f"the {self.side}" if self.fault == CUT else f"the {self.side}'s"
        return f"{self.step}: {whose} {self.fault}"


@dataclass(frozen=True)
class Came:
    """What came of it: one of MOVED, STAYED, ANEW, and on which side; `meanwhile` is what the VM's status said."""

    outcome: str
    side: str
    meanwhile: str
    took_s: float
    stood_still_s: float

    def __str__(self) -> str:
        return f"{self.outcome} on {self.side}"


class Rig:
    """A guest that counts, on hv2 or hv3 of a cluster of three; hv1 looks on. `play` leaves it running there."""

    def __init__(self, lab: RunningLab, vm: str = "traveller") -> None:
        self.lab, self.vm = lab, vm
        if not self._is_there():
            guests.make_guest(lab.api, guests.Wish(name=vm, node="hv2", flavour="pulse"))
        self.uuid = str(self.info()["uuid"])

    def play(self, pair: Pair) -> Came:
        """Raises AssertionError when two executed, or none without a reason, or it does not come to rest."""
        source = self._at_rest()
        target = "hv3" if source == "hv2" else "hv2"
        watch = ExecutionWatch(self.lab, self.vm, self.uuid)
        began_s = time.monotonic()
        try:
            self._until(lambda: watch.executing() == {source}, "it counts before it moves")
            with self._at(pair.step, source, target):
                meanwhile = self._strike(pair, source, target)
            node = self._at_rest()
            time.sleep(3.0)
            self._until(lambda: watch.executing(3.0) == {node}, f"it counts on {node} and nowhere else")
            assert not watch.double, watch.double
            self._until(lambda: self._copies() == [node], f"one QEMU is left, on {node}")
            side = "source" if node == source else "target"
            outcome = ANEW if watch.began_anew() else MOVED if node == target else STAYED
            return Came(outcome, side, meanwhile, time.monotonic() - began_s, watch.stood_still_s())
        finally:
            watch.stop()

    def info(self) -> dict[str, Any]:
        (vm,) = self.lab.api.get(f"/vm/{self.vm}")
        return dict(vm)

    # -- one pair ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _at(self, step: str, source: str, target: str) -> Iterator[None]:
        """Inside, the migration stands at this step."""
        side, moment = STEPS[step]
        where = source if side == "source" else target
        if moment:
            self.lab.hold(where, moment)
        else:
            self.lab.exec(source, "virsh", "migrate-setspeed", self.vm, "--bandwidth", "2")
        self._ask(target)
        try:
            if moment:
                self._until(lambda: self.lab.is_held(where, moment), f"{where} comes to {moment}")
            else:
                self._until(lambda: "% copied" in self.info()["status"], "memory is copied")
            yield
        finally:
            for node in (source, target):
                for _, other in STEPS.values():
                    self.lab.let_go(node, other) if other else None

    def _strike(self, pair: Pair, source: str, target: str) -> str:
        """The fault, and its end; what the VM's status says while it lasts."""
        where = source if pair.side == "source" else target
        _, moment = STEPS[pair.step]
        match pair.fault:
            case "pvcnoded dies":
                self.lab.kill(where, "pvcnoded")
            case "libvirtd dies":
                self.lab.kill(where, "libvirtd")
            case "libvirtd hangs":
                self.lab.kill(where, "libvirtd", signal="SIGSTOP")
            case "power fails":
                self.lab.power_off(where)
            case "is cut off":
                self.lab.cut(where)
        for node in (source, target):
            self.lab.let_go(node, moment) if moment else None
        if not moment:
            self._hurry(source)
        lasts_s = {"libvirtd hangs": HANG_S, "power fails": DARK_S, "is cut off": CUT_S}.get(pair.fault, 1.0)
        time.sleep(lasts_s)
        meanwhile = self._status()
        if pair.fault == "libvirtd hangs":
            self.lab.kill(where, "libvirtd", signal="SIGCONT")
        elif pair.fault == "power fails":
            self.lab.power_on(where)
        elif pair.fault == "is cut off":
            self.lab.heal(where)
        return meanwhile

    def _ask(self, target: str) -> None:
        self.lab.api.post(f"/vm/{self.vm}/node", action="move", node=target, force_live="true")

    def _hurry(self, source: str) -> None:
        try:
            self.lab.exec(source, "timeout", "5", "virsh", "migrate-setspeed", self.vm, "--bandwidth", "1000")
        except LabError:
            pass  # its libvirtd, or the whole node, is what was struck; or the guest has left

    def _status(self) -> str:
        try:
            return str(self.info()["status"])
        except LabError as error:
            return str(error)

    # -- rest ----------------------------------------------------------------------------------------------------------

    def _at_rest(self) -> str:
        """Its node, once the last request has its answer and the guest runs."""
        found = ""

        def rests() -> bool:
            nonlocal found
            try:
                vm = self.info()
            except LabError:
                return False
            found = str(vm["node"])
            return vm["state"] == "start" and vm["status"] == f"running on {found}" and self._copies() == [found]

        self._until(rests, "the guest runs and its move has its answer")
        return found

    def _copies(self) -> list[str]:
        """The nodes on which a QEMU carries it, running or not."""
        found = []
        for node in self.lab.nodes:
            try:
                lines = self.lab.exec(node, "pgrep", "-fc", f"qemu-system.*guest={self.vm},")
            except LabError:
                continue  # none, or the node is off
            found += [node] * int(lines.strip())
        return found

    def _is_there(self) -> bool:
        try:
            self.info()
        except LabError:
            return False
        return True

    def _until(self, true: Callable[[], object], what: str) -> None:
        end = time.monotonic() + REST_S
        while not true():
            assert time.monotonic() < end, f"not within {REST_S:.0f} s: {what}; it says: {self._status()}"
            time.sleep(0.1)


def pairs() -> list[Pair]:
    """All of them. At `resumed` nothing of the source's is left to fail."""
    return [Pair(step, side, fault) for step in STEPS for fault in FAULTS for side in SIDES]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when each pair ended with one guest, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="soak --migrations", description=__doc__)
    parser.add_argument("--only", default="", help="only pairs whose name contains this")
    parser.add_argument("--lab", default="", help="a lab of three nodes that is up, instead of one of its own")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(argv)
    lab = RunningLab(options.lab or "moves-soak", nodes=3)
    failed = 0
    try:
        rig = Rig(lab)
        for pair in [pair for pair in pairs() if options.only in str(pair)] * options.rounds:
            try:
                came = rig.play(pair)
                line = (
                    f"{came}, {came.took_s:.0f} s, stood still {came.stood_still_s:.1f} s; meanwhile: {came.meanwhile}"
                )
            except (AssertionError, LabError) as error:
                failed += 1
                line = f"WRONG: {error}"
            sys.stdout.write(f"{pair} -> {line}\n")
            sys.stdout.flush()
    finally:
        if not options.lab:
            lab.down()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
