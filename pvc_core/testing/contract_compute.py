# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions every compute driver is asked. Subclass ComputeContract in a test file and give it a fixture `rig`:

    class TestMine(ComputeContract):
        @pytest.fixture
        def rig(self, tmp_path):
            return MyRig(tmp_path)

Each test says which capability it is about; pytest_plugin.py sums them up at the end. What a driver declares must work,
what it does not declare must be Refused. contract_compute_text.py asks about definitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from pvc_core.contracts.compute import ComputeCapabilities, ComputeDriver, GuestEvent, RenderRequest
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_core.ids import new_uuid
from pvc_core.model.vm import GuestState
from pvc_core.testing.compute_rig import DEADLINE_S, ComputeRig
from pvc_core.testing.contract_compute_devices import DeviceQuestions
from pvc_core.testing.contract_compute_migration import MigrationQuestions
from pvc_core.testing.contract_compute_text import TextQuestions

about = pytest.mark.pvc_capability


class ComputeContract(TextQuestions, DeviceQuestions, MigrationQuestions):
    """Everything the contract promises, as a driver's caller sees it."""

    @pytest.fixture
    def rig(self) -> ComputeRig:
        raise NotImplementedError("give your class a fixture called rig that returns a ComputeRig")

    @pytest.fixture
    def driver(self, rig: ComputeRig) -> ComputeDriver:
        return rig.driver()

    @pytest.fixture
    def guest(self, rig: ComputeRig) -> Iterator[RenderRequest]:
        """A guest that may start, and is gone after the test."""
        uuid = new_uuid()
        rig.permit(uuid)
        yield rig.request(f"guest-{uuid[:8]}", uuid)
        rig.revoke(uuid)
        rig.driver().stop(uuid, deadline_s=DEADLINE_S)
        assert rig.executions(uuid) == 0

    # --- capabilities

    @about("core")
    def test_capabilities_are_well_formed(self, rig: ComputeRig) -> None:
        can = rig.definitions.capabilities
        assert isinstance(can, ComputeCapabilities) and can.disk_sources and can.nic_targets

    @about("core")
    def test_facts_are_words(self, driver: ComputeDriver) -> None:
        facts = driver.host_facts()
        assert facts and all(isinstance(key, str) and isinstance(value, str) for key, value in facts)

    # --- starting

    @about("core")
    def test_a_guest_nobody_started_is_off(self, driver: ComputeDriver) -> None:
        assert driver.observe(new_uuid(), deadline_s=DEADLINE_S).guest is GuestState.OFF

    @about("core")
    def test_a_started_guest_executes_once(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        for _again in range(10):
            seen = driver.start(guest, deadline_s=DEADLINE_S)
            assert (seen.uuid, seen.name, seen.guest) == (guest.uuid, guest.name, GuestState.RUNNING)
            assert rig.executions(guest.uuid) == 1
        assert rig.driver().observe(guest.uuid, deadline_s=DEADLINE_S).guest is GuestState.RUNNING

    @about("core")
    def test_without_a_permit_nothing_starts(self, rig: ComputeRig, guest: RenderRequest) -> None:
        rig.revoke(guest.uuid)
        driver = rig.driver()
        for _again in range(3):
            with pytest.raises(Refused):
                driver.start(guest, deadline_s=DEADLINE_S)
            assert rig.executions(guest.uuid) == 0
        assert driver.observe(guest.uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF
        rig.permit(guest.uuid)
        assert driver.start(guest, deadline_s=DEADLINE_S).guest is GuestState.RUNNING

    @about("core")
    def test_a_definition_that_cannot_run_fails_for_good(self, rig: ComputeRig) -> None:
        uuid = new_uuid()
        rig.permit(uuid)
        driver = rig.driver()
        with pytest.raises(Permanent) as failure:
            driver.start(rig.broken_request("broken", uuid), deadline_s=DEADLINE_S)
        assert failure.value.message
        assert driver.observe(uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF and rig.executions(uuid) == 0

    @about("core")
    def test_a_paused_start_waits_for_resume(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        for _again in range(2):
            assert driver.start(guest, paused=True, deadline_s=DEADLINE_S).guest is GuestState.PAUSED
        for _again in range(3):
            driver.resume(guest.uuid, deadline_s=DEADLINE_S)
            assert driver.observe(guest.uuid, deadline_s=DEADLINE_S).guest is GuestState.RUNNING

    @about("core")
    def test_starting_a_paused_guest_lets_it_run(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        driver.start(guest, paused=True, deadline_s=DEADLINE_S)
        assert driver.start(guest, deadline_s=DEADLINE_S).guest is GuestState.RUNNING
        assert rig.executions(guest.uuid) == 1

    @about("core")
    def test_a_guest_that_is_off_cannot_resume(self, driver: ComputeDriver) -> None:
        with pytest.raises(NotFound):
            driver.resume(new_uuid(), deadline_s=DEADLINE_S)

    # --- ending

    @about("core")
    def test_a_stopped_guest_is_off(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        for _again in range(5):
            driver.stop(guest.uuid, deadline_s=DEADLINE_S)
            assert rig.executions(guest.uuid) == 0
            assert driver.observe(guest.uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF
        assert driver.start(guest, deadline_s=DEADLINE_S).guest is GuestState.RUNNING

    @about("core")
    def test_stopping_and_asking_what_is_off_touches_nothing(self, driver: ComputeDriver) -> None:
        uuid = new_uuid()
        driver.stop(uuid, deadline_s=DEADLINE_S)
        driver.request_shutdown(uuid, deadline_s=DEADLINE_S)

    @about("core")
    def test_a_crashed_guest_is_seen_off_and_starts_again(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        rig.crash(guest.uuid)
        _until(rig, lambda: driver.observe(guest.uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF, "it is seen off")
        assert driver.start(guest, deadline_s=DEADLINE_S).guest is GuestState.RUNNING
        assert rig.executions(guest.uuid) == 1

    # --- seeing

    @about("core")
    def test_every_guest_is_listed_and_none_that_is_off(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        assert guest.uuid not in {seen.uuid for seen in driver.list_guests(deadline_s=DEADLINE_S)}
        driver.start(guest, deadline_s=DEADLINE_S)
        listed = {seen.uuid: seen for seen in rig.driver().list_guests(deadline_s=DEADLINE_S)}
        assert listed[guest.uuid].guest is GuestState.RUNNING and listed[guest.uuid].name == guest.name

    @about("core")
    def test_running_guests_have_counters(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        found = {item.uuid: item for item in driver.stats(deadline_s=DEADLINE_S)}
        assert found[guest.uuid].cpu_time_ns > 0

    @about("core")
    def test_what_happens_is_reported(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        heard: list[GuestEvent] = []
        driver.events(lambda uuid, event: heard.append(event) if uuid == guest.uuid else None)
        driver.start(guest, deadline_s=DEADLINE_S)
        _until(rig, lambda: GuestEvent.STARTED in heard, "the start is reported")
        driver.stop(guest.uuid, deadline_s=DEADLINE_S)
        _until(rig, lambda: GuestEvent.STOPPED in heard, "the end is reported")

    # --- when things fail

    @about("core")
    def test_a_restarted_hypervisor_disturbs_no_guest(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        heard: list[GuestEvent] = []
        driver.events(lambda _uuid, event: heard.append(event))
        driver.start(guest, deadline_s=DEADLINE_S)
        if not rig.restart_hypervisor():
            pytest.skip("the rig's hypervisor has no daemon that could be restarted")
        _until(rig, lambda: GuestEvent.RECONNECTED in heard, "the driver found it again")
        assert driver.observe(guest.uuid, deadline_s=DEADLINE_S).guest is GuestState.RUNNING
        assert rig.executions(guest.uuid) == 1

    @about("core")
    def test_a_silent_hypervisor_proves_nothing(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        go_on = rig.silence_hypervisor()
        if go_on is None:
            pytest.skip("the rig cannot silence its hypervisor")
        try:
            for uuid in (guest.uuid, new_uuid()):
                begun_s = time.monotonic()
                assert _guess(driver, uuid) in (None, GuestState.UNKNOWN)
                assert time.monotonic() - begun_s < 3.0, "the deadline was one second"
            with pytest.raises(Retry):
                driver.list_guests(deadline_s=1.0)
        finally:
            go_on()
        _until(rig, lambda: _guess(driver, guest.uuid) is GuestState.RUNNING, "the guest is seen again")

    @about("core")
    @pytest.mark.parametrize("moment", [0.0, 0.2, 0.5, 0.8, 1.0])
    def test_a_killed_start_is_carried_on(self, rig: ComputeRig, guest: RenderRequest, moment: float) -> None:
        rig.interrupt("start", guest, moment)
        driver = rig.driver()
        _until(rig, lambda: _started(driver, guest), "it runs")
        assert rig.executions(guest.uuid) == 1

    @about("core")
    @pytest.mark.parametrize("moment", [0.0, 0.2, 0.5, 0.8, 1.0])
    def test_a_killed_stop_is_carried_on(self, rig: ComputeRig, guest: RenderRequest, moment: float) -> None:
        rig.driver().start(guest, deadline_s=DEADLINE_S)
        rig.interrupt("stop", guest, moment)
        rig.driver().stop(guest.uuid, deadline_s=DEADLINE_S)
        assert rig.executions(guest.uuid) == 0


def _started(driver: ComputeDriver, guest: RenderRequest) -> bool:
    """Starts it as a reconciler would: again after each Retry."""
    try:
        return driver.start(guest, deadline_s=DEADLINE_S).guest is GuestState.RUNNING
    except Retry:
        return False


def _guess(driver: ComputeDriver, uuid: str) -> GuestState | None:
    try:
        return driver.observe(uuid, deadline_s=1.0).guest
    except Retry:
        return None


def _until(rig: ComputeRig, is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + rig.patience_s
    while not is_so():
        assert time.monotonic() < end_s, f"waited {rig.patience_s:g} s until {what}"
        time.sleep(0.02)
