"""What a test of faults looks at: the guest's own counter, what each API says, how old that is, whether all is well.

A guest is watched where its hypervisor writes its console, not through PVC: a frozen QEMU "runs" in every list.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import LabError, network

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

SAY = """
import http.client, json, socket, sys, time
class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect("/run/pvc/api.sock")
door, began = Door("localhost"), time.monotonic()
door.request(sys.argv[1], "/api/v1" + sys.argv[2])
answer = door.getresponse()
body = answer.read()
took = time.monotonic() - began
print(json.dumps({"status": answer.status, "stale": answer.headers.get("PVC-Stale"), "took_s": took,
                  "body": json.loads(body) if body else None}))
"""
PICTURE = """
import json
from pvc_core.peer import ask
print(json.dumps(ask("/run/pvc/node.sock", "picture").result))
"""


@dataclass(frozen=True)
class Said:
    """One answer of one coordinator's own API. `stale`: the header, None when the answer is not marked."""

    status: int
    stale: str | None
    took_s: float
    body: Any


def say(lab: RunningLab, node: str, method: str, path: str) -> Said:
    """Ask the node's API through its socket, from inside: so also while it is cut off."""
    return Said(**json.loads(lab.exec(node, sys.executable, "-c", SAY, method, path)))


class Guest:
    """A running guest of the lab, and what must not have happened to it."""

    def __init__(self, lab: RunningLab, name: str, node: str) -> None:
        self._lab, self.name, self.node = lab, name, node
        (vm,) = lab.api.get(f"/vm/{name}")
        self._log = lab.root_of(node) / "var/log/libvirt" / f"{vm['uuid']}.log"
        self._pid = self._process()

    def ticks(self) -> list[int]:
        return [int(tick) for tick in re.findall(r"^tick (\d+)", self._log.read_text(errors="replace"), re.MULTILINE)]

    def counts_on(self, *, deadline_s: float = 60) -> None:
        """It executes at this moment."""
        before = self.ticks()[-1]
        self._lab.eventually(lambda: self.ticks()[-1] > before + 1, f"{self.name} counts on", deadline_s=deadline_s)

    def check(self) -> None:
        """Still the same process, that never began anew, and nowhere else a copy of it."""
        assert self._process() == self._pid
        ticks = self.ticks()
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), "a second was counted twice, or left out"
        for node in self._lab.nodes:
            if node != self.node:
                assert not self._processes(node), f"a copy on {node}"

    def _process(self) -> str:
        (found,) = self._processes(self.node)
        return found

    def _processes(self, node: str) -> list[str]:
        try:
            return self._lab.exec(node, "pgrep", "-f", f"qemu-system.*guest={self.name},").split()
        except LabError:
            return []


def holders(lab: RunningLab, net: network.Network) -> list[str]:
    """The nodes that have the floating address of `net`."""
    return [name for name in lab.nodes if f" {net.floating}/" in lab.exec(name, "ip", "-o", "-4", "addr")]


def primary(lab: RunningLab) -> str:
    """The one node that has all the floating addresses; "" when there is no such."""
    found = {tuple(holders(lab, net)) for net in network.NETWORKS}
    return next(iter(found))[0] if len(found) == 1 and len(next(iter(found))) == 1 else ""


def faults(lab: RunningLab) -> list[str]:
    """What is not well in the cluster now: in words, empty when all is."""
    found = []
    try:
        first = None
        for name in lab.coordinators:
            nodes, vms = say(lab, name, "GET", "/node"), say(lab, name, "GET", "/vm")
            if nodes.stale or vms.stale or nodes.status != 200:
                found.append(f"{name}'s API: {nodes.status}, stale {nodes.stale}")
            shown = (_short(nodes.body, "daemon_state", "coordinator_state"), _short(vms.body, "state", "node"))
            first = first or shown
            if shown != first:
                found.append(f"{name}'s API shows {shown}, another {first}")
        states = {item[1] for item in (first or ([], []))[0]}
        if states != {"run"}:
            found.append(f"nodes are {states}")
        if [item[2] for item in (first or ([], []))[0]].count("primary") != 1 or not primary(lab):
            found.append(f"primary: {first and first[0]}, addresses: {[holders(lab, net) for net in network.NETWORKS]}")
        for name in lab.nodes:
            picture = json.loads(lab.exec(name, sys.executable, "-c", PICTURE))
            if picture["stale_s"] is not None or picture["differences"]:
                found.append(f"{name}: {picture}")
            down = [unit for unit, is_ in lab.units(name).items() if is_["state"] != "active"]
            found += [f"{name}: {unit} is down" for unit in down]
    except (LabError, TypeError, KeyError) as error:
        found.append(str(error))
    return found


def all_well(lab: RunningLab, *, deadline_s: float = 90) -> None:
    """Every picture equals the store, every API shows the same, unmarked, and exactly one node is primary; and it can
    be written to. Maintenance stays as it is.
    """
    last: list[list[str]] = [[]]

    def well() -> bool:
        last[0] = faults(lab)
        return not last[0]

    try:
        lab.eventually(well, "all is well", deadline_s=deadline_s)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0]}") from None
    lab.api.post("/status", state=lab.api.get("/status")["maintenance"])


def _short(items: list[dict[str, Any]], *keys: str) -> list[tuple[str, ...]]:
    return sorted((item["name"], *(item[key] for key in keys)) for item in items)
