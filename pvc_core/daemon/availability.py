"""High availability, wired: who watches, who condemns, what follows. One engine of its own, so that no slow guest or
task delays a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pvc_core.config import Config
from pvc_core.contracts.plugin import Drivers
from pvc_core.daemon.asking import GuardQuestions, Serving, asker_of
from pvc_core.loader import Loaded
from pvc_core.policy.proofs import Demand
from pvc_core.policy.suspicion import Patience
from pvc_core.reconcile.docket import Docket, Questions
from pvc_core.reconcile.engine import Engine
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.judge import JudgeReconciler
from pvc_core.reconcile.ladder import Ladder, LadderReconciler
from pvc_core.reconcile.recovery import RecoveryReconciler
from pvc_core.reconcile.verdict import VerdictReconciler


def availability(
    ground: Ground,
    questions: Questions,
    ladder: Ladder,
    *,
    proof: str,
    patience: Patience,
    serving: Callable[[], frozenset[str] | None],
    log: Any,
    docket: Docket | None = None,
) -> Engine:
    """`proof`: fencing.proof of pvc.yaml; `serving`: coordinators whose store servers answered lately; `docket`: where
    what the judge finds is kept, for whoever tells of it.
    """
    docket = docket or Docket(ground.clock)
    demand = Demand(proof=proof, rungs=ladder.rungs)
    climbing = LadderReconciler(ground, docket, questions, ladder)
    engine = Engine(
        (
            JudgeReconciler(ground, docket, questions, patience, serving),
            VerdictReconciler(ground, docket),
            climbing,
            RecoveryReconciler(ground, docket, demand),
        ),
        ground.clock,
        log,
    )

    def read() -> None:
        for key in climbing.keys(ground.view):
            engine.wake(climbing.kind, key)

    docket.read = read
    return engine


def build_availability(
    config: Config, ground: Ground, loaded: Loaded, drivers: Mapping[str, Drivers], docket: Docket, log: Any
) -> Engine:
    """As pvc.yaml names its rungs and intervals. Empty on a node that is no coordinator, and in a cluster of one."""
    if not config.coordinator:
        return Engine((), ground.clock, log)
    intervals = config.intervals
    return availability(
        ground,
        GuardQuestions(asker_of(config, ground.clock), lambda: ground.view),
        _ladder(config, ground, loaded, drivers),
        proof=config.fencing.proof,
        patience=Patience(silent_s=intervals.suspicion_s, sick_s=intervals.sick_s, boot_grace_s=intervals.boot_grace_s),
        serving=Serving(config, ground.clock),
        log=log,
        docket=docket,
    )


def _ladder(config: Config, ground: Ground, loaded: Loaded, drivers: Mapping[str, Drivers]) -> Ladder:
    power, storage = {}, {}
    for name in config.fencing.ladder:
        plugin, made = loaded.plugins.get(name), drivers.get(name)
        if plugin is not None and plugin.fence is not None and name in ground.fence:
            power[name] = plugin.fence.capabilities.deadline_s
        can = plugin is not None and plugin.storage is not None and plugin.storage.capabilities.storage_fencing
        if can and made is not None and made.storage is not None:
            storage[name] = made.storage
    return Ladder(power=power, storage=storage)
