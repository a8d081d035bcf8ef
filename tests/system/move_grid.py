"""What goes wrong in the middle of a live migration, pair by pair (step, fault), on a real cluster, while somebody
looks who executes the guest. `python -m tests.system.move_grid` plays all pairs (script/soak --migrations), the tests a
few. All pairs are played in two places of one lab at a time: most of their time is waiting.

A step is where a daemon is held (Ground.moment), or the copying of memory, made slow. The table of what comes of each
pair is in docs/migration.md.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab import LabError, guests, network
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
DAEMON, LIBVIRT, HANG, POWER = "pvcnoded dies", "libvirtd dies", "libvirtd hangs", "power fails"
CUT, CLUSTER, PARTED = "is cut off", "loses the cluster network", "and the other do not reach each other"
FAULTS = (HANG, LIBVIRT, CLUSTER, PARTED, CUT, POWER, DAEMON)
SIDES = ("source", "target")
MOVED, STAYED, ANEW = "moved", "stayed", "started anew"
LASTS_S = {HANG: 50.0, CUT: 15.0, CLUSTER: 40.0, PARTED: 40.0, POWER: 8.0}
"""How long a fault lasts. libvirt gives the other end up after 10 s (lab/files.py), by default after 30 s."""
REST_S = 240.0
SEVERAL = ("hv2", "hv3"), ("hv4", "hv5")
"""Where the whole grid is played: between coordinators, and between mere hypervisors. hv1 is primary and looks on."""
WALL = """table inet parted {
 chain from { type filter hook input priority 0; ip saddr %s drop; }
 chain to { type filter hook output priority 0; ip daddr %s drop; }
}"""


@dataclass(frozen=True)
class Pair:
    step: str
    side: str
    fault: str

    def __str__(self) -> str:
        whose = f"the {self.side}" if self.fault in (CUT, CLUSTER, PARTED) else f"the {self.side}'s"
        return f"{self.step}: {whose} {self.fault}"


@dataclass(frozen=True)
class Came:
    """What came of it: one of MOVED, STAYED, ANEW, and on which side; `meanwhile`: what the VM's status said, `why`:
    what was told of the node that was struck, both while the fault lasted.
    """

    outcome: str
    side: str
    meanwhile: str
    why: str
    took_s: float
    stood_still_s: float

    def __str__(self) -> str:
        return f"{self.outcome} on {self.side}"


class Rig:
    """A guest that counts, on one of two nodes (hv2 and hv3); hv1 looks on. `play` leaves it running there."""

    def __init__(
        self, lab: RunningLab, vm: str = "traveller", nodes: tuple[str, str] = SEVERAL[0], hang_s: float = LASTS_S[HANG]
    ) -> None:
        self.lab, self.vm, self.nodes = lab, vm, nodes
        self._lasts_s = {**LASTS_S, HANG: hang_s}
        if not self._is_there():
            guests.make_guest(lab.api, guests.Wish(name=vm, node=nodes[0], flavour="pulse"))
        self.uuid = str(self.info()["uuid"])

    def play(self, pair: Pair) -> Came:
        """Raises AssertionError when two executed, or none without a reason, or it does not come to rest."""
        source = self._at_rest()
        target = next(node for node in self.nodes if node != source)
        watch = ExecutionWatch(self.lab, self.vm, self.uuid)
        began_s = time.monotonic()
        try:
            self._until(lambda: watch.executing() == {source}, "it counts before it moves")
            with self._at(pair.step, source, target):
                meanwhile, why = self._strike(pair, source, target)
            node = self._at_rest()
            time.sleep(3.0)
            self._until(lambda: watch.executing(3.0) == {node}, f"it counts on {node} and nowhere else")
            assert not watch.double, watch.double
            self._until(lambda: self._copies() == [node], f"one QEMU is left, on {node}")
            side = "source" if node == source else "target"
            outcome = ANEW if watch.began_anew() else MOVED if node == target else STAYED
            return Came(outcome, side, meanwhile, why, time.monotonic() - began_s, watch.stood_still_s())
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

    def _strike(self, pair: Pair, source: str, target: str) -> tuple[str, str]:
        """The fault, and its end; what is said of the VM and of the struck node while it lasts."""
        where, other = (source, target) if pair.side == "source" else (target, source)
        _, moment = STEPS[pair.step]
        self._begin(pair.fault, where, other)
        for node in (source, target):
            self.lab.let_go(node, moment) if moment else None
        if not moment:
            self._hurry(source)
        time.sleep(self._lasts_s.get(pair.fault, 1.0))
        meanwhile, why = self._status(), self._why(where)
        self._end(pair.fault, where)
        return meanwhile, why

    def _begin(self, fault: str, where: str, other: str) -> None:
        match fault:
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
            case "loses the cluster network":
                self.lab.cut(where, "cluster")
            case _:
                address = network.CLUSTER.address(self.lab.nodes.index(other) + 1)
                self.lab.exec(where, "nft", WALL % (address, address))

    def _end(self, fault: str, where: str) -> None:
        match fault:
            case "libvirtd hangs":
                self.lab.kill(where, "libvirtd", signal="SIGCONT")
            case "power fails":
                self.lab.power_on(where)
            case "is cut off":
                self.lab.heal(where)
            case "loses the cluster network":
                self.lab.heal(where, "cluster")
            case "and the other do not reach each other":
                self.lab.exec(where, "nft", "delete table inet parted")

    def _ask(self, target: str) -> None:
        """What another place of the same lab suffers may keep the API from answering for a moment."""

        def taken() -> bool:
            with contextlib.suppress(LabError):
                self.lab.api.post(f"/vm/{self.vm}/node", action="move", node=target, force_live="true")
                return True
            return False

        self._until(taken, f"its move to {target} is asked for")

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

    def _why(self, node: str) -> str:
        """`pvc node why`."""
        try:
            return " | ".join(self.lab.api.get(f"/node/{node}/why")["lines"])
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
            rests = vm["state"] == "start" and vm["status"] == f"running on {found}"
            return rests and self._copies(self.nodes) == [found]

        self._until(rests, "the guest runs and its move has its answer")
        return found

    def _copies(self, nodes: Sequence[str] = ()) -> list[str]:
        """Those of `nodes` (all) on which a QEMU carries it, running or not."""
        found = []
        for node in nodes or self.lab.nodes:
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
    """All of them. Two that do not reach each other are struck as one."""
    return [
        Pair(step, side, fault)
        for fault in FAULTS
        for step in STEPS
        for side in (SIDES[:1] if fault == PARTED else SIDES)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when each pair ended with one guest, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="soak --migrations", description=__doc__)
    parser.add_argument("--only", default="", help="only pairs whose name contains one of these, parted by |")
    parser.add_argument("--lab", default="", help="a lab that is up, instead of one of its own")
    parser.add_argument("--nodes", type=int, default=5, choices=(3, 5), help="with 5 in two places at a time")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--hang", type=float, default=LASTS_S[HANG], help="seconds that libvirtd hangs")
    options = parser.parse_args(argv)
    wanted = [pair for pair in pairs() if any(words in str(pair) for words in options.only.split("|"))]
    lab = RunningLab(options.lab or "moves-soak", nodes=options.nodes)
    try:
        lab.api.post("/node/hv1/coordinator-state", state="primary")
        with lab.unfenced():  # what a lost node's guests come to is another soak's: --rounds
            rigs = [Rig(lab, f"traveller{nodes[0]}", nodes, options.hang) for nodes in SEVERAL[: options.nodes // 2]]
            return 1 if _play_all(rigs, wanted * options.rounds) else 0
    finally:
        lab.leave_up() if options.lab else lab.down()


def _play_all(rigs: Sequence[Rig], wanted: Sequence[Pair]) -> int:
    """How many went wrong. Each rig takes the next pair when it has finished one."""
    left: queue.SimpleQueue[Pair] = queue.SimpleQueue()
    for pair in wanted:
        left.put(pair)
    wrong: list[Pair] = []

    def work(rig: Rig) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                pair = left.get_nowait()
                line = _played(rig, pair)
                if line.startswith("WRONG"):
                    wrong.append(pair)
                sys.stdout.write(f"{pair} ({' and '.join(rig.nodes)}) -> {line}\n")
                sys.stdout.flush()

    threads = [threading.Thread(target=work, args=(rig,)) for rig in rigs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(wrong)


def _played(rig: Rig, pair: Pair) -> str:
    try:
        came = rig.play(pair)
    except (AssertionError, LabError) as error:
        return f"WRONG: {error}"
    took = f"{came.took_s:.0f} s, stood still {came.stood_still_s:.1f} s"
    return f"{came}, {took}; meanwhile: {came.meanwhile}; why: {came.why}"


if __name__ == "__main__":
    sys.exit(main())
