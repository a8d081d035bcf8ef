"""A cluster that loses nodes, and what must be true of its guests: the rig of tests, soak and bench.

It strikes and repairs through the lab, asks the API what a user would ask, and believes only Doubles about who
executes. The faults themselves are in failover_faults.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lab import LabError, guests
from tests.lab.doubles import Doubles
from tests.lab_fixture import RunningLab

REST_S = 300.0
"""Machines that are shared with everything else: no speed is judged, only that it happens."""


class Rig:
    """A lab with guests that count, watched from its making until `close`. Raises AssertionError in words."""

    def __init__(self, lab: RunningLab, count: int = 3) -> None:
        self.lab = lab
        names = [f"ha{number}" for number in range(1, count + 1)]
        wishes = [
            guests.Wish(name=name, node=lab.nodes[-1 - number % len(lab.nodes)]) for number, name in enumerate(names)
        ]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._make, wishes))
        self.uuids = {name: str(lab.api.get(f"/vm/{name}")[0]["uuid"]) for name in names}
        self.watch = Doubles(lab)
        self.struck_s = self.struck_wall_s = 0.0
        self.elsewhere_s: float | None = None
        """From the strike until the last of the guests concerned executed elsewhere; None: none had to."""
        self.notes: list[str] = []
        self._boots: dict[str, str] = {}

    def _make(self, wish: guests.Wish) -> None:
        """What is there already is taken as it is: so it may be asked again when an answer got lost."""
        for last in (False, False, True):
            try:
                guests.make_guest(self.lab.api, wish, say=lambda _: None)
                return
            except LabError as error:
                print(f"making {wish.name}: {error}")
                if last:
                    raise
                time.sleep(2.0)

    def close(self) -> None:
        self.watch.stop()
        for name in self.uuids:
            self.lab.remove_guest(name)

    # -- what the cluster says -----------------------------------------------------------------------------------------

    def node(self, name: str) -> dict[str, Any]:
        return dict(self.lab.api.get(f"/node/{name}")[0])

    def vm(self, name: str) -> dict[str, Any]:
        return dict(self.lab.api.get(f"/vm/{name}")[0])

    def guests_on(self, node: str) -> list[str]:
        return [vm["name"] for vm in self.lab.api.get("/vm") if vm["node"] == node and vm["name"] in self.uuids]

    def primary(self) -> str:
        found = [node["name"] for node in self.lab.api.get("/node") if node["coordinator_state"] == "primary"]
        return str(found[0]) if len(found) == 1 else ""

    def store_leader(self) -> str:
        return next((name for name in self.lab.coordinators if self.lab.store_role(name) == "leader"), "")

    def occupy(self, node: str) -> None:
        """A fault of a node without guests shows nothing: one is moved there."""
        if self.guests_on(node):
            return
        name = next(iter(self.uuids))
        self.lab.api.post(f"/vm/{name}/node", action="move", node=node)
        self.until(lambda: self.vm(name)["status"] == f"running on {node}", f"{name} is on {node}")
        self.whole()

    # -- striking ------------------------------------------------------------------------------------------------------

    def strike(self, act: Callable[[], object]) -> None:
        """What goes wrong, and from when on the seconds count."""
        self._boots = {node: self.lab.pid_namespace(node) for node in self.lab.nodes}
        self.struck_s, self.struck_wall_s = time.monotonic(), time.time()
        act()

    def run_elsewhere(self, names: Collection[str], lost: str) -> None:
        """Every one of them was seen to execute in a new copy, and the API shows it there."""
        began = {name: self._elsewhere(name, lost) for name in names}
        if began:
            self.elsewhere_s = max(self.elsewhere_s or 0.0, max(began.values()) - self.struck_s)

    def _elsewhere(self, name: str, lost: str) -> float:
        def there() -> bool:
            vm = self.vm(name)
            began_s = self.watch.began_s(self.uuids[name], after_s=self.struck_s, elsewhere_than=lost)
            return began_s is not None and vm["state"] == "start" and vm["node"] != lost

        self.until(there, f"{name} runs elsewhere than on {lost}", tell=lambda: self.vm(name)["status"])
        return self.watch.began_s(self.uuids[name], after_s=self.struck_s, elsewhere_than=lost) or 0.0

    def stays(self, names: Collection[str], *, for_s: float, node: str) -> None:
        """Nobody else begins to execute them, for so long."""
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            for name in names:
                began_s = self.watch.began_s(self.uuids[name], after_s=self.struck_s, elsewhere_than=node)
                assert began_s is None, f"{name} began elsewhere, and nothing proves that {node} is off"
            time.sleep(0.2)

    def stand_still(self, names: Collection[str]) -> None:
        self.until(lambda: not any(self.watch.executing(self.uuids[name]) for name in names), "they stand still")

    def was_fenced(self, node: str) -> bool:
        """It is shown as fenced, or was switched off and on again by its controller since the strike."""
        return bool(self.node(node)["daemon_state"] == "fenced") or (
            self.lab.is_on(node) and self.lab.pid_namespace(node) != self._boots[node]
        )

    def note(self, words: str) -> None:
        """For the table: how it came about."""
        self.notes.append(words)

    # -- rest ----------------------------------------------------------------------------------------------------------

    def repair(self) -> None:
        """Everything that a person would set right: cables, controllers, power, daemons."""
        for node in self.lab.nodes:
            self.lab.bmc(node, "ok") if self.lab.bmc_fault(node) != "ok" else None
            for net in self.lab.cuts(node):
                self.lab.heal(node, net)
            # A controller that answers again may at once obey who asked it to switch the node off.
            self.until(partial(self._switch_on, node), f"{node} is switched on")

    def _switch_on(self, node: str) -> bool:
        self.lab.power_on(node)
        return True

    def whole(self) -> None:
        """All nodes at work, one primary, a whole ensemble; every guest executes once, where the API shows it."""
        self.until(lambda: not self.wrong(), "the cluster is whole and every guest runs once", tell=self.wrong)
        assert not self.watch.found, self.watch.found

    def wrong(self) -> str:
        """The first thing that is not as it should be at rest; "" when all is."""
        nodes = {node["name"]: node for node in self.lab.api.get("/node")}
        for name, node in nodes.items():
            if node["daemon_state"] != "run" or node["domain_state"] != "ready":
                return f"node {name} is {node['daemon_state']}, {node['domain_state']}: {node.get('status')}"
        if not self.primary():
            return "there is no primary"
        roles = sorted(self.lab.store_role(name) for name in self.lab.coordinators)
        if len(roles) > 1 and roles != ["follower"] * (len(roles) - 1) + ["leader"]:
            return f"the ensemble is {roles}"
        for name, uuid in self.uuids.items():
            vm, seen = self.vm(name), self.watch.executing(uuid, within_s=3.0)
            if vm["state"] != "start" or seen != {vm["node"]}:
                return f"{name} is {vm['state']} on {vm['node']} ({vm['status']}) and executes on {sorted(seen)}"
            if (copies := self.watch.copies(uuid)) != [vm["node"]]:
                return f"copies of {name} are on {copies}"
        return ""

    def until(self, true: Callable[[], object], what: str, *, tell: Callable[[], object] = lambda: "") -> None:
        """An API that gives no answer says neither yes nor no: its floating address may just be moving."""
        end_s, said = time.monotonic() + REST_S, ""
        while time.monotonic() < end_s:
            try:
                if true():
                    return
            except LabError as error:
                said = str(error)
            time.sleep(0.2)
        try:
            said = str(tell())
        except LabError as error:
            said = str(error)
        raise AssertionError(f"not within {REST_S:.0f} s: {what}; it says: {said}")
