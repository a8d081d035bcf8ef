"""When a guest of a condemned node may start elsewhere. Pure: the proofs on record, one guest, and time that has passed
on the judge's own clock.

A proof belongs to one incarnation and is judged per guest (A11): OFF serves any guest; NO_WRITE serves one that has at
least one writable source, every one of them in a pool that gave that proof, and nothing of the host's, once the
self-fence time has passed. An empty list proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pvc_core.model.fence import ProofKind
from pvc_core.model.verdict import KeptProof, Verdict
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Claim, Description

RATE, FREEZE_S, MARGIN_S = 0.001, 1.0, 0.5
"""r, K and M: two clocks' rates differ by no more; a node freezes and verifies within K; what is left is margin."""

SURE = ("boot", "word", "person")
"""Not read off a machine that may be another: the node itself says so, or a person who has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What a claim's guest can write to, as far as anybody knows."""

    name: str
    pools: tuple[str, ...] = ()
    """Of its writable sources, each once."""
    unprovable: tuple[str, ...] = ()
    """What it uses that no pool's proof speaks of: paths and devices of the host, volumes without a record."""
    tied: str = ""
    """Why it can run on its own node only; "" when it can run elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the cluster's configuration asks for."""

    proof: str = "one"
    """"one": the first sufficient proof; "all": every rung's, and the self-fence time besides."""
    rungs: Mapping[str, ProofKind] = field(default_factory=dict)
    """The ladder, with what each rung proves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`proofs` (ids) let the guest go; empty: it stays, and `why` says what is missing."""

    proofs: tuple[str, ...] = ()
    why: str = ""


def self_fenced_at_s(verdict: Verdict, seen_s: float, agreed_s: float) -> float | None:
    """When the node has frozen its guests for certain, on the judge's clock; None when it never said that it would.

    `seen_s`: when the judge saw the node's last heartbeat, never before it was sent; `agreed_s`: when it saw that a
    majority had agreed, after which no promise prolongs the node's time. What counts is the limit that this last
    heartbeat itself promised (A19).
    """
    if not verdict.armed:
        return None
    return max(seen_s + verdict.limit_s * (1 + RATE), agreed_s) + FREEZE_S + MARGIN_S


def watchdog_bit_at_s(verdict: Verdict, seen_s: float, agreed_s: float) -> float | None:
    """When a watchdog has reset the node whatever became of its guard; None when it has none."""
    fenced_s = self_fenced_at_s(verdict, seen_s, agreed_s)
    if fenced_s is None or not verdict.watchdog_s:
        return None
    return fenced_s + verdict.watchdog_s * (1 + RATE) + MARGIN_S


def guest_of(view: ClusterView, claim: Claim, name: str, description: Description | None) -> Guest:
    """`description`: of its definition; None when there is none any more."""
    read_only = {disk.volume for disk in description.disks if disk.volume and disk.read_only} if description else set()
    named = description.volumes if description else ()
    refs = [ref for ref in dict.fromkeys((*claim.volumes, *named)) if ref not in read_only]
    volumes = {ref: kept.value for ref in refs if (kept := view.volume(ref)) is not None}
    unknown = [f"volume {ref}" for ref in refs if ref not in volumes]
    return Guest(
        name=name,
        pools=tuple(dict.fromkeys(volume.pool for volume in volumes.values())),
        unprovable=(*unknown, *_outside(description)),
        tied=_tie(view, claim, description),
    )


def sufficient(
    guest: Guest, proofs: Sequence[KeptProof], *, self_fenced: bool, demand: Demand, coming: Collection[str] = ()
) -> Judged:
    """`proofs`: those of the incarnation that the claim names. `coming`: pools whose NO_WRITE may yet come in a moment;
    it is waited for even when power was read off, for a BMC may lie (A16).
    """
    if guest.tied:
        return Judged(why=guest.tied)
    off = [kept for kept in proofs if kept.proof.kind is ProofKind.OFF]
    sure = [kept for kept in off if kept.proof.rung in SURE]
    if sure:
        return Judged(proofs=(sure[0].id,))
    no_write = {kept.proof.pool: kept for kept in proofs if kept.proof.kind is ProofKind.NO_WRITE}
    if demand.proof == "all":
        return _all(guest, off, no_write, self_fenced, demand)
    if off and not (waiting := [pool for pool in guest.pools if pool in coming and pool not in no_write]):
        return Judged(proofs=(off[0].id, *(no_write[pool].id for pool in guest.pools if pool in no_write)))
    if off:
        return Judged(why=f"power reads off; waiting for pool {', '.join(waiting)} to shut the node out too")
    return _no_write(guest, no_write, self_fenced)


def _no_write(guest: Guest, no_write: Mapping[str, KeptProof], self_fenced: bool) -> Judged:
    if guest.unprovable:
        return Judged(why=f"only the node's power off would prove it: it uses {', '.join(guest.unprovable)}")
    if not guest.pools:
        return Judged(why="only the node's power off would prove it: it writes to no pool")
    missing = [pool for pool in guest.pools if pool not in no_write]
    if missing:
        return Judged(why=f"nothing proves yet that the node cannot write into pool {', '.join(missing)}")
    if not self_fenced:
        return Judged(why="the node cannot write any more; waiting for its self-fence time to pass")
    return Judged(proofs=tuple(no_write[pool].id for pool in guest.pools))


def _all(
    guest: Guest, off: Sequence[KeptProof], no_write: Mapping[str, KeptProof], self_fenced: bool, demand: Demand
) -> Judged:
    """What one rung read wrongly, another would contradict; and waiting convicts the machine that nobody can ask."""
    power = {kept.proof.rung: kept for kept in off}
    asked = [rung for rung, kind in demand.rungs.items() if kind is ProofKind.OFF]
    missing = [f"{rung} proves that its power is off" for rung in asked if rung not in power]
    storage = any(kind is ProofKind.NO_WRITE for kind in demand.rungs.values())
    if storage:
        missing += [f"pool {pool} shuts it out" for pool in guest.pools if pool not in no_write]
    if missing:
        return Judged(why=f"every proof is asked for (fencing.proof: all); waiting until {' and '.join(missing)}")
    if not self_fenced:
        return Judged(why="waiting for the node's self-fence time to pass (fencing.proof: all)")
    used = (*power.values(), *(no_write[pool] for pool in guest.pools if pool in no_write))
    if not power and (not storage or guest.unprovable or not guest.pools):
        return Judged(why="nothing speaks of all that it uses (fencing.proof: all)")
    return Judged(proofs=tuple(kept.id for kept in used))


def _outside(description: Description | None) -> tuple[str, ...]:
    if description is None:
        return ("what nobody knows: its definition is gone",)
    disks = [disk for disk in description.disks if not disk.volume and not disk.read_only]
    paths = [f"{disk.path or disk.dev} of its host" for disk in disks]
    return (*paths, *description.outside)


def _tie(view: ClusterView, claim: Claim, description: Description | None) -> str:
    if description is not None and not description.failover:
        return f"it needs what only {claim.holder} has ({'; '.join(description.outside)})"
    refs = dict.fromkeys((*claim.volumes, *(description.volumes if description else ())))
    homes = [ref for ref in refs if (kept := view.volume(ref)) is not None and kept.value.home]
    return f"{', '.join(homes)} lies on {claim.holder} only, in a pool that is not shared" if homes else ""
