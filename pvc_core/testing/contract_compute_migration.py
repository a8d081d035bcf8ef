# SPDX-License-Identifier: LGPL-3.0-or-later
"""What every compute driver with live migration is asked: part of ComputeContract. The rig needs a neighbour node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from pvc_core.contracts.compute import RenderRequest
from pvc_core.contracts.targets import File
from pvc_core.errors import NotFound, Refused
from pvc_core.ids import new_uuid
from pvc_core.model.vm import GuestState
from pvc_core.testing.compute_rig import DEADLINE_S, ComputeRig

about = pytest.mark.pvc_capability


class MigrationQuestions:
    """The guest of each test runs on the rig's node; `there` is the neighbour."""

    @pytest.fixture
    def there(self, rig: ComputeRig) -> ComputeRig:
        if not rig.definitions.capabilities.live_migration:
            pytest.skip("capability live_migration is declared false")
        there = rig.neighbour()
        if there is None:
            pytest.skip("the rig has no neighbour to move guests to")
        return there

    @pytest.fixture
    def moving(self, rig: ComputeRig, there: ComputeRig) -> Iterator[RenderRequest]:
        """A guest that runs here, and is gone from both nodes after the test."""
        uuid = new_uuid()
        rig.permit(uuid)
        request = rig.request(f"guest-{uuid[:8]}", uuid)
        rig.driver().start(request, deadline_s=DEADLINE_S)
        yield request
        for one in (rig, there):
            one.revoke(uuid)
            one.driver().stop(uuid, deadline_s=DEADLINE_S)
            assert one.executions(uuid) == 0

    @about("live_migration")
    def test_what_is_not_declared_is_refused(self, rig: ComputeRig) -> None:
        if rig.definitions.capabilities.live_migration:
            pytest.skip("capability live_migration is declared")
        request, driver = rig.request("still", new_uuid()), rig.driver()
        for call in (
            lambda: driver.departing(request, deadline_s=DEADLINE_S),
            lambda: driver.prepare_incoming(request, deadline_s=DEADLINE_S),
            lambda: driver.migrate(request.uuid, "", max_downtime_ms=300, deadline_s=DEADLINE_S),
        ):
            with pytest.raises(Refused):
                call()

    @about("live_migration")
    def test_it_arrives_paused_and_only_resume_lets_it_run(
        self, rig: ComputeRig, there: ComputeRig, moving: RenderRequest
    ) -> None:
        _send(rig, there, moving)
        _until(rig, lambda: _is_gone(rig, moving), "it has left")
        seen = there.driver().observe(moving.uuid, deadline_s=DEADLINE_S)
        assert (seen.guest, seen.incoming, seen.name) == (GuestState.PAUSED, False, moving.name)
        assert rig.driver().observe(moving.uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF
        for _again in range(2):
            there.driver().resume(moving.uuid, deadline_s=DEADLINE_S)
        assert there.driver().observe(moving.uuid, deadline_s=DEADLINE_S).guest is GuestState.RUNNING
        assert (rig.executions(moving.uuid), there.executions(moving.uuid)) == (0, 1)

    @about("live_migration")
    def test_there_and_back(self, rig: ComputeRig, there: ComputeRig, moving: RenderRequest) -> None:
        for source, target in ((rig, there), (there, rig)):
            _send(source, target, moving)
            _until(source, partial(_is_gone, source, moving), "it has left")
            target.driver().resume(moving.uuid, deadline_s=DEADLINE_S)
        assert (rig.executions(moving.uuid), there.executions(moving.uuid)) == (1, 0)

    @about("live_migration")
    def test_without_a_permit_it_stays(self, rig: ComputeRig, there: ComputeRig, moving: RenderRequest) -> None:
        driver = rig.driver()
        driver.migrate(moving.uuid, _ticket(rig, there, moving), max_downtime_ms=300, deadline_s=DEADLINE_S)
        _until(rig, lambda: not driver.migration(moving.uuid, deadline_s=DEADLINE_S).running, "it has failed")
        assert driver.migration(moving.uuid, deadline_s=DEADLINE_S).reason
        assert driver.observe(moving.uuid, deadline_s=DEADLINE_S).guest is GuestState.RUNNING
        assert there.driver().observe(moving.uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF

    @about("live_migration")
    def test_it_goes_on_without_the_daemon_that_began_it(
        self, rig: ComputeRig, there: ComputeRig, moving: RenderRequest
    ) -> None:
        _send(rig, there, moving)
        another = rig.driver()
        _until(rig, lambda: not another.migration(moving.uuid, deadline_s=DEADLINE_S).running, "it has ended")
        _until(rig, lambda: _is_gone(rig, moving), "it has left")
        assert there.driver().observe(moving.uuid, deadline_s=DEADLINE_S).guest is GuestState.PAUSED

    @about("live_migration")
    def test_one_that_is_called_off_is_in_one_place(
        self, rig: ComputeRig, there: ComputeRig, moving: RenderRequest
    ) -> None:
        driver = rig.driver()
        there.permit_incoming(moving.uuid)
        driver.migrate(moving.uuid, _ticket(rig, there, moving), max_downtime_ms=300, deadline_s=DEADLINE_S)
        for _again in range(2):
            driver.abort_migration(moving.uuid, deadline_s=DEADLINE_S)
        _until(rig, lambda: not driver.migration(moving.uuid, deadline_s=DEADLINE_S).running, "it has ended")
        here = driver.observe(moving.uuid, deadline_s=DEADLINE_S).guest
        copy = there.driver().observe(moving.uuid, deadline_s=DEADLINE_S).guest
        assert (here, copy) in (
            (GuestState.RUNNING, GuestState.OFF),
            (GuestState.RUNNING, GuestState.PAUSED),
            (GuestState.OFF, GuestState.PAUSED),
        )

    @about("live_migration")
    def test_what_is_off_cannot_leave(self, rig: ComputeRig, there: ComputeRig) -> None:
        uuid = new_uuid()
        request, driver = rig.request(f"off-{uuid[:8]}", uuid), rig.driver()
        with pytest.raises(NotFound):
            driver.departing(request, deadline_s=DEADLINE_S)
        assert not driver.migration(uuid, deadline_s=DEADLINE_S).running
        driver.abort_migration(uuid, deadline_s=DEADLINE_S)

    @about("live_migration")
    def test_a_guest_with_another_disk_than_its_definition_says_stays(
        self, rig: ComputeRig, there: ComputeRig, moving: RenderRequest
    ) -> None:
        if not moving.disks:
            pytest.skip("the rig's guest has no disk")
        changed = replace(moving, disks={dev: File(path="/nonexistent/another") for dev in moving.disks})
        with pytest.raises(Refused):
            rig.driver().departing(changed, deadline_s=DEADLINE_S)


def _send(source: ComputeRig, target: ComputeRig, request: RenderRequest) -> None:
    target.permit_incoming(request.uuid)
    ticket = _ticket(source, target, request)
    for _again in range(2):
        source.driver().migrate(request.uuid, ticket, max_downtime_ms=300, deadline_s=DEADLINE_S)


def _ticket(source: ComputeRig, target: ComputeRig, request: RenderRequest) -> str:
    text = source.driver().departing(request, deadline_s=DEADLINE_S)
    described = target.definitions.describe(text)
    assert (described.name, described.uuid) == (request.name, request.uuid)
    return target.driver().prepare_incoming(replace(request, definition=text), deadline_s=DEADLINE_S)


def _is_gone(rig: ComputeRig, request: RenderRequest) -> bool:
    driver = rig.driver()
    running = driver.migration(request.uuid, deadline_s=DEADLINE_S).running
    return not running and driver.observe(request.uuid, deadline_s=DEADLINE_S).guest is GuestState.OFF


def _until(rig: ComputeRig, is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + rig.patience_s
    while not is_so():
        assert time.monotonic() < end_s, f"waited {rig.patience_s:g} s until {what}"
        time.sleep(0.02)
