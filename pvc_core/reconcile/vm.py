"""VMs on the node that holds their claim: make the guest be what is wanted, one step at a time.

A guest executes on at most one node because each start is preceded, in the same attempt, by a successful write on its
claim
(design rule 1). How one is started is vm_start.py; which node holds the claim is decided in place.py, on the primary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.contracts.compute import Observation
from pvc_core.errors import Conflict, NotFound, StoreUnavailable
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, GuestState, Phase, VmSeen, VmWanted, Want
from pvc_core.policy.placement import NOWHERE
from pvc_core.reconcile.arrival import Arrivals, arriving
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.moving import Mover
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.vm_start import CRASHES_MAX, NOT_HERE, STEADY_S, Starter

SHUTDOWN_LIMIT_S = 180.0
"""How long a guest may take to obey before it is switched off."""
ASK_AGAIN_S, TASK_AGAIN_S = 10.0, 5.0
"""A guest that is still booting misses the first request, so it is asked again."""
OBSERVE_S, STOP_S, ASK_S = 5.0, 20.0, 5.0


def urgency(ground: Ground, kind: str, key: str) -> int:
    """The rank of a job in the engine that has the guests (the least comes first): of those that could start at the
    same moment, after a boot or a loss, the one of the highest priority does.
    """
    kept = ground.view.vm_wanted.get(key) if kind == "vm" else None
    return -kept.value.priority if kept is not None else 0


@dataclass(frozen=True, slots=True)
class VmReconciler:
    ground: Ground
    starter: Starter
    mover: Mover
    arrivals: Arrivals
    kind: str = "vm"
    _shutdowns: dict[str, tuple[str, float]] = field(default_factory=dict)
    """UUID -> (request, when this daemon first asked): a restart of the daemon only gives the guest more time."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        node = self.ground.node
        mine = {uuid for uuid, claim in view.claims.items() if node in (claim.value.holder, claim.value.target)}
        return mine | self.arrivals.expected | set(view.tombstones)

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return found[1] if found and found[0] in (layout.VM_WANTED, layout.CLAIMS, layout.TOMBSTONES) else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not view.fresh:
            return Outcome("the store gives no answer: guests run on, nothing is started or stopped", 1.0)
        if self.ground.condemned:
            return Outcome("this node is given up in this life: its guard ends its guests, nothing is begun", 1.0)
        if key in view.tombstones:
            return self._bury(key)
        if unread := view.unread.get(layout.VM_WANTED.key(key)):
            return Outcome(f"left as it is: a newer PVC wrote {unread}; upgrade PVC on {self.ground.node}", 60.0)
        claim, wanted = view.claims.get(key), view.vm_wanted.get(key)
        if claim is None or wanted is None or claim.value.holder != self.ground.node:
            self._forget(key)
            if wanted and claim and claim.value.phase is Phase.MIGRATING and claim.value.target == self.ground.node:
                return self.arrivals.prepare(wanted, claim)
            return self.arrivals.tidy(key)
        if claim.value.phase is Phase.TASK:
            return self._held_by_task(claim)
        there = self.observe(key)
        if there.guest is GuestState.UNKNOWN:
            return Outcome(f"cannot tell whether the guest runs: {there.reason}", 2.0)
        if claim.value.phase is Phase.MIGRATING:
            return self.mover.departure.step(wanted.value, claim, there)
        if wanted.value.want is Want.START and arriving(claim.value, self.ground.node):
            return self.arrivals.arrive(wanted.value, claim, there)
        if self.arrivals.stale(claim.value, there):
            return self.arrivals.remove(key)
        if moves := self.mover.step(wanted, claim, self._seen(key), there):
            return moves
        if wanted.value.want is Want.START:
            return self._wanted_on(wanted, claim, there)
        return self._wanted_off(wanted.value, claim, there)

    def note(self, key: str, outcome: Outcome) -> None:
        """Show the sentence, and what the guest is, where the API reads it."""
        view = self.ground.view
        claim = view.claims.get(key)
        known = key in view.vm_wanted or layout.VM_WANTED.key(key) in view.unread
        if not outcome.sentence or claim is None or claim.value.holder != self.ground.node or not known:
            return
        seen, wanted = view.vm_seen.get(key), view.vm_wanted.get(key)
        sentence = outcome.sentence.replace(key, wanted.value.name if wanted else key)  # drivers know UUIDs only
        if seen is not None and seen.value.sentence.startswith(NOWHERE) and sentence.startswith(NOT_HERE):
            return  # the primary has said why it starts on no node: that tells more
        if seen is None or seen.value.sentence != sentence:
            self._save(key, seen, replace(seen.value if seen else self._blank(key), sentence=sentence))

    def observe(self, uuid: str) -> Observation:
        return self.ground.calls(
            uuid, "looking at the guest", OBSERVE_S, lambda: self.ground.compute.observe(uuid, deadline_s=OBSERVE_S)
        )

    def _forget(self, uuid: str) -> None:
        """It lives here no more: nothing of it stays in memory."""
        self._shutdowns.pop(uuid, None)
        self.starter.forget(uuid)
        self.mover.forget(uuid)
        self.ground.descriptions.forget_except(self.ground.view.vm_wanted)

    def _held_by_task(self, claim: Kept[Claim]) -> Outcome:
        """A task needs the guest off. One that has ended without giving the claim back (it died) holds nothing."""
        id = claim.value.request_id
        task = self.ground.repository.find(layout.TASKS, id)
        if task is not None and not task.value.ended:
            return Outcome(f"waiting for task {id}, which needs the guest off: {task.value.status}", TASK_AGAIN_S)
        free = replace(claim.value, phase=Phase.FREE, generation=claim.value.generation + 1, request_id="")
        self.ground.commit(Set(layout.CLAIMS, claim.value.uuid, free, claim.version))
        return Outcome(f"task {id}, which needed the guest off, is over", 0.0)

    # -- wanted on -----------------------------------------------------------------------------------------------------

    def _wanted_on(self, wanted: Kept[VmWanted], claim: Kept[Claim], there: Observation) -> Outcome:
        vm, seen = wanted.value, self._seen(wanted.value.uuid)
        if there.guest is GuestState.OFF:
            if seen.guest is not GuestState.OFF:
                return self._ended(vm, claim.value, seen, there)
            return self.starter.start(wanted, claim, seen)
        if claim.value.phase is not Phase.RUN or claim.value.incarnation != self.ground.incarnation:
            return self._adopt(claim, "a guest that already runs here")
        seen = self._show_running(vm, claim.value, there)
        if vm.restart > seen.restart_done:
            return self._go_down(vm, f"restart {vm.restart}", there)
        if moving := self.mover.shut_down_for(vm, seen):
            return self._go_down(vm, moving, there)
        self._shutdowns.pop(vm.uuid, None)
        if there.guest is GuestState.PAUSED:
            return Outcome(
                f"paused on {self.ground.node} ({there.reason or 'the hypervisor gives no reason'}); "
                "look at its storage, then `pvc vm restart`"
            )
        if unknown := self.starter.clients.note(claim):
            return Outcome(f"running on {self.ground.node}; who has its disks open could not be noted: {unknown}", 5.0)
        return Outcome(f"running on {self.ground.node}")

    def _ended(self, vm: VmWanted, claim: Claim, seen: VmSeen, there: Observation) -> Outcome:
        """It ran, and does not any more. Asked for (a restart), with its node, or by itself: then each time costs a
        longer wait.
        """
        asked_for, rebooted = vm.restart > seen.restart_done, claim.incarnation != self.ground.incarnation
        steady = self.ground.clock.wall_s() - seen.started_at_s > STEADY_S
        crashes = 0 if asked_for or rebooted else 1 if steady else seen.crashes + 1
        reason = "restart" if asked_for else "node restarted" if rebooted else there.reason or "unknown"
        off = replace(seen, guest=GuestState.OFF, crashes=crashes)
        if not asked_for:
            why = f"node {self.ground.node} was restarted" if rebooted else f"it had ended by itself ({reason})"
            off = replace(off, anew_why=why, anew_at_s=self.ground.clock.wall_s())
        if not self._save(vm.uuid, self.ground.view.vm_seen.get(vm.uuid), off):
            return Outcome("the guest has ended; waiting for the store to say so", 0.5)
        self.ground.hooks.notify("pvc_vm_stopped", key=vm.uuid, vm=vm, reason=reason)
        self._shutdowns.pop(vm.uuid, None)
        if asked_for:
            return Outcome("off; starting again as asked", 0.0)
        if rebooted:
            return Outcome(f"node {self.ground.node} was restarted; starting the guest again", 0.0)
        if crashes >= CRASHES_MAX:
            why = f"it ended by itself {crashes} times in a row ({reason}) and is not started again by itself"
            return self.starter.failed(vm, replace(off, crashes=0), f"{why}; `pvc vm start {vm.name}` does")
        wait_s = self.starter.hold_back(vm.uuid, crashes, reason)
        times = f"{crashes} times in a row" if crashes > 1 else "by itself"
        return Outcome(f"the guest ended {times} ({reason}); starting it again in {wait_s:.0f} s", wait_s)

    def _adopt(self, claim: Kept[Claim], what: str) -> Outcome:
        """The guest runs here and nobody else may have it: say so in the claim before anything else."""
        mine = replace(
            claim.value,
            phase=Phase.RUN,
            incarnation=self.ground.incarnation,
            generation=claim.value.generation + 1,
            volumes=claim.value.volumes or self.starter.volumes(claim.value.uuid),
        )
        self.ground.commit(Set(layout.CLAIMS, claim.value.uuid, mine, claim.version))
        return Outcome(f"adopted {what}", 0.0)

    def _show_running(self, vm: VmWanted, claim: Claim, there: Observation) -> VmSeen:
        kept = self.ground.view.vm_seen.get(vm.uuid)
        old = self._seen(vm.uuid)
        steady = bool(old.crashes) and self.ground.clock.wall_s() - old.started_at_s > STEADY_S
        done = vm.restart if claim.request_id == f"restart-{vm.restart}" else old.restart_done
        new = replace(
            old,
            node=self.ground.node,
            guest=there.guest,
            crashes=0 if steady else old.crashes,
            failed_reason="",
            failed_asked=-1,
            restart_done=max(done, old.restart_done),
            vnc_listen=there.vnc_listen,
            vnc_port=there.vnc_port,
            started_at_s=old.started_at_s if old.guest is not GuestState.OFF else self.ground.clock.wall_s(),
            sentence=f"running on {self.ground.node}" if there.guest is GuestState.RUNNING else old.sentence,
        )
        if new != old:
            self._save(vm.uuid, kept, new)
        return new

    # -- wanted off ----------------------------------------------------------------------------------------------------

    def _wanted_off(self, vm: VmWanted, claim: Kept[Claim], there: Observation) -> Outcome:
        if there.guest is GuestState.OFF:
            return self._release(vm, claim, there)
        if claim.value.phase is not Phase.RUN or claim.value.incarnation != self.ground.incarnation:
            return self._adopt(claim, "a guest that runs here though it should be off")
        if vm.want is Want.SHUTDOWN or (vm.want is Want.DISABLE and not vm.force):
            return self._go_down(vm, f"request {vm.asked}", there)
        return self._switch_off(vm.uuid, "switched off")

    def _go_down(self, vm: VmWanted, request: str, there: Observation) -> Outcome:
        """Ask the guest; when it has not obeyed within its limit, switch it off."""
        now = self.ground.clock.boottime_s()
        asked, since = self._shutdowns.get(vm.uuid, (None, now))
        if asked != request:
            since = now
            self._shutdowns[vm.uuid] = (request, now)
        waited = now - since
        if waited >= SHUTDOWN_LIMIT_S or there.guest is GuestState.PAUSED:
            return self._switch_off(vm.uuid, "switched off: it did not shut down when asked")
        self.ground.calls(
            vm.uuid,
            "asking the guest to shut down",
            ASK_S,
            lambda: self.ground.compute.request_shutdown(vm.uuid, deadline_s=ASK_S),
        )
        return Outcome(
            f"asked to shut down; it has {SHUTDOWN_LIMIT_S:.0f} s to obey",
            min(ASK_AGAIN_S, max(0.1, SHUTDOWN_LIMIT_S - waited)),
        )

    def _switch_off(self, uuid: str, sentence: str) -> Outcome:
        self.ground.calls(
            uuid, "switching the guest off", STOP_S, lambda: self.ground.compute.stop(uuid, deadline_s=STOP_S)
        )
        return Outcome(sentence, 0.0)

    def _release(self, vm: VmWanted, claim: Kept[Claim], there: Observation) -> Outcome:
        """Seen gone: let go of its volumes, then of the claim."""
        self._shutdowns.pop(vm.uuid, None)
        sentence = f"off; it is started when node {self.ground.node} gets ready" if vm.autostart else "off"
        seen = self._seen(vm.uuid)
        if claim.value.phase is Phase.RUN:
            self.starter.give_up(claim)
            if seen.guest is not GuestState.OFF:
                self.ground.hooks.notify("pvc_vm_stopped", key=vm.uuid, vm=vm, reason=there.reason or str(vm.want))
        off = replace(
            seen,
            guest=GuestState.OFF,
            crashes=0,
            failed_reason="",
            failed_asked=-1,
            restart_done=vm.restart,
            vnc_port=0,
            vnc_listen="",
            sentence=sentence,
        )
        if off != seen:
            self._save(vm.uuid, self.ground.view.vm_seen.get(vm.uuid), off)
        return Outcome(sentence)

    def _bury(self, uuid: str) -> Outcome:
        """A tombstone names it: wherever it lives, it is killed. Its disks are touched by nobody here."""
        there = self.observe(uuid)
        if there.guest is GuestState.OFF:
            return Outcome("")
        return self._switch_off(uuid, f"killed: {self.ground.view.tombstones[uuid].value.why}")

    # -- what is seen --------------------------------------------------------------------------------------------------

    def _seen(self, uuid: str) -> VmSeen:
        kept = self.ground.view.vm_seen.get(uuid)
        return kept.value if kept else self._blank(uuid)

    def _blank(self, uuid: str) -> VmSeen:
        return VmSeen(uuid=uuid, node=self.ground.node)

    def _save(self, uuid: str, kept: Kept[VmSeen] | None, record: VmSeen) -> bool:
        """What is seen is told, not decided on: a lost race or a silent store costs nothing but a later look.

        Whether it was written for certain.
        """
        try:
            self.ground.repository.save(layout.VM_SEEN, uuid, record, kept)
            saved = True
        except (Conflict, NotFound, StoreUnavailable):
            saved = False
        self.ground.keeper.settle([layout.VM_SEEN.key(uuid)], inline=self.ground.inline)
        return saved
