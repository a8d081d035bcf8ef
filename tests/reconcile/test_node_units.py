"""What a plugin's unit is found as, and what is done about it: started, never stopped or restarted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pvc_core.errors import Permanent
from pvc_core.reconcile.units import UnitsReconciler


@dataclass
class Systemd:
    state: str
    refuses: str = ""
    started: list[str] = field(default_factory=list)

    def start(self, unit: str) -> None:
        if self.refuses:
            raise Permanent(self.refuses)
        self.started.append(unit)
        self.state = "active"


def made(systemd: Systemd) -> UnitsReconciler:
    return UnitsReconciler({"d.service": ["compute_x", "net_y"]}, lambda unit: systemd.state, systemd.start)


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating"])
def test_one_that_runs_is_left_alone(state: str) -> None:
    systemd = Systemd(state)
    assert made(systemd).step("d.service").sentence == f"d.service is {state}"
    assert systemd.started == []


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_one_that_does_not_is_started_once(state: str) -> None:
    systemd = Systemd(state)
    units = made(systemd)
    assert units.step("d.service").sentence == f"d.service was {state}; it is started"
    units.step("d.service")
    assert systemd.started == ["d.service"]
    assert units.health() == []


def test_what_cannot_be_started_is_told_until_it_runs() -> None:
    systemd = Systemd("failed", refuses="its file is wrong")
    units = made(systemd)
    why = "d.service, which plugin compute_x, net_y needs, cannot be started: its file is wrong"
    assert units.step("d.service").sentence == why
    assert [seen.message for seen in units.health()] == [why]
    systemd.refuses = ""
    units.step("d.service")
    assert units.health() == []


def test_what_is_not_installed_is_named_with_who_needs_it() -> None:
    units = made(Systemd("not-found"))
    assert "d.service is not installed, and plugin compute_x, net_y needs it" in units.step("d.service").sentence
