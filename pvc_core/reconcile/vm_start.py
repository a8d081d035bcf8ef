"""How a guest is started: claim, permit, volumes, networks, hypervisor, in this order and in one attempt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged
from pvc_core.contracts.compute import Observation, RenderRequest
from pvc_core.contracts.targets import Bridge, DiskSource, NicTarget
from pvc_core.errors import Invalid, NotFound, Permanent, Refused, Retry
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim, Description, GuestState, Phase, VmSeen, VmWanted
from pvc_core.policy.placement import loads, need_of, objection
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

START_S, ATTACH_S, PERMIT_S = 60.0, 20.0, 75.0
"""A permit outlives the call it is for by little: what comes later than that must not start."""
BACK_OFF_MAX_S = 60.0
STEADY_S = 300.0
"""A guest that ran this long is not in a crash loop."""


@dataclass(frozen=True, slots=True)
class Starter:
    ground: Ground
    host_bridges: dict[str, str] = field(default_factory=dict)
    """Host network -> bridge on this node ("upstream" -> "brupstream")."""
    _not_before: dict[str, float] = field(default_factory=dict)

    def start(self, wanted: Kept[VmWanted], claim: Kept[Claim], seen: VmSeen) -> Outcome:
        """The guest is off and shall run."""
        vm = wanted.value
        description = self.ground.descriptions.of(vm)
        if seen.failed_asked == vm.asked:
            return Outcome(f"failed: {seen.failed_reason}")
        wait_s = self._not_before.get(vm.uuid, 0.0) - self.ground.clock.boottime_s()
        if wait_s > 0:
            return Outcome(f"the guest ended by itself {seen.crashes} times; starting it again", wait_s)
        hindrance = self._hindrance(vm, description, claim.value)
        if hindrance:
            return hindrance
        mine = self._stamp(wanted, claim, description)
        try:
            there = self._launch(vm, description, mine.generation)
        except (Permanent, Refused, Invalid, NotFound) as error:
            return self._failed(vm, seen, str(error))
        self._started(vm, seen, there)
        return Outcome(f"running on {self.ground.node}")

    def hold_back(self, uuid: str, crashes: int) -> float:
        """How long to wait before the next start of a guest that keeps ending by itself: 0, 1, 2, 4 ... 60 seconds."""
        wait_s = 0.0 if crashes <= 1 else min(BACK_OFF_MAX_S, 2.0 ** (crashes - 2))
        self._not_before[uuid] = self.ground.clock.boottime_s() + wait_s
        return wait_s

    def volumes(self, uuid: str) -> tuple[str, ...]:
        kept = self.ground.view.vm_wanted.get(uuid)
        return self.ground.descriptions.of(kept.value).volumes if kept else ()

    def let_go(self, uuid: str, claim: Claim) -> None:
        """The guest was seen gone: no permit, no volume is held for it any more."""
        self.ground.permits.revoke(uuid)
        for ref in claim.volumes:
            self.let_go_of(uuid, ref)

    def let_go_of(self, uuid: str, ref: str) -> None:
        kept = self.ground.view.volume(ref)
        if kept is not None:
            self._detach(uuid, kept.value)

    # -- before --------------------------------------------------------------------------------------------------------

    def _hindrance(self, vm: VmWanted, description: Description, claim: Claim) -> Outcome | None:
        """What must change before it can start; nothing was touched."""
        view = self.ground.view
        why = objection(
            view, need_of(view, vm, description), self.ground.node, loads(view, self.ground.descriptions.of)
        )
        own = claim.phase is Phase.RUN and "memory" in why  # its own claim is counted already
        if why and not own:
            return Outcome(f"cannot start on {self.ground.node}: {why}", 10.0)
        for ref in description.volumes:
            kept = view.volume(ref)
            if kept is None:
                return Outcome(f"waiting for volume {ref}, which does not exist")
            if kept.value.phase is not VolumePhase.READY:
                return Outcome(f"waiting for volume {ref}, which is {kept.value.phase}")
            task = view.tasks.get(kept.value.task)
            if task is not None and not task.value.ended:
                return Outcome(f"waiting for volume {ref}: {task.value.status}")
        read_only = {disk.volume for disk in description.disks if disk.read_only}
        for uuid, other in view.claims.items():
            shared = set(other.value.volumes) & set(description.volumes) - read_only
            if uuid != vm.uuid and shared and other.value.phase is not Phase.FREE:
                name = view.vm_wanted[uuid].value.name if uuid in view.vm_wanted else uuid
                return Outcome(f"waiting for volume {', '.join(sorted(shared))}, which VM {name} uses", 10.0)
        try:
            self.ground.hooks.check("pvc_check_vm_start", vm=vm, description=description)
        except Refused as error:
            return Outcome(f"not started: {error}", 30.0)
        return None

    def _stamp(self, wanted: Kept[VmWanted], claim: Kept[Claim], description: Description) -> Claim:
        """The write that entitles to this start. Lost or unknown, nothing is started (Conflict, StoreUnavailable
        travel on).
        """
        mine = replace(
            claim.value,
            phase=Phase.RUN,
            incarnation=self.ground.incarnation,
            generation=claim.value.generation + 1,
            volumes=description.volumes,
            request_id=f"restart-{wanted.value.restart}",
        )
        self.ground.commit(
            Set(layout.CLAIMS, wanted.value.uuid, mine, claim.version),
            Unchanged(layout.VM_WANTED, wanted.value.uuid, wanted.version),
        )
        return mine

    # -- the attempt ---------------------------------------------------------------------------------------------------

    def _launch(self, vm: VmWanted, description: Description, generation: int) -> Observation:
        self.ground.permits.permit(vm.uuid, generation=generation, kind="start", for_s=PERMIT_S)
        request = RenderRequest(
            definition=vm.definition,
            uuid=vm.uuid,
            name=vm.name,
            disks=self.sources(vm.uuid, description),
            nics=self.targets(description),
            vnc_listen=self.ground.vnc_listen,
        )
        compute = self.ground.compute
        return self.ground.calls(
            vm.uuid, "starting the guest", START_S, lambda: compute.start(request, deadline_s=START_S)
        )

    def sources(self, uuid: str, description: Description) -> dict[str, DiskSource]:
        """Where this node finds each volume, by target device."""
        found: dict[str, DiskSource] = {}
        for disk in description.disks:
            if disk.volume:
                found[disk.dev] = self.attach(uuid, disk.volume, read_only=disk.read_only)
        return found

    def attach(self, uuid: str, ref: str, *, read_only: bool) -> DiskSource:
        kept = self.ground.view.volume(ref)
        if kept is None:
            raise NotFound(f"there is no volume {ref}")
        volume, pool = kept.value, self.ground.pool(kept.value.pool)
        driver = self.ground.driver(pool)
        return self.ground.calls(
            f"volume/{volume.id}",
            f"attaching volume {ref}",
            ATTACH_S,
            lambda: driver.attach(pool, volume, vm_uuid=uuid, read_only=read_only, deadline_s=ATTACH_S),
        )

    def targets(self, description: Description) -> dict[str, NicTarget]:
        """What each NIC plugs into, by MAC. Networks of PVC's own come with their drivers; host networks are bridges
        here.
        """
        found: dict[str, NicTarget] = {}
        for nic in description.nics:
            if nic.network in self.host_bridges:
                found[nic.mac] = Bridge(bridge=self.host_bridges[nic.network])
            elif nic.network is not None:
                raise Refused(f"network {nic.network} is not on node {self.ground.node}")
        return found

    def _detach(self, uuid: str, volume: Volume) -> None:
        pool = self.ground.pool(volume.pool)
        driver = self.ground.driver(pool)
        self.ground.calls(
            f"volume/{volume.id}",
            f"detaching volume {volume.ref}",
            ATTACH_S,
            lambda: driver.detach(pool, volume, vm_uuid=uuid, deadline_s=ATTACH_S),
        )

    # -- after ---------------------------------------------------------------------------------------------------------

    def _started(self, vm: VmWanted, seen: VmSeen, there: Observation) -> None:
        now = self.ground.clock.wall_s()
        steady = seen.started_at_s and now - seen.started_at_s > STEADY_S
        new = replace(
            seen,
            node=self.ground.node,
            guest=there.guest,
            sentence=f"running on {self.ground.node}",
            failed_reason="",
            failed_asked=-1,
            restart_done=vm.restart,
            crashes=0 if steady else seen.crashes,
            vnc_listen=there.vnc_listen,
            vnc_port=there.vnc_port,
            started_at_s=now,
        )
        self._save(vm.uuid, new)
        self.ground.hooks.notify("pvc_vm_started", key=vm.uuid, vm=vm)

    def _failed(self, vm: VmWanted, seen: VmSeen, reason: str) -> Outcome:
        """It cannot start here. The claim is given up only when the guest was seen off: nothing may be in flight."""
        there = self.ground.compute.observe(vm.uuid, deadline_s=5.0)
        if there.guest is not GuestState.OFF:
            raise Retry(f"start failed ({reason}), and whether the guest is off is not clear yet", again_in_s=2.0)
        claim = self.ground.repository.get(layout.CLAIMS, vm.uuid)
        self.let_go(vm.uuid, claim.value)
        free = replace(claim.value, phase=Phase.FREE, generation=claim.value.generation + 1, volumes=())
        self.ground.commit(Set(layout.CLAIMS, vm.uuid, free, claim.version))
        self._save(
            vm.uuid,
            replace(seen, node=self.ground.node, guest=GuestState.OFF, failed_reason=reason, failed_asked=vm.asked),
        )
        self.ground.hooks.notify("pvc_vm_failed", key=vm.uuid, vm=vm, reason=reason)
        return Outcome(f"failed: {reason}")

    def _save(self, uuid: str, record: VmSeen) -> None:
        self.ground.repository.save(layout.VM_SEEN, uuid, record, self.ground.repository.find(layout.VM_SEEN, uuid))
        self.ground.keeper.settle([layout.VM_SEEN.key(uuid)], inline=self.ground.inline)
