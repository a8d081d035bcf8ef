"""The fixture `lab` for system tests: one real cluster for the whole test run, reached as any user reaches it.

    pytest_plugins = ["tests.lab_fixture"]          # in the conftest.py of the tests that want it

    @pytest.mark.system
    def test_a_guest_survives(lab):
        lab.guest("db")
        lab.kill("hv1", "pvcnoded")
        lab.eventually(lambda: lab.api.get("/vm/db")["state"] == "start", "db runs")
        lab.remove_guest("db")

A test leaves the lab as it found it. `own_lab` gives a lab of the test's own, for those that power nodes off; `lab3`
is one of three nodes, with ZooKeeper, for the whole run. A run that is killed leaves nothing either (lab/leash.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import LabError, bmcs, control, ensemble, guests, leash, network, node, up
from lab.api import Api, ApiError
from lab.state import REPOSITORY, SWITCH, Lab, Plan

ARMING_S = 5.0
"""Every guard has read by then that maintenance is over."""


class RunningLab:
    """A lab that is up. Everything raises LabError with a sentence."""

    def __init__(
        self, name: str, *, nodes: int = 1, plugins: list[str] | None = None, fresh: bool = False, storage: str = "dir"
    ) -> None:
        """With more than one node: on ZooKeeper, with three coordinators from three nodes on."""
        self.name = name
        self._lab = Lab(name)
        self._leash = leash.hold(name)
        names = [f"hv{number}" for number in range(1, nodes + 1)]
        store = "embedded" if nodes == 1 else "zookeeper"
        plan = Plan(name=name, nodes=names, store=store, storage=storage, plugins=plugins or [], fresh=fresh)
        up.bring_up(self._lab, plan, print)
        self.nodes = names
        self.coordinators = self._lab.plan().coordinators
        self.api: Api = up.api_of(self._lab)
        self.api_url = self.api.url
        self.api_key = self.api.key

    def exec(self, where: str, *argv: str) -> str:
        """Run a command inside a node, as root; return its output."""
        return node.run_inside(self._init(where), argv, f"on {where}")

    def pvc(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run the CLI against this lab."""
        return subprocess.run(
            [REPOSITORY / "script/lab", "pvc", "--name", self.name, *argv], capture_output=True, text=True
        )

    def kill(self, where: str, process: str, *, signal: str = "SIGKILL") -> int:
        """Signal one daemon (pvcnoded, libvirtd, ...); return the process id it had."""
        pid: int = control.ask(self._init(where), "kill", unit=process, signal=signal)
        return pid

    @contextlib.contextmanager
    def unfenced(self) -> Iterator[None]:
        """Nobody is given up and nobody freezes meanwhile (maintenance): for tests of what a lost node or store does
        to others, longer than high availability would wait.
        """
        self.eventually(lambda: self._in_maintenance("true"), "there is maintenance")
        self.eventually(lambda: not any(map(self._is_armed, self.nodes)), "every guard has told the store so")
        try:
            yield
        finally:
            self.eventually(lambda: self._in_maintenance("false"), "maintenance is over")

    def _in_maintenance(self, state: str) -> bool:
        """Whether it was taken: the primary may be moving just now."""
        try:
            self.api.call("POST", "/status", {"state": state})
        except LabError:
            return False
        return True

    def _is_armed(self, where: str) -> bool:
        """Whether its guard would freeze guests; not while the node is off."""
        running = self._lab.process(where)
        try:
            told = Path(f"/proc/{running.pid}/root/run/pvc/deadline").read_bytes() if running else b"{}"
        except FileNotFoundError:
            return False
        return bool(json.loads(told).get("armed"))

    def hold(self, where: str, step: str) -> None:
        """The node's pvcnoded stands still when it next comes to `step` (Ground.moment)."""
        place = self._held(where, step).parent
        place.mkdir(exist_ok=True)
        (place / step).touch()

    def is_held(self, where: str, step: str) -> bool:
        return self._held(where, step).exists()

    def let_go(self, where: str, step: str) -> None:
        """Nothing when the node is off: its /run is gone."""
        with contextlib.suppress(LabError, OSError):
            held = self._held(where, step)
            (held.parent / step).unlink(missing_ok=True)
            held.unlink(missing_ok=True)

    def _held(self, where: str, step: str) -> Path:
        return Path(f"/proc/{self._init(where).pid}/root{node.HOLD}/{step}.held")

    def stop(self, where: str, unit: str) -> None:
        control.ask(self._init(where), "stop", unit=unit)

    def start(self, where: str, unit: str) -> None:
        control.ask(self._init(where), "start", unit=unit)

    def units(self, where: str) -> dict[str, dict[str, Any]]:
        """Return name -> {state, why, pid, restarts} of the node's daemons."""
        return {str(unit["unit"]).removesuffix(".service"): unit for unit in node.status(self._init(where))}

    def at_the_switch(self, argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """Begin a program on the machine that is connected to all three networks and is no node."""
        switch = self._lab.needs(SWITCH)
        return subprocess.Popen(["nsenter", "--target", str(switch.pid), "--net", *argv], **how)

    def root_of(self, where: str) -> Path:
        """The node's own files, as the machine sees them: also while it is cut off, or off."""
        return self._lab.node_dir(where)

    def logs(self, where: str, unit: str) -> str:
        return (self._lab.node_dir(where) / f"var/log/pvc/{unit}.service.log").read_text(errors="replace")

    def path(self, where: str) -> Path:
        """The node's own files, as the machine sees them: etc, var."""
        return self._lab.node_dir(where)

    def pid_namespace(self, where: str) -> str:
        """What /proc/PID/ns/pid of the node's processes says; "" while it is off."""
        running = self._lab.process(where)
        return os.readlink(f"/proc/{running.pid}/ns/pid") if running else ""

    def power_off(self, where: str) -> None:
        with self._lab.locked():
            node.switch_off(self._lab, where)

    def shut_down(self, where: str) -> None:
        """As its administrator would: its units are stopped in order, then it is off."""
        control.ask(self._init(where), "shutdown")
        self.power_off(where)

    def power_on(self, where: str) -> None:
        with self._lab.locked():
            node.switch_on(self._lab, self._lab.plan(), where)

    def is_on(self, where: str) -> bool:
        return self._lab.process(where) is not None

    def bmc(self, where: str, fault: str, other: str = "") -> None:
        """What is wrong with its BMC: ok, dead, disobey, liar, or wrong (`other` answers)."""
        with self._lab.locked():
            bmcs.set_fault(self._lab, self._lab.plan(), where, fault, other)

    def cut(self, where: str, net: str | None = None) -> None:
        """Part the node from the others, on one network or on all."""
        with self._lab.locked():
            node.cut(self._lab, where, network.named(net))

    def heal(self, where: str, net: str | None = None) -> None:
        with self._lab.locked():
            node.heal(self._lab, where, network.named(net))

    def cuts(self, where: str) -> set[str]:
        """The networks it is parted from."""
        return self._lab.cuts(where)

    def bmc_fault(self, where: str) -> str:
        return bmcs.fault(self._lab, where)

    def api_of(self, coordinator: str) -> Api:
        """This coordinator's own API; `api` is whichever answers."""
        return up.api_of(self._lab, coordinator)

    def store_role(self, coordinator: str) -> str:
        """What its ZooKeeper server is: leader, follower, or "not serving"."""
        return ensemble.role(self._lab, self._init(coordinator), coordinator)

    def guest(self, name: str, **wish: str) -> str:
        """Make and start a guest whose console counts seconds; return its console once it shows a login."""
        return guests.make_guest(self.api, guests.Wish(name=name, **wish))

    def begin_guest(self, name: str, **wish: str) -> None:
        """As `guest`, but its login is not waited for: several boot at the same time."""
        guests.begin_guest(self.api, guests.Wish(name=name, **wish))

    def console(self, name: str) -> str:
        return guests.console(self.api, name)

    def ticks(self, name: str) -> int:
        """Return the last second the guest counted. One that began anew counts from 1 again."""
        counted = re.findall(r"tick (\d+)", self.console(name))
        return int(counted[-1]) if counted else 0

    def remove_guest(self, name: str) -> None:
        """Stop and remove the VM and its volumes, if it is there; asked again while the cluster cannot."""
        self.eventually(lambda: self._removed(name), f"VM {name} is removed", deadline_s=180)

    def _removed(self, name: str) -> bool:
        try:
            self.api.call("DELETE", f"/vm/{name}", {"delete_disks": "true"})
        except ApiError as error:  # 400, as PVC 1.0 answers where there is no such VM
            if error.status != 404 and "no VM has the name" not in str(error):
                raise
        return True

    def eventually(self, true: Callable[[], object], what: str, *, deadline_s: float = 60) -> None:
        """Return once `true()` is; fails the test with `what` after `deadline_s`. An API that gives no answer, or
        cannot now, is "not yet": daemons come and go. What it refuses it will refuse again: that is raised.
        """
        end = time.monotonic() + deadline_s
        while True:
            why = ""
            try:
                if true():
                    return
            except LabError as error:
                if isinstance(error, ApiError) and error.status in (400, 401, 403):
                    raise
                why = f" ({error})"
            assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}{why}"
            time.sleep(0.1)

    def leave_up(self) -> None:
        """It outlives this process."""
        self._leash.kill()

    def down(self) -> None:
        up.take_down(self._lab)
        leash.let_go(self._leash)

    def _init(self, where: str) -> Any:
        return self._lab.needs(self._lab.checked_node(where))


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    """One lab for all tests of the run; taken down at its end."""
    yield from _one(f"t{os.getpid()}")


@pytest.fixture(scope="session")
def lab3() -> Iterator[RunningLab]:
    """One lab of three nodes for all tests of the run; taken down at its end."""
    yield from _one(f"three{os.getpid()}", nodes=3)


@pytest.fixture
def own_lab() -> Iterator[RunningLab]:
    """A lab for one test."""
    yield from _one(f"own{os.getpid()}")


def _one(name: str, *, nodes: int = 1) -> Iterator[RunningLab]:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    running = RunningLab(name, nodes=nodes)
    yield running
    running.down()
