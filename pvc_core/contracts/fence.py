# SPDX-License-Identifier: LGPL-3.0-or-later
"""The fence driver: silences a lost node and proves it, or says why not.

It decides nothing: who is condemned, that only one destructive act is under way in the cluster at a time, what a proof
is good for and who starts where is the core's business. Storage drivers fence by StorageDriver.fence_node.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pvc_core.contracts.where import on_node, once
from pvc_core.errors import Refused
from pvc_core.model.fence import FenceAnswer, Power, ProofKind, Target, TestStep

Allowed = Callable[[], None]
"""Asked right before each destructive act; raises Refused when it must not happen any more."""


def always() -> None:
    """An Allowed that never objects: for a person, who has looked for himself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceCapabilities:
    """Data, proved in both directions by the conformance suite."""

    proofs: tuple[ProofKind, ...] = (ProofKind.OFF,)
    """The kinds that `fence` may return."""
    power_on: bool = False
    """It can switch the machine on again."""
    deadline_s: float = 10.0
    """So long one `fence` should be given. All rungs run at once, so a patient one delays no other."""


class FenceDefinitions(ABC):
    """The pure half."""

    capabilities: FenceCapabilities


class FenceDriver(ABC):
    """Every call may come from any worker thread, also several at once (a look at the power while it is fenced).

    Each returns within `deadline_s` seconds, also when the other side is silent or hangs. @once calls are made on one
    coordinator, for a target that usually cannot be asked any more: what they need of it was published by the target
    itself while it lived. They must work while the store is silent, from what was last read of it.
    """

    @abstractmethod
    @on_node
    def publish(self, *, deadline_s: float) -> str:
        """Put on record, in PluginContext.state, what the other nodes need in order to fence this one.

        Called when the store is there, and again at an interval. On record already and equal: writes nothing. Nothing
        to offer on this node: takes an earlier record back. A password is sealed (PluginContext.seal), never plain.
        Returns a sentence. Raises Retry, Refused, Permanent.
        """

    @abstractmethod
    @once
    def fence(self, target: Target, *, allowed: Allowed = always, deadline_s: float) -> FenceAnswer:
        """Silence `target` and prove it.

        Before any destructive act: who answers is compared with target.uuid (another machine, or an unknown UUID:
        NoProof, and nothing is done), and then `allowed()` is asked; what it raises ends the call with NoProof. After
        the act the world is read until it is as a proof needs it, or the deadline comes: "done" while power reads on
        proves nothing. So already: Proof, and nothing is done. Twice: the same answer. Returns NoProof rather than
        raise; what it raises all the same (Retry, Refused, Permanent) counts as NoProof.
        """

    @abstractmethod
    @once
    def status(self, target: Target, *, deadline_s: float) -> Power:
        """The target's power, of the machine that has its UUID. Raises Retry (no answer), Refused (another machine,
        unknown), Permanent (not let in). Changes nothing.
        """

    @abstractmethod
    @once
    def self_test(self, target: Target, *, deadline_s: float) -> tuple[TestStep, ...]:
        """Everything `fence` does but the act, step by step, for a person. Ends with the first step that fails; raises
        nothing of its own.
        """

    @once
    def power_on(self, target: Target, *, deadline_s: float) -> bool:
        """The machine is switched on (capability power_on); on already: fine. False, and nothing is done, where its
        settings say that it shall stay off. Raises Retry, Refused, Permanent.
        """
        raise Refused(f"node {target.node} cannot be switched on: this driver has no such capability")

    @abstractmethod
    @once
    def forget(self, node: str, *, deadline_s: float) -> None:
        """`node` was removed from the cluster: what it had published is gone. Gone already: fine."""
