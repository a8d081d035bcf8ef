"""A guest arrives: the target's side of a live migration, and what is left of one that did not. The source's side is
migration.py.

The target prepares while the claim says {source, MIGRATING, target}, and resumes the paused copy only after its own
write on a claim that names it as holder. A copy of a guest whose claim names another is killed (design rules 3 and 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.contracts.compute import Observation, RenderRequest
from pvc_core.errors import Invalid, NotFound, Permanent, Refused, Retry
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Arrival, Claim, GuestState, Phase, VmWanted
from pvc_core.policy.placement import loads, need_of, objection
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.vm_start import PERMIT_S, Starter

OBSERVE_S, PREPARE_S, RESUME_S, STOP_S, LIST_S = 5.0, 10.0, 10.0, 20.0, 10.0
RENEW_S = 30.0
"""Less than a permit lasts: the source may begin late."""
INCOMING_S = 20.0
"""The source is gone, so what has not arrived by then never will."""
LOOK_S = 60.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    ground: Ground
    starter: Starter
    expected: set[str] = field(default_factory=set)
    """UUIDs this node has prepared for, or found a copy of that is not its own: looked at until nothing is left."""
    _since: dict[str, float] = field(default_factory=dict)

    def prepare(self, wanted: Kept[VmWanted], claim: Kept[Claim]) -> Outcome:
        """The claim says {another, MIGRATING, this node}."""
        vm, now = wanted.value, claim.value.arrival
        there = self._observe(vm.uuid)
        mine = now is not None and now.incarnation == self.ground.incarnation
        if mine and now is not None and now.refused:
            return Outcome("")
        if mine and there.guest is not GuestState.OFF:
            return Outcome("")  # it is arriving
        if there.guest is not GuestState.OFF:
            return self._kill(vm.uuid)  # left of an earlier attempt
        self.expected.add(vm.uuid)
        self.ground.moment("move.prepare")
        if mine:
            self._permit(claim.value)
            return Outcome("", RENEW_S)
        return self._answer(vm, claim)

    def arrive(self, vm: VmWanted, claim: Kept[Claim], there: Observation) -> Outcome:
        """The claim is this node's and the guest may be a paused copy: resume it, after a write that entitles to it."""
        if there.guest is GuestState.PAUSED and there.incoming:
            return self._wait_for(vm)
        self._since.pop(vm.uuid, None)
        if there.guest is GuestState.PAUSED:
            return self._go_on(vm, claim)
        self._stamp(claim, target=None)
        self._settle(vm.uuid)
        self.expected.discard(vm.uuid)
        if there.guest is GuestState.OFF:
            self._say_off(vm.uuid)
            return Outcome("its memory did not arrive; starting it again", 0.0)
        self.ground.hooks.notify("pvc_vm_started", key=vm.uuid, vm=vm)
        seen = self.ground.view.vm_seen.get(vm.uuid)
        if seen is not None and seen.value.node != self.ground.node:  # or else it was left paused here, and resumed
            self.ground.hooks.notify("pvc_vm_migrated", key=vm.uuid, vm=vm, source=seen.value.node)
        return Outcome(f"running on {self.ground.node}", 0.0)

    def tidy(self, uuid: str) -> Outcome:
        """The claim is not this node's: nothing that was prepared for the guest stays. Asks the store, not the
        picture: what is killed here must be another's for certain.
        """
        if uuid not in self.expected:
            return Outcome("")
        claim = self.ground.repository.find(layout.CLAIMS, uuid)
        if claim is None or self.ground.node in (claim.value.holder, claim.value.target):
            self.expected.discard(uuid)  # adopted by nobody, or this node's after all: the picture will show it
            return Outcome("")
        self.ground.permits.revoke(uuid)
        there = self._observe(uuid)
        if there.guest is not GuestState.OFF:
            return self._kill(uuid)
        for ref in claim.value.volumes:
            self.starter.let_go_of(uuid, ref)
        self.expected.discard(uuid)
        return Outcome("")

    def stale(self, claim: Claim, there: Observation) -> bool:
        """Whether the guest here is a copy prepared for a migration that came to nothing, though the VM lives here by
        now: nobody may execute it, and what it has in memory is older than what its disks have.
        """
        return claim.phase is Phase.FREE and there.guest is GuestState.PAUSED and claim.uuid in self.expected

    def remove(self, uuid: str) -> Outcome:
        outcome = self._kill(uuid)
        self.expected.discard(uuid)
        return outcome

    # -- preparing -----------------------------------------------------------------------------------------------------

    def _answer(self, vm: VmWanted, claim: Kept[Claim]) -> Outcome:
        try:
            arrival = Arrival(incarnation=self.ground.incarnation, ticket=self._ticket(vm, claim.value))
        except (Refused, Permanent, Invalid, NotFound) as error:
            arrival = Arrival(incarnation=self.ground.incarnation, refused=str(error))
        else:
            self._permit(claim.value)
        new = replace(claim.value, arrival=arrival, generation=claim.value.generation + 1)
        self.ground.commit(Set(layout.CLAIMS, vm.uuid, new, claim.version))
        return Outcome("", RENEW_S)

    def _ticket(self, vm: VmWanted, claim: Claim) -> str:
        view, compute = self.ground.view, self.ground.compute
        load = loads(view, self.ground.descriptions.of, besides=vm.uuid)
        if why := objection(view, need_of(view, vm, self.ground.descriptions.of(vm)), self.ground.node, load):
            raise Refused(why)
        description = self.ground.definitions.describe(claim.departing)
        request = RenderRequest(
            definition=claim.departing,
            uuid=vm.uuid,
            name=vm.name,
            disks=self.starter.sources(vm.uuid, description),
            nics=self.starter.targets(description),
            vnc_listen=self.ground.vnc_listen,
            comes_from=claim.holder,
        )
        return self.ground.calls(
            vm.uuid,
            "preparing for the guest",
            PREPARE_S,
            lambda: compute.prepare_incoming(request, deadline_s=PREPARE_S),
        )

    def _permit(self, claim: Claim) -> None:
        """For a copy that arrives now: the claim has been seen to say so."""
        try:
            self.ground.permits.permit(claim.uuid, generation=claim.generation, kind="incoming", for_s=PERMIT_S)
        except Refused as error:
            raise Retry(f"not prepared: {error.message}", again_in_s=2.0, help=error.help) from None

    # -- arriving ------------------------------------------------------------------------------------------------------

    def _wait_for(self, vm: VmWanted) -> Outcome:
        now = self.ground.clock.boottime_s()
        if now - self._since.setdefault(vm.uuid, now) > INCOMING_S:
            return self._kill(vm.uuid)
        return Outcome("waiting for the rest of its memory", 0.2)

    def _go_on(self, vm: VmWanted, claim: Kept[Claim]) -> Outcome:
        """The guest stands still until this is done: the picture may wait."""
        self.ground.moment("move.arrived")
        stamped = self._stamp(claim, target=self.ground.node)
        self.ground.moment("move.stamped")
        try:
            self._resume(vm, stamped.value)
            self.ground.moment("move.resumed")
        finally:
            self._settle(vm.uuid)
        return Outcome(f"arrived on {self.ground.node}", 0.0)

    def _say_off(self, uuid: str) -> None:
        """It was lost on the way, and did not crash: nobody waits before it is started again."""
        seen = self.ground.view.vm_seen.get(uuid)
        if seen is not None:
            why = f"its memory had not arrived on {self.ground.node} when it was gone from where it came from"
            off = replace(seen.value, guest=GuestState.OFF, anew_why=why, anew_at_s=self.ground.clock.wall_s())
            self.ground.repository.save(layout.VM_SEEN, uuid, off, seen)
            self.ground.keeper.settle([layout.VM_SEEN.key(uuid)], inline=self.ground.inline)

    def _stamp(self, claim: Kept[Claim], *, target: str | None) -> Kept[Claim]:
        """The write that entitles to what follows. Lost or unknown, nothing follows (the error travels on)."""
        mine = replace(
            claim.value,
            incarnation=self.ground.incarnation,
            generation=claim.value.generation + 1,
            target=target,
        )
        return self.ground.repository.set(layout.CLAIMS, mine.uuid, mine, if_version=claim.version)

    def _settle(self, uuid: str) -> None:
        self.ground.keeper.settle([layout.CLAIMS.key(uuid)], inline=self.ground.inline)

    def _resume(self, vm: VmWanted, claim: Claim) -> None:
        """With a permit, because the node's own deadline may have passed meanwhile."""
        compute = self.ground.compute
        try:
            self.ground.permits.permit(vm.uuid, generation=claim.generation, kind="start", for_s=PERMIT_S)
        except Refused as error:
            raise Retry(f"not resumed: {error.message}", again_in_s=2.0, help=error.help) from None
        self.ground.calls(vm.uuid, "resuming the guest", RESUME_S, lambda: compute.resume(vm.uuid, deadline_s=RESUME_S))

    # -- what is left --------------------------------------------------------------------------------------------------

    def _kill(self, uuid: str) -> Outcome:
        compute = self.ground.compute
        self.ground.calls(uuid, "removing a copy of the guest", STOP_S, lambda: compute.stop(uuid, deadline_s=STOP_S))
        self._since.pop(uuid, None)
        return Outcome("removed a copy of the guest that may not run here", 0.0)

    def _observe(self, uuid: str) -> Observation:
        compute = self.ground.compute
        return self.ground.calls(
            uuid, "looking at the guest", OBSERVE_S, lambda: compute.observe(uuid, deadline_s=OBSERVE_S)
        )


@dataclass(frozen=True, slots=True)
class LeftoversReconciler:
    """Guests that are here though their claim names another node, found after a restart of this daemon too. `wake`
    has the VM's own reconciler look (VmReconciler), so that two never work on one guest.
    """

    ground: Ground
    arrivals: Arrivals
    wake: Callable[[str], None]
    kind: str = "leftovers"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not view.fresh:
            return Outcome("", 1.0)
        there = self.ground.calls(
            "list", "listing guests", LIST_S, lambda: self.ground.compute.list_guests(deadline_s=LIST_S)
        )
        for guest in there:
            claim = view.claims.get(guest.uuid)
            if claim is not None and self.ground.node not in (claim.value.holder, claim.value.target):
                self.arrivals.expected.add(guest.uuid)
                self.wake(guest.uuid)
        return Outcome("", LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """What was found is told by whom it is handed to."""


def arriving(claim: Claim, node: str) -> bool:
    """Whether the guest on `node`, the claim's holder, may be a copy that has yet to be resumed."""
    return claim.phase is Phase.RUN and claim.holder == claim.target == node
