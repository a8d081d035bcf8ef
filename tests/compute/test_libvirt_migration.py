"""Guests that move between two real libvirtds, and what becomes of them when one of those hangs or dies on the way.

X4: the target's libvirtd stopped while memory is copied. libvirt alone ran the guest on both nodes then; with the copy
left paused there is one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pvc_core.contracts.compute import RenderRequest
from pvc_core.ids import new_uuid
from pvc_core.model.vm import GuestState

from .libvirt_rig import LibvirtRig

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def guest(here: LibvirtRig, there: LibvirtRig) -> Iterator[RenderRequest]:
    """It ticks, and leaves slowly: there is little in its memory."""
    uuid = new_uuid()
    here.permit(uuid)
    request = here.request(f"guest-{uuid[:8]}", uuid)
    here.driver().start(request, deadline_s=20.0)
    _until(lambda: _ticks(here, uuid) > 2, "it ticks")
    yield request
    for rig in (here, there):
        rig.revoke(uuid)
        rig.driver().stop(uuid, deadline_s=20.0)


def test_it_ticks_on_where_it_arrived(here: LibvirtRig, there: LibvirtRig, guest: RenderRequest) -> None:
    _send(here, there, guest)
    _until(lambda: here.driver().observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF, "it has left")
    assert here.driver().observe(guest.uuid, deadline_s=5.0).reason in ("migrated", "")
    left = _ticks(here, guest.uuid)
    time.sleep(1.0)
    assert _ticks(there, guest.uuid) == 0, "the copy is paused"
    there.driver().resume(guest.uuid, deadline_s=5.0)
    _until(lambda: _ticks(there, guest.uuid) > 2, "it ticks there")
    assert _ticks(here, guest.uuid) == left


def test_x4_the_targets_libvirtd_hangs_while_memory_is_copied(
    here: LibvirtRig, there: LibvirtRig, guest: RenderRequest
) -> None:
    source, target = here.driver(), there.driver()
    _send(here, there, guest, slowly=True)
    stopped = there.node.libvirtd()
    os.kill(stopped, signal.SIGSTOP)
    try:
        _until(lambda: not source.migration(guest.uuid, deadline_s=5.0).running, "libvirt gives up", seconds=90)
        assert source.observe(guest.uuid, deadline_s=5.0).guest is GuestState.RUNNING
    finally:
        os.kill(stopped, signal.SIGCONT)
    before = _ticks(here, guest.uuid)
    time.sleep(5.0)
    assert _ticks(here, guest.uuid) > before and _ticks(there, guest.uuid) == 0, "one executes"
    _until(lambda: target.observe(guest.uuid, deadline_s=5.0).guest is not GuestState.UNKNOWN, "the target is seen")
    assert target.observe(guest.uuid, deadline_s=5.0).guest in (GuestState.OFF, GuestState.PAUSED)
    target.stop(guest.uuid, deadline_s=20.0)
    assert (here.executions(guest.uuid), there.executions(guest.uuid)) == (1, 0)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_libvirtd_that_dies_on_the_way(here: LibvirtRig, there: LibvirtRig, guest: RenderRequest, side: str) -> None:
    """It stays where it was, running or paused (which a write on its claim mends), and any copy is paused."""
    source, target = here.driver(), there.driver()
    _send(here, there, guest, slowly=True)
    dying = here.node if side == "source" else there.node
    dying.kill_libvirtd()
    dying.revive_libvirtd()
    _until(lambda: _knows(source, guest.uuid), "the source is seen")
    _until(lambda: _knows(target, guest.uuid), "the target is seen")
    seen = source.observe(guest.uuid, deadline_s=5.0)
    assert seen.guest in (GuestState.RUNNING, GuestState.PAUSED) and not seen.incoming
    assert target.observe(guest.uuid, deadline_s=5.0).guest in (GuestState.OFF, GuestState.PAUSED)
    target.stop(guest.uuid, deadline_s=20.0)
    source.resume(guest.uuid, deadline_s=20.0)
    before = _ticks(here, guest.uuid)
    _until(lambda: _ticks(here, guest.uuid) > before + 2, "it ticks on")


def test_an_arriving_copy_says_so(here: LibvirtRig, there: LibvirtRig, guest: RenderRequest) -> None:
    source, target = here.driver(), there.driver()
    _send(here, there, guest, slowly=True)
    seen = target.observe(guest.uuid, deadline_s=5.0)
    assert seen.guest is GuestState.PAUSED and seen.incoming
    source.abort_migration(guest.uuid, deadline_s=5.0)
    _until(lambda: not source.migration(guest.uuid, deadline_s=5.0).running, "it is called off")
    assert source.observe(guest.uuid, deadline_s=5.0).guest is GuestState.RUNNING
    _until(lambda: target.observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF, "no copy is left")


def _send(here: LibvirtRig, there: LibvirtRig, guest: RenderRequest, *, slowly: bool = False) -> None:
    """With `slowly` it is in the middle of it when this returns, and stays there for some seconds."""
    if slowly:
        assert here.node.virsh("migrate-setspeed", guest.uuid, "--bandwidth", "1").returncode == 0
    there.permit_incoming(guest.uuid)
    driver = here.driver()
    departing = driver.departing(guest, deadline_s=5.0)
    ticket = there.driver().prepare_incoming(replace(guest, definition=departing), deadline_s=10.0)
    driver.migrate(guest.uuid, ticket, max_downtime_ms=10 if slowly else 300, deadline_s=5.0)
    if slowly:
        _until(lambda: driver.migration(guest.uuid, deadline_s=5.0).done_bytes > 0, "memory is copied")


def _knows(driver: object, uuid: str) -> bool:
    from pvc_core.errors import Retry

    try:
        seen = driver.observe(uuid, deadline_s=5.0)
        under_way = driver.migration(uuid, deadline_s=5.0).running
    except Retry:
        return False
    return seen.guest is not GuestState.UNKNOWN and not seen.incoming and not under_way


def _ticks(rig: LibvirtRig, uuid: str) -> int:
    """Lines of the guest's own: the log also holds a mark of where it came from."""
    log = rig.node.root / "console" / f"{uuid}.log"
    return log.read_bytes().count(b"tick") if log.exists() else 0


def _until(is_so: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    end_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end_s, f"waited {seconds:g} s until {what}"
        time.sleep(0.05)
