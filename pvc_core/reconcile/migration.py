"""A running guest leaves its node: the source's side of a live migration. The target's is arrival.py, when and where a
VM moves is moving.py.

While the claim says {holder: source, MIGRATING, target} only the source may run the guest (design rule 3). The
hypervisor copies it there paused and never decides who runs: the source hands the claim over when its guest is seen
gone, or takes it back at any time before, and either is one compare-and-set on the same record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged
from pvc_core.contracts.compute import Migration, Observation, RenderRequest
from pvc_core.errors import NotFound, Permanent, Refused
from pvc_core.model.node import DaemonState
from pvc_core.model.view import Kept
from pvc_core.model.vm import Arrival, Claim, GuestState, Phase, VmWanted, Want
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.vm_start import Starter
from pvc_core.units import MIB

OBSERVE_S, BEGIN_S, ABORT_S = 5.0, 20.0, 5.0
PROGRESS_S = 1.0
ARRIVAL_S = 60.0
"""How long the target may take to prepare: its daemon may be starting, its storage slow."""
PATIENCE_S, PASSES_WORTH = 120.0, 5.0
"""How long what the guest writes meanwhile may take to be sent: this long, or so many times what all of its memory took
if that is longer. The hypervisor slows the guest down more and more until then."""
STUCK_S = 60.0
"""Not a byte was carried for this long: the other end, or the network, does not take any."""
STUCK = f"not a byte of it was carried for {STUCK_S:.0f} s"
SETTLE_S = 5.0
"""A paused guest of whose migration nothing is known (the daemon was restarted): this long, then it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A migration that came to nothing. `generation` is the claim's that began it; `final`: trying again is no use."""

    generation: int
    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Departure:
    ground: Ground
    starter: Starter
    failures: dict[str, Failure] = field(default_factory=dict)
    """The last of each VM, for who asked for the migration; forgotten with the daemon, which then tries once more."""
    _since: dict[tuple[str, int, str], float] = field(default_factory=dict)
    """When this daemon first saw (UUID, generation of the claim, what)."""
    _begun: dict[str, str] = field(default_factory=dict)
    """UUID -> the ticket of the migration that this daemon has begun."""
    _carried: dict[str, tuple[int, float]] = field(default_factory=dict)
    """UUID -> (bytes, since when no more)."""
    _given_up: dict[str, str] = field(default_factory=dict)
    """UUID -> why the migration under way was called off, though nobody asked for it."""

    def begin(self, wanted: Kept[VmWanted], claim: Kept[Claim], target: str) -> Outcome:
        """The write that makes the target prepare. Raises Refused, Permanent when the guest cannot leave."""
        vm = wanted.value
        self.ground.moment("move.asked")
        departing = self._as_it_is(vm)
        leaving = replace(
            claim.value,
            phase=Phase.MIGRATING,
            incarnation=self.ground.incarnation,
            generation=claim.value.generation + 1,
            target=target,
            departing=departing,
            arrival=None,
        )
        self.ground.commit(
            Set(layout.CLAIMS, vm.uuid, leaving, claim.version), Unchanged(layout.VM_WANTED, vm.uuid, wanted.version)
        )
        return Outcome(f"migrating to {target}: waiting for it to prepare", PROGRESS_S)

    def step(self, vm: VmWanted, claim: Kept[Claim], there: Observation) -> Outcome:
        """The claim is this node's and says MIGRATING."""
        if there.guest is GuestState.OFF:
            return self._gone(claim)
        under_way, stay = self._state(vm.uuid), self._why_stay(vm, claim.value)
        if under_way.running:
            hopeless = self._given_up.get(vm.uuid) or self._hopeless(claim.value, under_way)
            if hopeless:
                self._given_up[vm.uuid] = hopeless
            why = stay or hopeless
            return self._call_off(vm.uuid, why) if why else _progress(claim.value, under_way)
        # It has ended, or has not begun: but "is it there?" was asked before "is it on its way?", and it may have left
        # between the two.
        there = self._observe(vm.uuid)
        if there.guest is GuestState.OFF:
            return self._gone(claim)
        if there.guest is GuestState.UNKNOWN:
            return Outcome(f"cannot tell whether the guest runs: {there.reason}", 2.0)
        if stay:
            return self._take_back(claim, there, f"stays on {self.ground.node}: {stay}")
        if given_up := self._given_up.pop(vm.uuid, ""):
            return self._fail(claim, there, given_up, final=given_up != STUCK)
        if self._begun.get(vm.uuid) == _ticket(claim.value):
            return self._fail(claim, there, under_way.reason or "it ended without a reason given")
        if there.guest is GuestState.PAUSED and self._waited_s(claim.value, "paused") < SETTLE_S:
            return Outcome("paused in the middle of a migration; looking what becomes of it", 1.0)
        if there.guest is GuestState.PAUSED:
            return self._fail(claim, there, "the guest was left paused")
        return self._set_out(vm, claim, there)

    def forget(self, uuid: str) -> None:
        self.failures.pop(uuid, None)
        for table in (self._begun, self._carried, self._given_up):
            table.pop(uuid, None)
        for key in [key for key in self._since if key[0] == uuid]:
            del self._since[key]

    # -- on the way ----------------------------------------------------------------------------------------------------

    def _set_out(self, vm: VmWanted, claim: Kept[Claim], there: Observation) -> Outcome:
        """When the target is prepared, the hypervisor takes over; it goes on when this daemon ends."""
        arrival, target = claim.value.arrival, claim.value.target
        if arrival is None:
            if self._waited_s(claim.value, "prepared") > ARRIVAL_S:
                return self._fail(claim, there, f"{target} did not prepare for it within {ARRIVAL_S:.0f} s")
            return Outcome(f"migrating to {target}: waiting for it to prepare", PROGRESS_S)
        if arrival.refused:
            return self._fail(claim, there, f"{target} cannot take it: {arrival.refused}", final=True)
        self.ground.moment("move.set-out")
        self.ground.permits.revoke(vm.uuid)  # nothing may begin here once its process has ended
        self._begun[vm.uuid] = arrival.ticket
        compute, uuid, downtime_ms = self.ground.compute, vm.uuid, vm.migration_max_downtime_ms
        try:
            self.ground.calls(
                uuid,
                "beginning the migration",
                BEGIN_S,
                lambda: compute.migrate(uuid, arrival.ticket, max_downtime_ms=downtime_ms, deadline_s=BEGIN_S),
            )
        except (Refused, Permanent, NotFound) as error:
            return self._fail(claim, there, str(error), final=True)
        return Outcome(f"migrating to {target}", 0.2)

    def _hopeless(self, claim: Claim, state: Migration) -> str:
        """Why it would go on for ever; "" while it may yet arrive."""
        now, uuid = self.ground.clock.boottime_s(), claim.uuid
        carried, since = self._carried.get(uuid, (-1, now))
        if carried != state.done_bytes:
            self._carried[uuid] = (state.done_bytes, now)
        elif now - since > STUCK_S:
            return STUCK
        whole_s = self._waited_s(claim, "copying")
        if state.passes < 2:
            return ""
        again_s = self._waited_s(claim, "copying what was written meanwhile")
        if again_s <= max(PATIENCE_S, PASSES_WORTH * (whole_s - again_s)):
            return ""
        speeds = f"{_mib(state.written_bytes_s)} of it in a second, and {_mib(state.carried_bytes_s)} are carried"
        return (
            f"the guest writes its memory faster than the network carries it, also slowed down: {speeds}; "
            "a longer migration_max_downtime, or shutting it down, would move it"
        )

    def _why_stay(self, vm: VmWanted, claim: Claim) -> str:
        """What has changed since it was asked to leave; "" when nothing has."""
        if vm.want is not Want.START:
            return f"it is asked to {vm.want}"
        if vm.target != claim.target:
            return f"it is asked to live on {vm.target}"
        seen = self.ground.view.node_seen.get(claim.target or "")
        if seen is not None and seen.value.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            return f"node {claim.target} is lost"
        return ""

    def _call_off(self, uuid: str, why: str) -> Outcome:
        compute = self.ground.compute
        self.ground.calls(
            uuid, "calling the migration off", ABORT_S, lambda: compute.abort_migration(uuid, deadline_s=ABORT_S)
        )
        return Outcome(f"calling the migration off: {why}", 0.5)

    def _observe(self, uuid: str) -> Observation:
        compute = self.ground.compute
        return self.ground.calls(
            uuid, "looking at the guest", OBSERVE_S, lambda: compute.observe(uuid, deadline_s=OBSERVE_S)
        )

    def _state(self, uuid: str) -> Migration:
        compute = self.ground.compute
        return self.ground.calls(
            uuid, "looking at the migration", OBSERVE_S, lambda: compute.migration(uuid, deadline_s=OBSERVE_S)
        )

    def _waited_s(self, claim: Claim, what: str) -> float:
        now = self.ground.clock.boottime_s()
        return now - self._since.setdefault((claim.uuid, claim.generation, what), now)

    # -- its two ends --------------------------------------------------------------------------------------------------

    def _gone(self, claim: Kept[Claim]) -> Outcome:
        """Seen gone here. Whether its copy arrived is for the target to see, who starts it anew if it did not; a guest
        for which nobody had prepared has ended by itself.
        """
        arrival, old = claim.value.arrival, claim.value
        if arrival is None or arrival.refused:
            return self._take_back(claim, None, "the guest ended before it could leave")
        self.ground.moment("move.gone")
        self.ground.commit(Set(layout.CLAIMS, old.uuid, handed_over(old, arrival), claim.version))
        self.ground.moment("move.handed-over")
        self.forget(old.uuid)
        self.starter.let_go(old.uuid, old)
        vm = self.ground.view.vm_wanted.get(old.uuid)
        if vm is not None:
            self.ground.hooks.notify("pvc_vm_stopped", key=old.uuid, vm=vm.value, reason="migrated")
        return Outcome("")

    def _fail(self, claim: Kept[Claim], there: Observation, reason: str, *, final: bool = False) -> Outcome:
        outcome = self._take_back(claim, there, f"not migrated to {claim.value.target}: {reason}")
        self.failures[claim.value.uuid] = Failure(generation=claim.value.generation, reason=reason, final=final)
        return outcome

    def _take_back(self, claim: Kept[Claim], there: Observation | None, sentence: str) -> Outcome:
        """From this write on no copy may ever resume. A guest that was left paused is resumed by arrival.py, as a copy
        would be: after another write.
        """
        paused = there is not None and there.guest is GuestState.PAUSED
        mine = replace(
            claim.value,
            phase=Phase.RUN,
            incarnation=self.ground.incarnation,
            generation=claim.value.generation + 1,
            target=self.ground.node if paused else None,
            departing="",
            arrival=None,
        )
        self.ground.commit(Set(layout.CLAIMS, claim.value.uuid, mine, claim.version))
        self.forget(claim.value.uuid)
        return Outcome(sentence, 0.0)

    def _as_it_is(self, vm: VmWanted) -> str:
        description = self.ground.descriptions.of(vm)
        request = RenderRequest(
            definition=vm.definition,
            uuid=vm.uuid,
            name=vm.name,
            disks=self.starter.sources(vm.uuid, description),
            nics=self.starter.targets(description),
            vnc_listen=self.ground.vnc_listen,
        )
        compute = self.ground.compute
        return self.ground.calls(
            vm.uuid, "looking at the guest", OBSERVE_S, lambda: compute.departing(request, deadline_s=OBSERVE_S)
        )


def handed_over(claim: Claim, arrival: Arrival) -> Claim:
    """The claim when the source is gone for certain: the target may run the guest, after a write of its own."""
    assert claim.target is not None, "a claim that says MIGRATING names its target"
    return replace(
        claim,
        holder=claim.target,
        phase=Phase.RUN,
        incarnation=arrival.incarnation,
        generation=claim.generation + 1,
        departing="",
        arrival=None,
        addresses=(),  # of the source's copy, which is gone
    )


def _ticket(claim: Claim) -> str:
    return claim.arrival.ticket if claim.arrival else ""


def _mib(count_bytes: int) -> str:
    return f"{count_bytes / MIB:.0f} MiB"


def _progress(claim: Claim, state: Migration) -> Outcome:
    share = f", {100 * state.done_bytes // state.total_bytes} % copied" if state.total_bytes else ""
    return Outcome(f"migrating to {claim.target}{share}", PROGRESS_S)
