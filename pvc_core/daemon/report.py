"""Tells the guard what this node's guests are, for the heartbeat. The picture knows; nothing is asked of a driver."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pvc_core.errors import Retry
from pvc_core.guard.report import Report, write_report
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import GuestState
from pvc_core.policy.placement import NodeLoad, loads
from pvc_core.policy.proofs import guest_of
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class ReportReconciler:
    """`run` is paths.run. Also a sign of life: it is written while the store is silent, too."""

    ground: Ground
    run: Path
    kind: str = "report"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        here = loads(view, self.ground.descriptions.of).get(key, NodeLoad())
        running = (uuid for uuid in here.running if _seen_running(view, uuid))
        report = Report(
            at_boottime_s=self.ground.clock.boottime_s(),
            running=tuple(sorted(running)),
            memory_allocated_bytes=here.allocated_bytes,
            memory_provisioned_bytes=here.provisioned_bytes,
            vcpus_allocated=here.vcpus,
            only_here=self._only_here(view),
        )
        try:
            write_report(self.run, report)
        except OSError as error:
            raise Retry(
                f"the guard cannot be told of this node's guests: {self.run} cannot be written: {error.strerror}",
                again_in_s=INTERVAL_S,
                help="is there room on it?",
            ) from error
        return Outcome("", INTERVAL_S)

    def _only_here(self, view: ClusterView) -> tuple[str, ...]:
        """As the picture was when the store last answered: what changed since waits until it answers again."""
        mine = (uuid for uuid, claim in view.claims.items() if claim.value.holder == self.ground.node)
        return tuple(sorted(uuid for uuid in mine if self._tied(view, uuid)))

    def _tied(self, view: ClusterView, uuid: str) -> bool:
        """By the rule of those who would take it."""
        vm = view.vm_wanted.get(uuid)
        description = self.ground.descriptions.of(vm.value) if vm else None
        return bool(guest_of(view, view.claims[uuid].value, uuid, description).tied)

    def note(self, key: str, outcome: Outcome) -> None:
        """Nothing to show."""


def _seen_running(view: ClusterView, uuid: str) -> bool:
    kept = view.vm_seen.get(uuid)
    return kept is not None and kept.value.guest is GuestState.RUNNING
