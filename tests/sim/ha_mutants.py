"""Does the simulator see bugs of fencing and recovery? Planted one by one; each must be caught by a scenario or
by one of 120 seeds.

Run from the repository's root: `.venv/bin/python -m tests.sim.ha_mutants`, or with words of the names of those that
shall be planted. No part of the fast tests.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from pvc_core.cluster import repository as repositories
from pvc_core.cluster.leadership import Leadership
from pvc_core.guard.freezer import Freezer
from pvc_core.guard.heartbeat import Heart
from pvc_core.guard.promises import Promises
from pvc_core.model.verdict import Verdict
from pvc_core.policy import suspicion
from pvc_core.policy.proofs import Judged
from pvc_core.reconcile import docket, judge, recovery
from pvc_core.reconcile.ladder import LadderReconciler
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.recovery import RecoveryReconciler
from pvc_core.reconcile.vm import VmReconciler
from pvc_core.reconcile.vm_start import Starter
from pvc_core.testing.sim_ha_story import story, wrong
from pvc_core.testing.sim_text import load
from tests.sim.mutants import planted, unknown_is_off

SEEDS = 120
FOLDER = Path(__file__).parents[1] / "scenarios"
FILES = [*sorted(FOLDER.glob("*.yaml")), *sorted(FOLDER.glob("pairs/*.yaml"))]


def skip_the_proof(right: Any) -> Any:
    return lambda self, life, verdict, uuid, claim, wanted: Judged(proofs=tuple(self.ground.view.proofs)[:1] or ("",))


def any_proof_serves(right: Any) -> Any:
    def judged(self: RecoveryReconciler, life: Any, verdict: Any, uuid: Any, claim: Any, wanted: Any) -> Any:
        self._move(life, self.ground.view.verdicts[life], self.ground.view.claims[uuid], wanted, Judged())
        return Judged(why="")

    return judged


def an_old_proof_serves(right: Any) -> Any:
    def of(view: Any, life: str) -> Any:
        node = life.partition("@")[0]
        return [kept.value for kept in view.proofs.values() if kept.value.proof.node == node]

    return of


def nobody_waits_for_the_self_fence(right: Any) -> Any:
    return lambda self, life, verdict: True


def waiting_proves_what_was_never_promised(right: Any) -> Any:
    return lambda verdict, seen_s, agreed_s: right(replace(verdict, armed=True), seen_s, agreed_s)


def a_verdict_acts_at_once(right: Any) -> Any:
    return property(lambda self: True)


def no_clock_begins_anew(right: Any) -> Any:
    return lambda memory, look, patience: False


def the_quorum_does_not_matter(right: Any) -> Any:
    return lambda look, name: ""


def maintenance_does_not_matter(right: Any) -> Any:
    return lambda self: replace(right(self), maintenance=False)


def no_boot_grace(right: Any) -> Any:
    return lambda memory, look, name, patience: ("", False)


def a_direct_answer_does_not_save(right: Any) -> Any:
    return lambda look, name, patience: False


def promises_are_given_with_a_store(right: Any) -> Any:
    return lambda self, now_s: True


def it_is_agreed_before_promises_run_out(right: Any) -> Any:
    return lambda self, life: True


def nobody_freezes(right: Any) -> Any:
    return lambda self: []


def thawed_though_condemned(right: Any) -> Any:
    return lambda self, why: None


def version_or_any(right: Any) -> Any:
    def op(write: Any, level: int) -> Any:
        return right(replace(write, if_version=None) if hasattr(write, "if_version") else write, level)

    return op


def no_claim_before_a_start(right: Any) -> Any:
    def stamp(self: Starter, wanted: Any, claim: Any, description: Any, volumes: Any) -> Any:
        return replace(claim.value, generation=claim.value.generation + 1, volumes=description.volumes)

    return stamp


def nothing_is_recovered(right: Any) -> Any:
    return lambda self, life, verdict, uuid: "later"


def a_node_that_answers_is_not_believed(right: Any) -> Any:
    return lambda self, life, verdict: Outcome("", 1.0)


MUTANTS: tuple[tuple[str, Any, str, Any], ...] = (
    ("any proof of any node serves", RecoveryReconciler, "_judged", skip_the_proof),
    ("no proof is asked for", RecoveryReconciler, "_judged", any_proof_serves),
    ("a proof of an earlier life serves", recovery, "proofs_of", an_old_proof_serves),
    ("nobody waits for the self-fence time", docket.Docket, "self_fenced", nobody_waits_for_the_self_fence),
    ("waiting proves what was never promised", docket, "self_fenced_at_s", waiting_proves_what_was_never_promised),
    ("a verdict acts before a majority agreed", Verdict, "in_force", a_verdict_acts_at_once),
    ("a store outage, a late tick: no clock begins anew", suspicion, "_begins_anew", no_clock_begins_anew),
    ("the ensemble's majority does not matter", suspicion, "_would_lose_majority", the_quorum_does_not_matter),
    ("maintenance does not matter", judge.JudgeReconciler, "_look", maintenance_does_not_matter),
    ("no grace for nodes that boot", suspicion, "_grace", no_boot_grace),
    ("a direct answer does not save", suspicion, "_answers", a_direct_answer_does_not_save),
    ("a coordinator with a store promises", Promises, "_silent", promises_are_given_with_a_store),
    ("it is agreed before promises have run out", Promises, "may_agree", it_is_agreed_before_promises_run_out),
    ("nobody freezes at the deadline", Freezer, "freeze", nobody_freezes),
    ("a condemned guard goes on", Heart, "condemn", thawed_though_condemned),
    ("version or any", repositories, "_op", version_or_any),
    ("no claim is written before a start", Starter, "_stamp", no_claim_before_a_start),
    ("nothing is recovered", RecoveryReconciler, "_recover", nothing_is_recovered),
    ("the node is not asked to release", LadderReconciler, "_word", a_node_that_answers_is_not_believed),
    ("unknown counts as off", VmReconciler, "observe", unknown_is_off),
    ("a sleeping leader acts on", Leadership, "acts", lambda right: lambda self, for_s=0.0: self._standing is not None),
)


def main(words: Sequence[str]) -> int:
    """1 when a bug was not seen; 2 when something is wrong without any, or no bug has such a name."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant[0] for word in words)]
    if not chosen:
        print(f"no planted bug is called so; there are: {', '.join(mutant[0] for mutant in MUTANTS)}")
        return 2
    found = next((found for found in _findings() if found[1]), None)
    if found:
        print(f"without a planted bug, {found[0]} fails already: {found[1]}", flush=True)
        return 2
    print(f"without a planted bug: nothing in {len(FILES) - 1} scenarios and {SEEDS} seeds", flush=True)
    missed = 0
    for name, where, attribute, bug in chosen:
        begun = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(planted(where, attribute, bug))
            caught = next((found for found in _findings() if found[1]), None)
        missed += caught is None
        told = f"caught by {caught[0]}: {caught[1]}" if caught else "NOT CAUGHT"
        print(f"{name}: {told} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs were caught", flush=True)
    return 1 if missed else 0


def _findings() -> Iterator[tuple[str, str]]:
    for path in FILES:
        if path.name != "elsewhere.yaml":
            yield path.name, _wrong(load(path.read_text()))
    for seed in range(SEEDS):
        yield f"seed {seed}", _wrong(story(seed))


def _wrong(scenario: Any) -> str:
    try:
        return wrong(scenario).partition("\n")[0][:110]
    except Exception as error:  # a bug may also break the code around it
        return f"{type(error).__name__}: {error}"[:110]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
