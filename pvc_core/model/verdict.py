# SPDX-License-Identifier: LGPL-3.0-or-later
"""A node given up for dead, as it is kept: the verdict on one of its incarnations, what proves that it can do no more
harm, and a person's word.

All of it names an incarnation and is void for any other: what was true of a machine before it booted says nothing of it
afterwards. The rules are in docs/high-availability.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.model.fence import Proof


def life_id(node: str, incarnation: str) -> str:
    """The id of what concerns one incarnation of a node. Neither part can hold "@" (pvc_core.ids)."""
    return f"{node}@{incarnation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A destructive act, put on record before it is done."""

    rung: str
    by: str
    term: int
    at_s: float = 0.0
    """Unix time, for people."""
    result: str = ""
    """"" while it is going on; then what came of it, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Irrevocable: this incarnation of this node is given up. Kept under its life_id.

    Written in one commit that checks the judge's term and marks the very heartbeat the judge saw last
    (Heartbeat.condemned), so that of the verdict and the node's next heartbeat exactly one is accepted. In force once a
    majority of `coordinators` has agreed: each gives that incarnation no promise any more, and agreed only when its
    last one had run out.
    """

    node: str
    incarnation: str
    by: str
    term: int
    why: str
    """The evidence in words."""
    coordinators: tuple[str, ...]
    """As the judge knew them; agreement is counted among these."""
    agreed: tuple[str, ...] = ()
    armed: bool = False
    """From the last accepted heartbeat, as are the next two: waiting proves only what the node itself had promised."""
    limit_s: float = 0.0
    watchdog_s: float = 0.0
    """Time after which its hardware watchdog resets it; 0: none."""
    acts: tuple[Act, ...] = ()
    at_s: float = 0.0
    """Unix time, for people."""

    @property
    def in_force(self) -> bool:
        return 2 * len(set(self.agreed) & set(self.coordinators)) > len(self.coordinators)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptProof:
    """Kept under "LIFE_ID@RUNG" before any claim moves by it. Beside the fence drivers, rungs are `word` (the node's
    own: all its guests are gone), `boot` (it has a newer incarnation), `person` and `watchdog`.
    """

    proof: Proof
    by: str
    term: int
    at_s: float = 0.0
    """Unix time, for people."""

    @property
    def id(self) -> str:
        return f"{life_id(self.proof.node, self.proof.incarnation)}@{self.proof.rung}" + (
            f"@{self.proof.pool}" if self.proof.pool else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouch:
    """A person says that he has made sure himself that this incarnation is off. Kept under its life_id."""

    node: str
    incarnation: str
    by: str
    words: str
    """What he confirmed, as it was put to him."""
    at_s: float = 0.0
