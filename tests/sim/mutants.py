"""Does the simulator see? Bugs planted one by one; each must be caught by one of 200 seeds.

Run from the repository's root: `.venv/bin/python -m tests.sim.mutants`. No part of the fast tests.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pvc_core.cluster import repository as repositories
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.compute import Observation
from pvc_core.errors import NotFound, Retry, StoreUnavailable
from pvc_core.model.vm import GuestState, Phase
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.task import TaskReconciler
from pvc_core.reconcile.vm import VmReconciler
from pvc_core.reconcile.vm_start import Starter
from pvc_core.testing.sim_parts import SimPermits
from pvc_core.testing.sim_story import live, two_starts

SEEDS = 200


@contextmanager
def planted(where: Any, name: str, bug: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """`bug` makes the wrong function of the right one."""
    right = getattr(where, name)
    setattr(where, name, bug(right))
    try:
        yield
    finally:
        setattr(where, name, right)


def no_claim_before_a_start(right: Any) -> Any:
    def stamp(self: Starter, wanted: Any, claim: Any, description: Any, volumes: Any) -> Any:
        return replace(claim.value, generation=claim.value.generation + 1, volumes=description.volumes)

    return stamp


def claim_released_before_the_guest_is_off(right: Any) -> Any:
    def wanted_off(self: VmReconciler, vm: Any, claim: Any, there: Observation) -> Any:
        if claim.value.phase is Phase.RUN:
            self._release(vm, claim, replace(there, guest=GuestState.OFF))
        return right(self, vm, claim, there)

    return wanted_off


def version_or_any(right: Any) -> Any:
    def op(write: Any, level: int) -> Any:
        loose = replace(write, if_version=write.if_version or None) if hasattr(write, "if_version") else write
        return right(loose, level)

    return op


def start_after_an_unknown_outcome(right: Any) -> Any:
    def stamp(self: Starter, wanted: Any, claim: Any, description: Any, volumes: Any) -> Any:
        try:
            return right(self, wanted, claim, description, volumes)
        except StoreUnavailable:
            return replace(claim.value, generation=claim.value.generation + 1)

    return stamp


def no_permit(right: Any) -> Any:
    return lambda self, uuid, **_: 0.0


def unknown_is_off(right: Any) -> Any:
    def observe(self: VmReconciler, uuid: str) -> Observation:
        try:
            return right(self, uuid)
        except Retry:
            return Observation(uuid=uuid, guest=GuestState.OFF)

    return observe


def never_detach(right: Any) -> Any:
    return lambda self, uuid, ref: None


def make_again_what_is_missing(right: Any) -> Any:
    def attach(self: Starter, uuid: str, ref: str, **rest: Any) -> Any:
        try:
            return right(self, uuid, ref, **rest)
        except NotFound:
            volume = self.ground.view.volume(ref)
            if volume is not None:
                pool = self.ground.pool(volume.value.pool)
                self.ground.driver(pool).create_volume(pool, volume.value, deadline_s=60.0)
            return right(self, uuid, ref, **rest)

    return attach


def no_undo(right: Any) -> Any:
    def fail(self: TaskReconciler, job: Any, kind: Any, error: Any) -> Any:
        return right(self, job, replace(kind, undo=lambda job, error: ()), error)

    return fail


def no_re_read_after_a_reconnect(right: Any) -> Any:
    def wake(self: ViewKeeper, key: str | None) -> None:
        if key is None and self._shown:
            self._all_due_s = None
        else:
            right(self, key)

    return wake


def volumes_are_not_written_over(right: Any) -> Any:
    def commit(self: Ground, *writes: Any) -> None:
        starts = any(write.kind.name == "vm wanted" for write in writes)
        right(self, *(write for write in writes if not starts or write.kind.name != "volume"))

    return commit


def a_dead_tasks_claim_is_kept(right: Any) -> Any:
    return lambda self, claim: Outcome("waiting for a task", 5.0)


MUTANTS: tuple[tuple[str, Any, str, Any], ...] = (
    ("no claim is written before a start", Starter, "_stamp", no_claim_before_a_start),
    (
        "the claim goes before the guest is seen off",
        VmReconciler,
        "_wanted_off",
        claim_released_before_the_guest_is_off,
    ),
    ("version 0 means any version", repositories, "_op", version_or_any),
    ("a start from memory after an unknown outcome", Starter, "_stamp", start_after_an_unknown_outcome),
    ("the permit is not asked for", SimPermits, "permit", no_permit),
    ("nothing is ever detached", Starter, "let_go_of", never_detach),
    ("missing bytes are made again", Starter, "attach", make_again_what_is_missing),
    ("a failed task is not undone", TaskReconciler, "_fail", no_undo),
    ("no re-read after a reconnect", ViewKeeper, "_wake", no_re_read_after_a_reconnect),
    ("a start does not take its volumes", Ground, "commit", volumes_are_not_written_over),
    ("a dead task keeps the claim", VmReconciler, "_held_by_task", a_dead_tasks_claim_is_kept),
)


def main() -> int:
    """1 when a bug was not seen."""
    missed = 0
    for name, where, attribute, bug in MUTANTS:
        begun = time.monotonic()
        with planted(where, attribute, bug):
            caught = next(((seed, why) for seed in range(SEEDS) if (why := _wrong(seed))), None)
        missed += caught is None
        told = f"caught by seed {caught[0]}: {caught[1]}" if caught else f"NOT CAUGHT by {SEEDS} seeds"
        print(f"{name}: {told} ({time.monotonic() - begun:.0f} s)", flush=True)
    return 1 if missed else 0


def _wrong(seed: int) -> str:
    try:
        live(seed)
        two_starts(seed)
    except AssertionError as error:
        return str(error).splitlines()[0].partition(": ")[2][:120]
    except Exception as error:  # a bug may also break the code around it
        return f"{type(error).__name__}: {error}"[:120]
    return ""


if __name__ == "__main__":
    sys.exit(main())
