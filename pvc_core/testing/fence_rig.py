# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a fence driver's author gives the conformance suite (contract_fence.py): two machines that it may switch off."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pvc_core.contracts.fence import FenceDefinitions, FenceDriver
from pvc_core.model.fence import Target


class FenceRig(ABC):
    """Two nodes of one cluster, hv1 (who fences) and hv2 (who is fenced). Both are on at the beginning of each test,
    neither has published anything. Where a fault cannot be made the method answers False, and its question is left out.
    """

    name: str
    """The plugin's name, as it must stand in proofs."""
    definitions: FenceDefinitions
    deadline_s = 10.0
    """What a call is given."""
    silence_s = 10.0
    """What a call is given that meets a dead machine: it lasts so long."""
    grace_s = 2.0
    """How much later than its deadline a call may come back: this machine is slow, too."""

    @abstractmethod
    def driver(self, node: str) -> FenceDriver:
        """A fresh driver on `node`, as after a restart of the daemon."""

    @abstractmethod
    def target(self, node: str, *, incarnation: str = "boot-1", uuid: str | None = None) -> Target:
        """As the core names it; `uuid` where it is not the machine's own."""

    @abstractmethod
    def on(self, node: str) -> bool:
        """Whether the machine really is on, not asked through the driver."""

    @abstractmethod
    def acts(self) -> list[tuple[str, str]]:
        """(machine, "off" or "on") of every command that reached a machine's switch, also of those not obeyed."""

    @abstractmethod
    def stored(self) -> str:
        """Everything that the drivers have put on record, as text."""

    secrets: tuple[str, ...] = ()
    """What must stand in no record, no answer and no error."""

    def kill(self, node: str) -> bool:
        """Its controller never answers again."""
        return False

    def disobey(self, node: str) -> bool:
        """Its controller says done and does nothing."""
        return False

    def swap(self, node: str, other: str) -> bool:
        """Where `node` has put its controller on record, that of `other` answers."""
        return False

    def lock_out(self, node: str) -> bool:
        """Its controller does not let us in any more."""
        return False
