# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a compute driver's author gives the conformance suite (contract_compute.py): the node its driver works on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pvc_core.contracts.compute import ComputeDefinitions, ComputeDriver, RenderRequest
from pvc_core.contracts.targets import DiskSource, NicTarget

DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class SpareDisk:
    """A disk to plug into a running guest: the user's text, its target, and where its bytes are."""

    device: str
    dev: str
    source: DiskSource
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SpareNic:
    device: str
    mac: str
    target: NicTarget


class ComputeRig(ABC):
    """One node. What stands here without a body must be given, the rest may be. Guests of earlier tests are gone."""

    definitions: ComputeDefinitions
    console_line = ""
    """What the rig's guest says on its serial console again and again; "" if it says nothing."""
    screen = False
    """Whether the rig's guest has a VNC server."""
    patience_s = 10.0
    """How long the suite waits for what takes a moment (an event, a line on the console)."""

    @abstractmethod
    def driver(self) -> ComputeDriver:
        """A fresh driver, as after a restart of the daemon; the node is as the one before left it."""

    @abstractmethod
    def definition(self, name: str, uuid: str, *, volume: str = "", network: str = "") -> str:
        """A guest that runs until it is stopped; with a disk on `volume` and a NIC on `network` if they are named."""

    @abstractmethod
    def request(self, name: str, uuid: str) -> RenderRequest:
        """Such a guest, ready to start on this node."""

    @abstractmethod
    def broken_request(self, name: str, uuid: str) -> RenderRequest:
        """A well-formed definition that this hypervisor can never start."""

    @abstractmethod
    def permit(self, uuid: str) -> None:
        """Give the guest a launch permit, as pvcguard does, for the rest of the test."""

    @abstractmethod
    def revoke(self, uuid: str) -> None:
        """Take the permit back; there may be none."""

    @abstractmethod
    def executions(self, uuid: str) -> int:
        """How often the guest executes on this node, found out without the driver: 0, 1, or a catastrophe."""

    @abstractmethod
    def crash(self, uuid: str) -> None:
        """End the guest behind the hypervisor's back."""

    def restart_hypervisor(self) -> bool:
        """Kill the hypervisor's daemon and start it again, guests running on; False if there is no such thing."""
        return False

    def silence_hypervisor(self) -> Callable[[], None] | None:
        """Let the hypervisor's daemon hang; returns what ends that. None if the rig cannot."""
        return None

    def interrupt(self, call: str, request: RenderRequest, moment: float) -> None:
        """Begin `call` ("start" or "stop") on a driver of its own and kill its daemon in the course of it; `moment` is

        when, from 0 to 1. As it stands the call is made and its answer lost.
        """
        driver = self.driver()
        if call == "start":
            driver.start(request, deadline_s=DEADLINE_S)
        else:
            driver.stop(request.uuid, deadline_s=DEADLINE_S)

    def neighbour(self) -> ComputeRig | None:
        """Another node, to which guests can move live; None if the rig has none."""
        return None

    def permit_incoming(self, uuid: str) -> None:
        """Give the guest a permit to arrive here."""
        self.permit(uuid)

    def spare_disk(self) -> SpareDisk | None:
        return None

    def spare_nic(self) -> SpareNic | None:
        return None
