"""A VM shall live on another node: what its holder does about it, and the answer. How a running guest gets there is
migration.py and arrival.py; one that is off goes by a write on its claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged
from pvc_core.contracts.compute import Observation
from pvc_core.errors import Conflict, NotFound, Permanent, Refused
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim, GuestState, MigrationMethod, Phase, VmSeen, VmWanted, Want
from pvc_core.policy.placement import loads, need_of, objection
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.migration import Departure
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.vm_start import Starter

TRIES, AGAIN_S = 3, 5.0


@dataclass(frozen=True, slots=True)
class Mover:
    ground: Ground
    starter: Starter
    departure: Departure
    _tried: dict[str, tuple[int, int]] = field(default_factory=dict)
    """UUID -> (request, migrations of it that failed)."""
    _not_before: dict[str, float] = field(default_factory=dict)
    _cold: dict[str, tuple[int, str]] = field(default_factory=dict)
    """UUID -> (request, why the guest is shut down for it)."""

    def step(self, wanted: Kept[VmWanted], claim: Kept[Claim], seen: VmSeen, there: Observation) -> Outcome | None:
        """What is to be done now because it shall live elsewhere; None when it shall not, or the guest must go first
        (`shut_down_for`).
        """
        vm = wanted.value
        if not pending(vm, seen):
            return None
        target = vm.target
        if target is None or target == self.ground.node:
            return self._answer(vm, seen, "", f"lives on {self.ground.node} as asked")
        if why := self._objection(vm, target):
            return self._answer(vm, seen, why, f"stays on {self.ground.node}: {why}")
        if there.guest is GuestState.OFF:
            return self._carry(wanted, claim, seen, target)
        if vm.want is not Want.START or self.shut_down_for(vm, seen):
            return None
        return self._live(wanted, claim, seen, there, target)

    def shut_down_for(self, vm: VmWanted, seen: VmSeen) -> str:
        """The request for whose sake the guest is shut down; "" for none."""
        request, _ = self._cold.get(vm.uuid, (0, ""))
        return f"move {vm.move}" if pending(vm, seen) and request == vm.move else ""

    def forget(self, uuid: str) -> None:
        for table in (self._tried, self._not_before, self._cold):
            table.pop(uuid, None)
        self.departure.forget(uuid)

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _live(
        self, wanted: Kept[VmWanted], claim: Kept[Claim], seen: VmSeen, there: Observation, target: str
    ) -> Outcome:
        vm = wanted.value
        if self._method(vm) is MigrationMethod.SHUTDOWN:
            return self._not_live(vm, seen, "its migration method is shutdown")
        if not self.ground.definitions.capabilities.live_migration:
            return self._not_live(vm, seen, "its compute driver cannot move running guests")
        if pinned := self._pinned(vm):
            return self._not_live(vm, seen, f"it cannot be moved while it runs, because {pinned}")
        if there.guest is not GuestState.RUNNING:
            return self._not_live(vm, seen, f"the guest is {there.guest}")
        failure = self.departure.failures.pop(vm.uuid, None)
        if failure is not None:
            failed = self._count(vm)
            if failure.final or failed >= TRIES:
                return self._not_live(vm, seen, failure.reason)
            self._not_before[vm.uuid] = self.ground.clock.boottime_s() + AGAIN_S * failed
        wait_s = self._not_before.get(vm.uuid, 0.0) - self.ground.clock.boottime_s()
        if wait_s > 0:
            reason = f": {failure.reason}" if failure else ""
            return Outcome(f"running on {self.ground.node}; trying again to migrate to {target}{reason}", wait_s)
        try:
            return self.departure.begin(wanted, claim, target)
        except (Refused, Permanent, NotFound) as error:
            return self._not_live(vm, seen, str(error))

    def _pinned(self, vm: VmWanted) -> str:
        """By one of its NICs; "" if by none."""
        for nic in self.ground.descriptions.of(vm).nics:
            if nic.kind == "hostdev":
                return f"its NIC {nic.mac} is a device of this node's hardware, whose state cannot be taken along"
            kept = self.ground.view.networks.get(nic.network or "")
            driver = self.ground.networks.get(kept.value.nettype) if kept is not None else None
            if kept is not None and driver is not None and (why := driver.pinned(kept.value)):
                return why
        return ""

    def _not_live(self, vm: VmWanted, seen: VmSeen, why: str) -> Outcome:
        """It cannot move while it runs: by shutting it down, or not at all."""
        if self._method(vm) is MigrationMethod.LIVE:
            return self._answer(vm, seen, why, f"stays on {self.ground.node}: {why}")
        self._cold[vm.uuid] = (vm.move, why)
        return Outcome(f"shut down to be moved to {vm.target}: {why}", 0.0)

    def _method(self, vm: VmWanted) -> MigrationMethod | None:
        """None: live, and by shutting down where that is impossible."""
        if vm.live_only:
            return MigrationMethod.LIVE
        return None if vm.migration_method is MigrationMethod.NONE else vm.migration_method

    def _count(self, vm: VmWanted) -> int:
        request, failed = self._tried.get(vm.uuid, (0, 0))
        failed = failed + 1 if request == vm.move else 1
        self._tried[vm.uuid] = (vm.move, failed)
        return failed

    # -- while it is off -----------------------------------------------------------------------------------------------

    def _carry(self, wanted: Kept[VmWanted], claim: Kept[Claim], seen: VmSeen, target: str) -> Outcome:
        """Seen gone here: nothing of it is held any more, and the write that moves the claim bars a start here."""
        vm = wanted.value
        self.starter.let_go(vm.uuid, claim.value)
        ran = seen.guest is not GuestState.OFF
        off = replace(seen, guest=GuestState.OFF, crashes=0, vnc_listen="", vnc_port=0)
        if off != seen and not self._save(off):
            return Outcome("off; waiting for the store to say so", 0.5)
        moved = carried(claim.value, target)
        self.ground.commit(
            Set(layout.CLAIMS, vm.uuid, moved, claim.version), Unchanged(layout.VM_WANTED, vm.uuid, wanted.version)
        )
        self.forget(vm.uuid)
        if ran:
            self.ground.hooks.notify("pvc_vm_stopped", key=vm.uuid, vm=vm, reason="moved")
        return Outcome(f"moved to {target}")

    def _objection(self, vm: VmWanted, target: str) -> str:
        """Why it may not live there; "" if it may. One that stays off needs no room."""
        view, description = self.ground.view, self.ground.descriptions.of(vm)
        if not description.failover:
            return f"it needs what only {self.ground.node} has ({'; '.join(description.outside)})"
        need = need_of(view, vm, description)
        if vm.want is not Want.START:
            need = replace(need, memory_bytes=0)
        why = objection(view, need, target, loads(view, self.ground.descriptions.of, besides=vm.uuid))
        return f"{target}: {why}" if why else ""

    def _answer(self, vm: VmWanted, seen: VmSeen, reason: str, sentence: str) -> Outcome:
        self.forget(vm.uuid)
        if not self._save(replace(seen, node=self.ground.node, move_done=vm.move, move_reason=reason)):
            return Outcome(sentence, 0.5)
        return Outcome(sentence, 0.0)

    def _save(self, record: VmSeen) -> bool:
        """Whether it was written; a silent store travels on."""
        kept = self.ground.view.vm_seen.get(record.uuid)
        try:
            self.ground.repository.save(layout.VM_SEEN, record.uuid, record, kept)
        except (Conflict, NotFound):
            return False
        finally:
            self.ground.keeper.settle([layout.VM_SEEN.key(record.uuid)], inline=self.ground.inline)
        return True


def pending(vm: VmWanted, seen: VmSeen | None) -> bool:
    """Whether the last request to move has no answer yet."""
    return vm.move > (seen.move_done if seen else 0)


def carried(claim: Claim, target: str) -> Claim:
    """The claim of a VM that is off, when it lives on `target`."""
    return replace(
        claim,
        holder=target,
        phase=Phase.FREE,
        incarnation="",
        generation=claim.generation + 1,
        target=None,
        departing="",
        arrival=None,
        volumes=(),
        addresses=(),
        request_id="",
    )
