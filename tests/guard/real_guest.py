"""Real QEMU processes (TCG) with a UUID, as libvirt starts them: a guest of 512 bytes that counts without end.

Whether one executes is read off the processor time the kernel gives it, never off what anybody says of it.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

_SPIN = b"\xeb\xfe"  # jmp $: the shortest guest there is


class RealGuest:
    def __init__(self, directory: Path, uuid: str, *more: str) -> None:
        disk = directory / f"{uuid}.img"
        disk.write_bytes(_SPIN.ljust(510, b"\0") + b"\x55\xaa")
        machine = "qemu-system-x86_64 -accel tcg -m 16 -nodefaults -display none -vga none"
        self.uuid = uuid
        self.process = subprocess.Popen(
            [*machine.split(), "-name", f"guest=t-{uuid[:4]}", "-uuid", uuid, *more,
             "-drive", f"file={disk},format=raw,if=ide"],
            stdin=subprocess.DEVNULL,
            stderr=(directory / f"{uuid}.log").open("wb"),
        )  # fmt: skip
        self.pid = self.process.pid

    def cpu_s(self) -> float:
        """Processor time it was given so far; 0.0 when it is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def executes(self, wait_s: float = 10.0) -> bool:
        """Whether it gets anywhere within `wait_s`."""
        before, until_s = self.cpu_s(), time.monotonic() + wait_s
        while time.monotonic() < until_s:
            if self.cpu_s() > before + 0.05:
                return True
            time.sleep(0.05)
        return False

    def stands_still(self) -> bool:
        """Not a tick in a time in which it would have got most of a processor."""
        before = self.cpu_s()
        time.sleep(0.6)
        return self.alive() and self.cpu_s() == before

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
