# SPDX-License-Identifier: LGPL-3.0-or-later
"""The part of the compute conformance suite about a running guest's devices and console; see contract_compute.py."""

from __future__ import annotations

import time

import pytest

from pvc_core.contracts.compute import ComputeDriver, RenderRequest
from pvc_core.errors import NotFound, Refused
from pvc_core.ids import new_uuid
from pvc_core.testing.compute_rig import DEADLINE_S, ComputeRig, SpareDisk, SpareNic

about = pytest.mark.pvc_capability


class DeviceQuestions:
    """Mixed into ComputeContract."""

    @about("hotplug_disks")
    def test_a_disk_comes_and_goes(self, rig: ComputeRig, guest: RenderRequest) -> None:
        disk = _spare_disk(rig)
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        if not rig.definitions.capabilities.hotplug_disks:
            with pytest.raises(Refused):
                driver.attach_disk(guest.uuid, disk.device, disk.source, deadline_s=DEADLINE_S)
            return
        for _again in range(3):
            driver.attach_disk(guest.uuid, disk.device, disk.source, deadline_s=DEADLINE_S)
        assert disk.dev in _disks(driver, guest)
        for _again in range(3):
            driver.detach_disk(guest.uuid, disk.dev, deadline_s=DEADLINE_S)
        assert disk.dev not in _disks(driver, guest)
        driver.attach_disk(guest.uuid, disk.device, disk.source, deadline_s=DEADLINE_S)
        assert disk.dev in _disks(driver, guest)

    @about("hotplug_nics")
    def test_a_nic_comes_and_goes(self, rig: ComputeRig, guest: RenderRequest) -> None:
        nic = _spare_nic(rig)
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        if not rig.definitions.capabilities.hotplug_nics:
            with pytest.raises(Refused):
                driver.attach_nic(guest.uuid, nic.device, nic.target, deadline_s=DEADLINE_S)
            return
        for _again in range(3):
            driver.attach_nic(guest.uuid, nic.device, nic.target, deadline_s=DEADLINE_S)
        assert nic.mac in _nics(driver, guest)
        for _again in range(3):
            driver.detach_nic(guest.uuid, nic.mac, deadline_s=DEADLINE_S)
        assert nic.mac not in _nics(driver, guest)

    @about("core")
    def test_a_guest_that_is_off_takes_no_devices(self, rig: ComputeRig, driver: ComputeDriver) -> None:
        disk = _spare_disk(rig)
        with pytest.raises((NotFound, Refused)):
            driver.attach_disk(new_uuid(), disk.device, disk.source, deadline_s=DEADLINE_S)

    @about("online_resize")
    def test_a_disk_in_use_grows_and_never_shrinks(self, rig: ComputeRig, guest: RenderRequest) -> None:
        disk = _spare_disk(rig)
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        if not rig.definitions.capabilities.online_resize:
            with pytest.raises(Refused):
                driver.resize_disk(guest.uuid, disk.dev, disk.size_bytes * 2, deadline_s=DEADLINE_S)
            return
        driver.attach_disk(guest.uuid, disk.device, disk.source, deadline_s=DEADLINE_S)
        for _again in range(3):
            driver.resize_disk(guest.uuid, disk.dev, disk.size_bytes * 2, deadline_s=DEADLINE_S)
        with pytest.raises(Refused):
            driver.resize_disk(guest.uuid, disk.dev, disk.size_bytes, deadline_s=DEADLINE_S)
        with pytest.raises(NotFound):
            driver.resize_disk(guest.uuid, "nosuch", disk.size_bytes, deadline_s=DEADLINE_S)

    @about("console")
    def test_a_guest_that_never_ran_has_no_console(self, driver: ComputeDriver) -> None:
        uuid = new_uuid()
        assert driver.console_log(uuid, 10) == ""
        with pytest.raises((NotFound, Refused)):
            driver.write_console(uuid, b"x")

    @about("console")
    def test_the_console_is_logged_and_followed(self, rig: ComputeRig, guest: RenderRequest) -> None:
        if not rig.definitions.capabilities.console or not rig.console_line:
            pytest.skip("the rig's guest says nothing on a console")
        driver = rig.driver()
        driver.start(guest, deadline_s=DEADLINE_S)
        heard = b""
        end_s = time.monotonic() + rig.patience_s
        for piece in driver.follow_console(guest.uuid, 5):
            heard += piece
            if heard.count(rig.console_line.encode()) >= 3 or time.monotonic() > end_s:
                break
        assert heard.count(rig.console_line.encode()) >= 3
        lines = driver.console_log(guest.uuid, 2).splitlines()
        assert len(lines) == 2 and rig.console_line in lines[0]
        assert driver.console_log(guest.uuid, 0) == ""

    @about("vnc")
    def test_a_screen_speaks_rfb_to_each_who_opens_it(self, rig: ComputeRig, guest: RenderRequest) -> None:
        driver = rig.driver()
        with pytest.raises((NotFound, Refused)):
            driver.open_screen(new_uuid(), deadline_s=DEADLINE_S)
        if not rig.definitions.capabilities.vnc or not rig.screen:
            pytest.skip("the rig's guest has no VNC server")
        driver.start(guest, deadline_s=DEADLINE_S)
        for _again in range(2):
            with driver.open_screen(guest.uuid, deadline_s=DEADLINE_S) as connection:
                connection.settimeout(DEADLINE_S)
                assert connection.recv(4) == b"RFB "


def _spare_disk(rig: ComputeRig) -> SpareDisk:
    disk = rig.spare_disk()
    if disk is None:
        pytest.skip("the rig gives no disk to plug in")
    return disk


def _spare_nic(rig: ComputeRig) -> SpareNic:
    nic = rig.spare_nic()
    if nic is None:
        pytest.skip("the rig gives no NIC to plug in")
    return nic


def _disks(driver: ComputeDriver, guest: RenderRequest) -> set[str]:
    return {dev for item in driver.stats(deadline_s=DEADLINE_S) if item.uuid == guest.uuid for dev in item.disks}


def _nics(driver: ComputeDriver, guest: RenderRequest) -> set[str]:
    return {mac for item in driver.stats(deadline_s=DEADLINE_S) if item.uuid == guest.uuid for mac in item.nics}
