# SPDX-License-Identifier: LGPL-3.0-or-later
"""A seed's story: a cluster of some kind, and an hour's worth of bad luck, as a scenario that can be written down; and
a failing one made short.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from pvc_core.policy.suspicion import Patience
from pvc_core.testing.sim_ha import Setting
from pvc_core.testing.sim_scenario import Scenario, Step, play
from pvc_core.units import MIB

RATES = (0.9995, 1.0, 1.0005)
"""Two clocks' rates differ by a thousandth at most: what docs/high-availability.md assumes."""
VMS = ("a", "b", "c", "d")


def story(seed: int, *, liar: bool = False, proof: str | None = None) -> Scenario:
    """`liar`: some controller is wired to another machine and says the right name all the same."""
    chance = random.Random(seed * 7919 + 13)
    nodes = 5 if liar else chance.choice((3, 3, 3, 4, 5))
    storage = chance.random() < 0.4
    setting = Setting(
        nodes=nodes,
        coordinators=5 if nodes == 5 and not liar and chance.random() < 0.25 else 3,
        memory_bytes=chance.choice((4096, 4096, 512)) * MIB,
        power=True if liar else not storage or chance.random() < 0.6,
        storage=storage or (liar and proof == "all" and chance.random() < 0.5),
        proof=proof or chance.choice(("one", "one", "all")),
        patience=Patience(boot_grace_s=40.0, sick_s=chance.choice((30.0, 12.0))),
        rates=RATES,
    )
    maker = _Maker(chance, setting)
    steps: list[Step] = []
    if liar:
        steps.append(maker.wired())
        steps.append(Step(at=0.6, do="move", args={"vm": "a", "node": steps[0].args["node"]}))
    at = 15.0 if liar else 1.0
    for _ in range(chance.randrange(3, 12)):
        steps.append(maker.step(round(at, 1)))
        if liar and chance.random() < 0.3:
            steps.append(Step(at=round(at + 0.1, 1), do="cut", args={"node": steps[0].args["node"]}))
            at += 12.0
        at += chance.choice((0.0, 0.3, 1.0, 3.0, 6.0, 10.0, 20.0, 60.0))
    return Scenario(name=f"seed {seed}", seed=seed, setting=setting, vms=VMS, steps=tuple(steps), quiet=60.0)


def wrong(scenario: Scenario) -> str:
    """What was not as it must be; "" when all was."""
    try:
        play(scenario)
    except AssertionError as error:
        return str(error)
    return ""


def shrunk(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """With as few steps as still fail, by leaving out ever smaller parts."""
    part = max(1, len(scenario.steps) // 2)
    while True:
        smaller = _without_some(scenario, part, fails)
        if smaller is not None:
            scenario = smaller
        elif part == 1:
            return scenario
        else:
            part //= 2


def _without_some(scenario: Scenario, part: int, fails: Callable[[Scenario], bool]) -> Scenario | None:
    for begin in range(0, len(scenario.steps), part):
        rest = (*scenario.steps[:begin], *scenario.steps[begin + part :])
        less = replace(scenario, steps=rest)
        if fails(less):
            return less
    return None


class _Maker:
    """Chooses what happens. What is assumed of the world (docs/high-availability.md) it leaves true: a guard does not
    stand still on a node whose guests are proved harmless by waiting.
    """

    def __init__(self, chance: random.Random, setting: Setting) -> None:
        self.chance, self.setting = chance, setting
        self.names = [f"hv{number}" for number in range(1, setting.nodes + 1)]

    def wired(self) -> Step:
        """To one without which the store goes on: else the mistake ends with the cluster, not with a guest twice."""
        other = self.chance.choice(self.names[self.setting.coordinators :])
        node = self.chance.choice([name for name in self.names if name != other])
        return Step(at=0.5, do="bmc_wired", args={"node": node, "to": other})

    def step(self, at: float) -> Step:
        kinds = 3 * [self._machine] + 2 * [self._network] + [self._store] + 2 * [self._process]
        kind = self.chance.choice([*kinds, self._operator, self._operator, self._bmc])
        do, args = kind()
        return Step(at=at, do=do, args=args)

    def _node(self) -> str:
        return self.chance.choice((*self.names, "@primary", "@primary", "@a"))

    def _machine(self) -> tuple[str, dict[str, object]]:
        do = self.chance.choice(("power_off", "power_off", "crash", "power_on", "crash_guest"))
        if do == "crash_guest":
            return do, {"vm": self.chance.choice(VMS)}
        if do == "power_off":
            return do, {"node": self._node(), "with_bmc": self.chance.random() < 0.3}
        if do == "power_on":
            return do, {"node": self.chance.choice(self.names), "post_s": self.chance.choice((5.0, 40.0))}
        return do, {"node": self._node()}

    def _network(self) -> tuple[str, dict[str, object]]:
        do = self.chance.choice(("cut", "cut", "cut", "heal", "heal", "cut_all"))
        if do != "cut":
            return do, {}
        args: dict[str, object] = {"node": self._node(), "ways": self.chance.choice(("both", "both", "out", "in"))}
        if self.chance.random() < 0.5:
            args["networks"] = self.chance.choice(("cluster", "cluster", "upstream", "storage"))
        return do, args

    def _store(self) -> tuple[str, dict[str, object]]:
        do = self.chance.choice(
            (
                "store_cut",
                "store_cut",
                "server_down",
                "servers_down",
                "servers_up",
                "elect",
                "expire",
                "lose_answer",
                "heal",
            )
        )
        if do in ("servers_down", "servers_up", "heal"):
            return do, {}
        if do == "elect":
            return do, {"seconds": self.chance.choice((2.0, 4.0, 8.0, 15.0))}
        if do == "lose_answer":
            return do, {"node": self._node(), "of": self.chance.choice(("noded", "guard", "lease"))}
        if do == "server_down":
            return do, {"node": self.chance.choice(self.names[: self.setting.coordinators])}
        return do, {"node": self._node()}

    def _process(self) -> tuple[str, dict[str, object]]:
        do = self.chance.choice(
            (
                "kill_daemon",
                "kill_at_write",
                "kill_at_write",
                "stop_daemon",
                "kill_guard",
                "stop_guard",
                "hypervisor_hangs",
            )
        )
        if do == "stop_guard" and self.setting.storage:
            do = "kill_guard"
        args: dict[str, object] = {"node": self._node()}
        if do == "kill_at_write":
            args["after"] = self.chance.randrange(8)
        if do in ("stop_daemon", "stop_guard"):
            args["seconds"] = self.chance.choice((1.0, 4.0, 15.0, 60.0))
        if do == "hypervisor_hangs":
            args["away"] = self.chance.random() < 0.6
        return do, args

    def _operator(self) -> tuple[str, dict[str, object]]:
        do = self.chance.choice(
            ("start", "stop", "move", "move", "move", "flush", "ready", "primary", "maintenance", "vouch")
        )
        if do in ("start", "stop"):
            return do, {"vm": self.chance.choice(VMS)}
        if do == "move":
            return do, {"vm": self.chance.choice(VMS), "node": self.chance.choice((None, *self.names))}
        if do == "primary":
            return do, {"node": self.chance.choice(self.names[: self.setting.coordinators])}
        if do == "maintenance":
            return do, {"on": self.chance.random() < 0.5}
        return do, {"node": self.chance.choice(self.names)}

    def _bmc(self) -> tuple[str, dict[str, object]]:
        wrong = ("dead", "denies", "disobeys", "ok", "ok")
        return "bmc", {"node": self.chance.choice(self.names), "behaviour": self.chance.choice(wrong)}
