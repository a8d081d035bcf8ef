# SPDX-License-Identifier: LGPL-3.0-or-later
"""A fence driver on machines of pretence, with every fault a fence can have. It passes contract_fence.py.

The simulator and tests share one FakeFenceWorld among the drivers of all nodes; what its power switch does to a node is
`switched`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pvc_core.clock import Clock, SystemClock
from pvc_core.contracts.fence import Allowed, FenceCapabilities, FenceDefinitions, FenceDriver, always
from pvc_core.errors import Permanent, PvcError, Refused, Retry
from pvc_core.model.fence import FenceAnswer, NoProof, Power, Proof, ProofKind, Target, TestStep, Why

NAME = "fence_fake"
STEP_S = 0.05


class Behaviour(StrEnum):
    """Of a management controller."""

    OK = "ok"
    DEAD = "dead"
    """Never answers; so does one that hangs: every call lasts until its deadline."""
    DENIES = "denies"
    DISOBEYS = "disobeys"
    """Says done, does nothing, and reads what is."""
    LIES = "lies"
    """Says done, does nothing, and reads off from then on: what nobody can see through."""
    LATE = "late"
    """Does what it is told `FakeFenceWorld.late_s` later."""


@dataclass
class FakeMachine:
    """`bmc_of`: the machine that this one's address leads to, by mistake another ("" for itself)."""

    uuid: str
    on: bool = True
    behaviour: Behaviour = Behaviour.OK
    bmc_of: str = ""
    bmc_uuid: str = ""
    """What the controller says that it is, "" for the machine's own UUID. With bmc_of: wired to another machine under
    the right name.
    """
    off_at_s: float | None = None
    lied: bool = False


class FakeFenceDefinitions(FenceDefinitions):
    def __init__(self, capabilities: FenceCapabilities | None = None) -> None:
        self.capabilities = capabilities or FenceCapabilities(power_on=True)


@dataclass
class FakeFenceWorld:
    """Every machine there is, who has put his on record, and what was done to whom."""

    machines: dict[str, FakeMachine] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    definitions: FakeFenceDefinitions = field(default_factory=FakeFenceDefinitions)
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], None] = lambda _seconds: None
    """Lets time pass while a call waits; of a simulator it moves the clock."""
    switched: Callable[[str, bool], None] = lambda _node, _on: None
    """Told when a machine's power changes."""
    answer_s: float = 0.0
    """How long a controller that works takes for each answer."""
    late_s: float = 60.0
    acts: list[tuple[str, str]] = field(default_factory=list)
    """(machine, what it was told: off, on)."""

    def driver(self, node: str = "hv1") -> FakeFence:
        return FakeFence(self, node)

    def pass_time(self) -> None:
        """Late commands take effect. Called by every reading; a simulator calls it as time goes by."""
        now_s = self.clock.boottime_s()
        for name, machine in self.machines.items():
            if machine.off_at_s is not None and machine.off_at_s <= now_s:
                machine.off_at_s = None
                self.switch(name, False)

    def switch(self, name: str, on: bool) -> None:
        machine = self.machines[name]
        if machine.on is not on:
            machine.on = on
            self.switched(name, on)


class FakeFence(FenceDriver):
    """The driver on one node."""

    def __init__(self, world: FakeFenceWorld, node: str) -> None:
        self.world, self.node = world, node

    def publish(self, *, deadline_s: float) -> str:
        self.world.published.add(self.node)
        return f"node {self.node} is on record"

    def fence(self, target: Target, *, allowed: Allowed = always, deadline_s: float) -> FenceAnswer:
        until_s, acted = self.world.clock.boottime_s() + deadline_s, False
        try:
            name = self._identified(target, until_s)
            already = self._power(name, until_s) is Power.OFF
            if not already:
                try:
                    allowed()
                except PvcError as error:
                    return _no_proof(target, Why.NOT_ALLOWED, error, acted)
                acted = True
                self._tell(name, "off", until_s)
                self._await_off(name, until_s)
        except _Said as error:
            return _no_proof(target, error.why, error.error, acted)
        return Proof(
            kind=ProofKind.OFF,
            node=target.node,
            incarnation=target.incarnation,
            rung=NAME,
            seen="power reads off",
            how=f"the controller of {target.uuid}",
            already=already,
        )

    def status(self, target: Target, *, deadline_s: float) -> Power:
        until_s = self.world.clock.boottime_s() + deadline_s
        try:
            return self._power(self._identified(target, until_s), until_s)
        except _Said as error:
            raise error.error from None

    def self_test(self, target: Target, *, deadline_s: float) -> tuple[TestStep, ...]:
        until_s, steps = self.world.clock.boottime_s() + deadline_s, []
        try:
            for name, question in self._questions(target, until_s).items():
                steps.append((name, question()))
        except _Said as error:
            failed = TestStep(name=list(self._questions(target, until_s))[len(steps)], passed=False, said=str(error))
            return (*(TestStep(name=name, passed=True, said=said) for name, said in steps), failed)
        return tuple(TestStep(name=name, passed=True, said=said) for name, said in steps)

    def power_on(self, target: Target, *, deadline_s: float) -> bool:
        if not self.world.definitions.capabilities.power_on:
            raise Refused(f"node {target.node} cannot be switched on by {NAME}")
        until_s = self.world.clock.boottime_s() + deadline_s
        try:
            name = self._identified(target, until_s)
            if self._power(name, until_s) is Power.OFF:
                self._tell(name, "on", until_s)
        except _Said as error:
            raise error.error from None
        return True

    def forget(self, node: str, *, deadline_s: float) -> None:
        self.world.published.discard(node)

    def _questions(self, target: Target, until_s: float) -> Mapping[str, Callable[[], str]]:
        return {
            "record": lambda: f"the controller of {self._known(target)} is on record",
            "login": lambda: f"it lets us in: {self._answering(target.node, until_s).behaviour}",
            "identity": lambda: f"it is that of {self._identified(target, until_s)}",
            "power": lambda: f"power reads {self._power(self._led_to(target.node), until_s)}",
        }

    def _known(self, target: Target) -> str:
        if target.node not in self.world.published or target.node not in self.world.machines:
            raise _Said(Why.UNKNOWN, Refused(f"node {target.node} has put nothing on record"))
        if not target.uuid:
            raise _Said(Why.UNKNOWN, Refused(f"nobody knows the UUID of node {target.node}"))
        return target.node

    def _identified(self, target: Target, until_s: float) -> str:
        """The machine at the other end of the target's wire."""
        name = self._known(target)
        led_to = self._led_to(name)
        self._answering(name, until_s)
        says = self.world.machines[name].bmc_uuid or self.world.machines[led_to].uuid
        if says != target.uuid:
            raise _Said(Why.WRONG_MACHINE, Refused(f"it is {says}, not node {name} ({target.uuid})"))
        return led_to

    def _led_to(self, name: str) -> str:
        return self.world.machines[name].bmc_of or name

    def _answering(self, name: str, until_s: float) -> FakeMachine:
        machine, now_s = self.world.machines[name], self.world.clock.boottime_s()
        if machine.behaviour is Behaviour.DEAD or now_s + self.world.answer_s > until_s:
            self.world.sleep(max(0.0, until_s - now_s))
            raise _Said(Why.UNREACHABLE, Retry(f"the controller of node {name} does not answer"))
        self.world.sleep(self.world.answer_s)
        if machine.behaviour is Behaviour.DENIES:
            raise _Said(Why.DENIED, Permanent(f"the controller of node {name} does not let us in"))
        return machine

    def _power(self, name: str, until_s: float) -> Power:
        machine = self._answering(name, until_s)
        self.world.pass_time()
        return Power.ON if machine.on and not machine.lied else Power.OFF

    def _tell(self, name: str, what: str, until_s: float) -> None:
        machine = self._answering(name, until_s)
        self.world.acts.append((name, what))
        if machine.behaviour is Behaviour.LIES:
            machine.lied = True
        elif machine.behaviour is Behaviour.LATE:
            machine.off_at_s = self.world.clock.boottime_s() + self.world.late_s
        elif machine.behaviour is Behaviour.OK:
            self.world.switch(name, what == "on")

    def _await_off(self, name: str, until_s: float) -> None:
        while self._power(name, until_s) is not Power.OFF:
            if self.world.clock.boottime_s() + STEP_S >= until_s:
                raise _Said(Why.DISOBEYED, Retry(f"node {name} was told to be off, and power still reads on"))
            self.world.sleep(STEP_S)


class _Said(Exception):
    def __init__(self, why: Why, error: PvcError) -> None:
        super().__init__(str(error))
        self.why, self.error = why, error


def _no_proof(target: Target, why: Why, error: PvcError, acted: bool) -> NoProof:
    return NoProof(rung=NAME, node=target.node, why=why, reason=error.message, help=error.help, acted=acted)
