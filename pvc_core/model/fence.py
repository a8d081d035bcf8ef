# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fencing as data: who is meant (Target), what was proved of it (Proof), or why nothing was (NoProof).

How a proof is come by is a driver's (contracts/fence.py, contracts/storage.py); what it is good for is the core's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pvc_core.model.storage import Pool, Volume


class ProofKind(StrEnum):
    OFF = "off"
    """The machine's power was read off: nothing of that incarnation executes."""
    NO_WRITE = "no_write"
    """Nothing of that incarnation can write into one pool any more; it may still execute."""


class Power(StrEnum):
    ON = "on"
    OFF = "off"


class Why(StrEnum):
    """Why there is no proof; the words for a person stand in NoProof.reason."""

    UNKNOWN = "unknown"
    """Nobody knows how to reach this node's power, or which machine it is."""
    UNREACHABLE = "unreachable"
    """No answer within the deadline."""
    DENIED = "denied"
    """It answers and does not let us in: user, password, cipher suite, rights."""
    WRONG_MACHINE = "wrong_machine"
    """Who answers is not the target. Nothing was done to it."""
    NOT_ALLOWED = "not_allowed"
    """The caller withdrew its permission before anything was done."""
    DISOBEYED = "disobeyed"
    """It was told, and what was read afterwards is not what a proof needs."""
    UNATTRIBUTABLE = "unattributable"
    """NO_WRITE: somebody who may be the target could be anybody; nothing was done to him."""
    FAILED = "failed"
    """Anything else, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One boot of one machine. `uuid` is the machine's own (SMBIOS), in lower case with hyphens; "" when unknown."""

    node: str
    uuid: str
    incarnation: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Host network ("storage") -> the node's address there, without prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Belongs to one incarnation; worth nothing for any other. Whoever makes one has looked after having acted."""

    kind: ProofKind
    node: str
    incarnation: str
    rung: str
    """The plugin that gives it."""
    seen: str
    """What was read: "power reads off"."""
    how: str
    """By which way: the address asked, who answered, how long it took."""
    pool: str = ""
    """With NO_WRITE."""
    already: bool = False
    """Nothing had to be done: it was so."""

    @property
    def text(self) -> str:
        what = f"pool {self.pool}: {self.seen}" if self.pool else self.seen
        return f"node {self.node}, incarnation {self.incarnation}: {what} ({self.rung}: {self.how})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoProof:
    """What a rung could not prove. Nothing may be concluded from it, least of all that the target lives."""

    rung: str
    node: str
    why: Why
    reason: str
    """A sentence: what was attempted, on what, why it failed."""
    help: str = ""
    acted: bool = False
    """A command was sent that may yet take effect."""

    @property
    def text(self) -> str:
        return f"{self.rung}: {self.reason}" + (f" ({self.help})" if self.help else "")


FenceAnswer = Proof | NoProof


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStep:
    """One step of a rung's self-test. The first that fails is the last."""

    __test__ = False  # no test of pytest's

    name: str
    """record, login, identity, power; a driver may have others."""
    passed: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFence:
    """What a storage driver is told in order to keep one incarnation from writing into one pool."""

    target: Target
    pool: Pool
    volumes: Sequence[Volume] = ()
    """Those that the target's claims list in this pool: who uses them now is to be looked up."""
    noted: Sequence[str] = ()
    """Client addresses that the target's claims have on record."""
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Every other node -> all its addresses, on the storage network and in claims: never to be touched."""
