"""The demo guest by itself, in bare QEMU without libvirt or PVC: it boots from its disk, logs in, has an address, and
obeys the power button.
"""

from __future__ import annotations

import hashlib
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.guest_image import guest_image
from lab.state import CACHE

pytestmark = pytest.mark.system
BOOT_S = 90
DISKS = {
    "virtio": ["-device", "virtio-blk-pci,drive=disk"],
    "scsi": ["-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk"],
}


class Guest:
    """A guest's serial console and its QEMU."""

    def __init__(self, flavour: str, bus: str, work: Path) -> None:
        image = guest_image(CACHE, flavour)
        self._monitor = work / "qmp"
        self._qemu = subprocess.Popen(
            [
                *(
                    "qemu-system-x86_64",
                    "-accel",
                    "tcg",
                    "-machine",
                    "q35",
                    "-m",
                    "160",
                    "-nodefaults",
                    "-display",
                    "none",
                ),
                *("-drive", f"if=none,id=disk,file={image},format=raw,snapshot=on", *DISKS[bus]),
                *("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net"),
                *("-serial", "stdio", "-qmp", f"unix:{self._monitor},server,nowait"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.seen = ""
        self._selector = selectors.DefaultSelector()
        assert self._qemu.stdout is not None
        self._selector.register(self._qemu.stdout, selectors.EVENT_READ)

    def until(self, text: str, deadline_s: float = BOOT_S) -> str:
        """Read the console until `text` stands there, and return all of it since the last until()."""
        end = time.monotonic() + deadline_s
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen[-2000:]!r}"
            if self._selector.select(timeout=1):
                assert self._qemu.stdout is not None
                data = os.read(self._qemu.stdout.fileno(), 65536)
                assert data, f"QEMU ended: {self.seen[-2000:]!r}"
                self.seen += data.decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, line: str) -> None:
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(line.encode() + b"\n")
        self._qemu.stdin.flush()

    def press_power(self) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._monitor))
            monitor.sendall(b'{"execute": "qmp_capabilities"}\n{"execute": "system_powerdown"}\n')
            assert any("POWERDOWN" in line for line in monitor.makefile())  # QEMU drops what is unread when we hang up

    def ended(self) -> int:
        return self._qemu.wait(30)

    def close(self) -> None:
        self._qemu.kill()
        self._qemu.communicate()


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[object]:
    guests: list[Guest] = []

    def _boot(flavour: str, bus: str) -> Guest:
        guests.append(Guest(flavour, bus, tmp_path))
        return guests[-1]

    yield _boot
    for guest in guests:
        guest.close()


@pytest.mark.parametrize("bus", sorted(DISKS))
def test_it_boots_to_a_login_and_answers(boot, bus: str) -> None:
    started = time.monotonic()
    guest = boot("demo", bus)
    banner = guest.until("login: ")
    print(f"login on {bus} after {time.monotonic() - started:.1f} s")
    assert "tick" not in banner
    guest.type("root")
    guest.until("Password: ")
    guest.type("pvc")
    guest.until("# ")
    guest.type("echo $((6*7)) is what; ls /sys/block")
    guest.until("42 is what")
    assert "vda" in guest.until("# ") or bus == "scsi"
    guest.type("until ip -o addr show dev eth0 | grep -q 10.0.2.; do sleep 1; done; echo has $((1+0)) address")
    guest.until("has 1 address", 30)
    guest.press_power()
    assert guest.ended() == 0


def test_the_other_flavour_counts_seconds(boot) -> None:
    guest = boot("tick", "virtio")
    guest.until("tick 1\r\n")
    started = time.monotonic()
    guest.until("tick 4\r\n", 30)
    assert 1.5 < time.monotonic() - started < 90


def test_the_image_is_small_and_the_same_every_time(tmp_path: Path) -> None:
    first, again = guest_image(CACHE), guest_image(tmp_path)
    assert first.stat().st_size <= 40 << 20
    assert hashlib.sha256(first.read_bytes()).hexdigest() == hashlib.sha256(again.read_bytes()).hexdigest()
