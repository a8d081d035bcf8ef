"""What libvirt and its host do to us, with real parts: named after the schedules that broke careless designs.

X5: a start waits in a stopped libvirtd and happens long after its caller died. X6: libvirtd loses the file that tells
it of a running guest. A14: "gone" on libvirt's word alone. A15: a late start after the claim has gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from subprocess import PIPE

import pytest

from pvc_core.contracts.compute import GuestEvent, RenderRequest
from pvc_core.errors import NotFound, Refused, Retry
from pvc_core.ids import new_uuid
from pvc_core.model.vm import GuestState

from .libvirt_node import LibvirtNode
from .libvirt_rig import LibvirtRig

pytestmark = pytest.mark.system


@pytest.fixture
def rig(libvirt_node: LibvirtNode) -> Iterator[LibvirtRig]:
    rig = LibvirtRig(libvirt_node)
    yield rig
    rig.close()


@pytest.fixture
def guest(rig: LibvirtRig) -> Iterator[RenderRequest]:
    uuid = new_uuid()
    yield rig.request(f"guest-{uuid[:8]}", uuid)
    rig.revoke(uuid)
    rig.driver().stop(uuid, deadline_s=20.0)


# --- launch permits


def test_a_permit_that_ran_out_starts_nothing(rig: LibvirtRig, guest: RenderRequest) -> None:
    rig.permit(guest.uuid, for_s=-0.1)
    with pytest.raises(Refused, match="has run out"):
        rig.driver().start(guest, deadline_s=10.0)
    assert rig.executions(guest.uuid) == 0


def test_a_start_by_hand_needs_a_permit_too(rig: LibvirtRig, guest: RenderRequest) -> None:
    path = rig.node.root / "by-hand.xml"
    path.write_text(rig.definitions.render(replace(guest, virt_type="qemu")))
    done = rig.node.virsh("create", str(path))
    assert done.returncode != 0 and "no launch permit" in done.stderr and rig.executions(guest.uuid) == 0
    rig.permit(guest.uuid)
    assert rig.node.virsh("create", str(path)).returncode == 0 and rig.executions(guest.uuid) == 1


def test_the_permit_under_which_it_runs_is_told(rig: LibvirtRig, guest: RenderRequest) -> None:
    rig.permit(guest.uuid, generation=7)
    driver = rig.driver()
    assert driver.start(guest, deadline_s=10.0).permit_generation == 7
    assert driver.observe(guest.uuid, deadline_s=5.0).permit_generation == 7


def test_the_hook_keeps_out_of_the_operators_way(rig: LibvirtRig) -> None:
    own = rig.node.root / "etc/hooks/qemu"
    own.write_text("#!/bin/sh\nexit 0\n")
    assert not rig.permits.install_hook()
    assert own.read_text() == "#!/bin/sh\nexit 0\n"
    own.unlink()


def test_a_libvirtd_without_the_hook_starts_nothing_and_is_restarted_once(
    rig: LibvirtRig, guest: RenderRequest
) -> None:
    from pvc_compute_libvirt.libvirtd import restart_libvirtd

    rig.permit(guest.uuid)
    hook = rig.node.root / "etc/hooks/qemu.d/pvc-launch-permit"
    rig.node.kill_libvirtd()
    hook.unlink()
    rig.node.revive_libvirtd()
    assert rig.permits.install_hook()
    helpless, healing = rig.driver(), rig.driver(restart=lambda: restart_libvirtd(rig.node.uri, run=_no_programs))
    for _again in range(2):
        with pytest.raises(Retry, match="without asking"):
            helpless.start(guest, deadline_s=10.0)
        assert rig.executions(guest.uuid) == 0
    with pytest.raises(Retry, match="without asking"):
        healing.start(guest, deadline_s=10.0)
    _until(lambda: _starts(healing.start, guest), "the restarted libvirtd asks the hook")


def _no_programs(*_: object, **__: object) -> None:
    raise AssertionError("no program is needed where systemd does not run")


# --- libvirtd stopped, dead, forgetful


@pytest.mark.parametrize(("permit_s", "late_starts"), [(2.0, 0), (600.0, 1)])
def test_x5_a_start_that_waited_in_a_stopped_libvirtd(
    rig: LibvirtRig, guest: RenderRequest, permit_s: float, late_starts: int
) -> None:
    """It happens though its caller is dead, unless its permit has run out: the second case shows the first is real."""
    driver = rig.driver()
    assert driver.observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF
    xml = rig.definitions.render(replace(guest, virt_type="qemu"))
    child = subprocess.Popen([sys.executable, "-c", _CREATE, rig.node.uri, xml], stdin=PIPE, stdout=PIPE)
    assert child.stdin and child.stdout and child.stdout.readline() == b"connected\n"
    rig.permit(guest.uuid, for_s=permit_s)
    rig.node.signal_libvirtd(signal.SIGSTOP)
    child.stdin.write(b"go\n")
    child.stdin.flush()
    time.sleep(0.5)
    child.kill()  # its request stays in libvirtd's socket
    child.wait()
    assert _looks(driver.observe, guest.uuid) in (None, GuestState.UNKNOWN)
    time.sleep(max(0.0, min(permit_s, 2.0) - 0.5))
    rig.node.signal_libvirtd(signal.SIGCONT)
    time.sleep(2.0)
    assert rig.executions(guest.uuid) == late_starts
    settled = GuestState.RUNNING if late_starts else GuestState.OFF
    _until(lambda: _looks(driver.observe, guest.uuid) is settled, "it is settled")


_CREATE = """
import libvirt, sys
connection = libvirt.open(sys.argv[1])
print("connected", flush=True)
sys.stdin.readline()
connection.createXML(sys.argv[2])
"""


def test_a15_a_start_in_flight_is_unknown_until_it_is_settled(rig: LibvirtRig, guest: RenderRequest) -> None:
    """The permit still holds, so the guest does start, late: never did anybody hear that it was off."""
    rig.permit(guest.uuid)
    driver = rig.driver()
    other = rig.request("warm", new_uuid())
    rig.permit(other.uuid)
    driver.start(other, deadline_s=20.0)  # the hook is proved, so the next start goes straight to the create
    said: list[GuestState | None] = []
    blocker = threading.Timer(0.03, lambda: rig.node.signal_libvirtd(signal.SIGSTOP))
    blocker.start()
    try:
        driver.start(guest, deadline_s=1.0)
    except Retry:
        said = [_looks(driver.observe, guest.uuid) for _again in range(5)]
        with pytest.raises(Retry):
            driver.start(guest, deadline_s=1.0)
        with pytest.raises(Retry):
            driver.stop(guest.uuid, deadline_s=1.0)
    finally:
        blocker.join()
        rig.node.signal_libvirtd(signal.SIGCONT)
    assert GuestState.OFF not in said
    _until(lambda: _looks(driver.observe, guest.uuid) is GuestState.RUNNING, "the late start is seen")
    assert rig.executions(guest.uuid) == 1
    driver.stop(other.uuid, deadline_s=20.0)


def test_x6_a_guest_that_libvirt_forgot_is_never_started_twice(rig: LibvirtRig, guest: RenderRequest) -> None:
    rig.permit(guest.uuid)
    driver = rig.driver()
    driver.start(guest, deadline_s=10.0)
    rig.node.kill_libvirtd()
    for file in (rig.node.root / "run/libvirt/qemu").glob(f"{guest.name}.*"):
        file.unlink()
    rig.node.revive_libvirtd()
    assert guest.name not in rig.node.virsh("list", "--all", "--name").stdout
    fresh = rig.driver()
    _until(lambda: _looks(driver.observe, guest.uuid) is GuestState.UNKNOWN, "the connection is made anew")
    for each in (driver, fresh):
        seen = each.observe(guest.uuid, deadline_s=5.0)
        assert seen.guest is GuestState.UNKNOWN and seen.pid and "libvirt does not know it" in seen.reason
        with pytest.raises(Retry, match="libvirt does not know it"):
            each.start(guest, deadline_s=5.0)
        assert rig.executions(guest.uuid) == 1
    listed = {item.uuid: item for item in fresh.list_guests(deadline_s=5.0)}
    assert listed[guest.uuid].guest is GuestState.UNKNOWN and listed[guest.uuid].name == guest.name
    fresh.stop(guest.uuid, deadline_s=10.0)
    assert rig.executions(guest.uuid) == 0
    assert fresh.observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF


def test_a_dead_libvirtd_proves_nothing_and_comes_back(rig: LibvirtRig, guest: RenderRequest) -> None:
    rig.permit(guest.uuid)
    driver = rig.driver()
    heard: list[GuestEvent] = []
    driver.events(lambda _uuid, event: heard.append(event))
    driver.start(guest, deadline_s=10.0)
    rig.node.kill_libvirtd()
    assert _looks(driver.observe, guest.uuid) is None
    for call in (driver.list_guests, driver.stats):
        with pytest.raises(Retry):
            call(deadline_s=1.0)
    with pytest.raises(Retry):
        driver.stop(guest.uuid, deadline_s=1.0)
    assert rig.executions(guest.uuid) == 1
    rig.crash(guest.uuid)  # nobody sees it: libvirtd finds out when it is back
    rig.node.revive_libvirtd()
    _until(lambda: GuestEvent.RECONNECTED in heard, "the driver is connected again")
    _until(lambda: _looks(driver.observe, guest.uuid) is GuestState.OFF, "the end is seen")


def test_libvirtd_killed_in_the_middle_of_a_start(rig: LibvirtRig, guest: RenderRequest) -> None:
    rig.permit(guest.uuid)
    driver = rig.driver()
    driver.observe(guest.uuid, deadline_s=5.0)
    for wait_s in (0.02, 0.1, 0.2, 0.3):
        killer = threading.Timer(wait_s, rig.node.kill_libvirtd)
        killer.start()
        try:
            driver.start(guest, deadline_s=10.0)
        except Retry:
            pass
        killer.join()
        rig.node.revive_libvirtd()
        _until(lambda: _settles(rig, driver, guest), "it runs once or is off")
        assert rig.executions(guest.uuid) <= 1
        driver.stop(guest.uuid, deadline_s=20.0)
        assert rig.executions(guest.uuid) == 0


def _settles(rig: LibvirtRig, driver: object, guest: RenderRequest) -> bool:
    """What is seen agrees with what is."""
    seen = _looks(driver.observe, guest.uuid)
    if seen is GuestState.OFF:
        return rig.executions(guest.uuid) == 0
    return seen in (GuestState.RUNNING, GuestState.UNKNOWN) and rig.executions(guest.uuid) == 1


def test_a_frozen_guest_still_stops(rig: LibvirtRig, guest: RenderRequest) -> None:
    """pvcguard freezes guests with SIGSTOP; condemned, they must die all the same."""
    rig.permit(guest.uuid)
    driver = rig.driver()
    driver.start(guest, deadline_s=10.0)
    os.kill(rig.node.qemus(guest.uuid)[0], signal.SIGSTOP)
    _until(lambda: _stops(driver.stop, guest.uuid), "it is off")
    assert rig.executions(guest.uuid) == 0


def test_one_hanging_guest_holds_up_no_other(rig: LibvirtRig, guest: RenderRequest) -> None:
    """Its monitor does not answer; calls about it are late, those about others are not."""
    rig.permit(guest.uuid)
    driver = rig.driver()
    driver.start(guest, deadline_s=10.0)
    pid = rig.node.qemus(guest.uuid)[0]
    os.kill(pid, signal.SIGSTOP)
    disk = rig.spare_disk()
    try:
        with pytest.raises(Retry):
            driver.attach_disk(guest.uuid, disk.device, disk.source, deadline_s=1.0)
        assert driver.observe(guest.uuid, deadline_s=5.0).guest is GuestState.UNKNOWN
        for _other in range(8):
            assert driver.observe(new_uuid(), deadline_s=2.0).guest is GuestState.OFF
    finally:
        os.kill(pid, signal.SIGCONT)
    _until(lambda: _looks(driver.observe, guest.uuid) is GuestState.RUNNING, "it is seen again")


# --- the console


def test_what_is_typed_reaches_the_guest(rig: LibvirtRig, guest: RenderRequest) -> None:
    rig.permit(guest.uuid)
    driver = rig.driver()
    driver.start(guest, deadline_s=10.0)
    _until(lambda: "tick" in driver.console_log(guest.uuid, 5), "it ticks")
    driver.write_console(guest.uuid, b"Z")  # the guest echoes it
    _until(lambda: "Z" in driver.console_log(guest.uuid, 50), "the echo is logged")
    before = driver.console_log(guest.uuid, 10_000).count("tick")
    time.sleep(1.5)
    assert driver.console_log(guest.uuid, 10_000).count("tick") > before, "an open console holds up the guest"
    driver.stop(guest.uuid, deadline_s=10.0)
    _until(lambda: _raises_not_found(driver.write_console, guest.uuid), "there is no console any more")


# --- helpers


def _looks(observe: Callable[..., object], uuid: str) -> GuestState | None:
    try:
        return observe(uuid, deadline_s=1.0).guest
    except Retry:
        return None


def _starts(start: Callable[..., object], guest: RenderRequest) -> bool:
    try:
        start(guest, deadline_s=10.0)
    except Retry:
        return False
    return True


def _stops(stop: Callable[..., None], uuid: str) -> bool:
    try:
        stop(uuid, deadline_s=20.0)
    except Retry:
        return False
    return True


def _raises_not_found(write: Callable[[str, bytes], None], uuid: str) -> bool:
    try:
        write(uuid, b"x")
    except NotFound:
        return True
    except Retry:
        return False
    return False


def _until(is_so: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    end_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end_s, f"waited {seconds:g} s until {what}"
        time.sleep(0.05)
