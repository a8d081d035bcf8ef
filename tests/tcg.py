"""An emulated machine over a copy-on-write view of this machine's root (virtiofs): for hardware that is not here, like
NICs with functions. Unlike User Mode Linux it has PCI. Nothing in it reaches this machine's files.

`place` is what tests/net_sriov/fetch made: QEMU, its firmware, a kernel and its modules.
"""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.cpio import CpioWriter
from tests.uml import Ended

VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
BUSYBOX = Path("/bin/busybox")
FIRST = """#!/bin/sh
b=/bin/busybox
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
for m in $($b cat /m/order); do $b insmod /m/$m; done
$b mount -t virtiofs -o ro root /ro || $b poweroff -f
$b mount -t tmpfs t /rw; $b mkdir -p /rw/u /rw/w
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w o /new || $b poweroff -f
for d in proc sys dev; do $b mount --move /$d /new/$d; done
$b mount -t tmpfs t /new/run; $b mkdir -p /new/run/netns
$b cp /go /new/run/go
exec $b switch_root /new /bin/bash /run/go
"""
GO = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
ip link set lo up
bash -c "$(tr ' ' '\\n' </proc/cmdline | sed -n 's/^pvc.command=//p' | base64 -d)" </dev/null
echo "tcg-rc=$?"
/bin/busybox poweroff -f
/bin/busybox sleep 60
"""


def run(command: str, place: Path, devices: Sequence[str], *, within_s: float, memory_mb: int = 768) -> Ended:
    """`command` in a machine with these devices (QEMU's words). Raises TimeoutError with what it said so far."""
    version = (place / "done").read_text().strip()
    root, processes = place / "root", []
    with tempfile.TemporaryDirectory(prefix="pvc-tcg-") as folder:
        _initrd(Path(folder, "initrd"), root / "lib" / "modules" / version)
        socket = Path(folder, "fs")
        words = ["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot", "-o", "log_level=err"]
        share = [str(VIRTIOFSD), f"--socket-path={socket}", *words, "--rlimit-nofile=0"]
        try:
            processes.append(subprocess.Popen(share, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            _await(socket)
            encoded = base64.b64encode(command.encode()).decode()
            qemu = [
                str(root / "usr/bin/qemu-system-x86_64"), "-L", str(root / "usr/share/qemu"), "-L",
                str(root / "usr/share/seabios"), "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
                "-smp", "2", "-m", str(memory_mb), "-kernel", str(root / "boot" / f"vmlinuz-{version}"), "-initrd",
                str(Path(folder, "initrd")), "-append",
                f"console=ttyS0 loglevel=3 panic=-1 random.trust_cpu=1 mitigations=off pvc.command={encoded}",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-object",
                f"memory-backend-memfd,id=mem,size={memory_mb}M,share=on", "-numa", "node,memdev=mem", "-chardev",
                f"socket,id=c,path={socket}", "-device", "vhost-user-fs-pci,chardev=c,tag=root", *devices,
            ]  # fmt: skip
            machine = subprocess.Popen(
                qemu, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace",
            )  # fmt: skip
            processes.append(machine)
            said = _said(machine, within_s)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    code = re.search(r"^tcg-rc=(\d+)", said, re.MULTILINE)
    return Ended(int(code[1]) if code else 125, said)


def _said(machine: subprocess.Popen[str], within_s: float) -> str:
    try:
        return machine.communicate(timeout=within_s)[0]
    except subprocess.TimeoutExpired:
        machine.kill()
        said = machine.communicate()[0]
        raise TimeoutError(f"the machine was not ready after {within_s} s: {said}") from None


def _await(socket: Path) -> None:
    until_s = time.monotonic() + 30.0
    while not socket.exists():
        if time.monotonic() > until_s:
            raise TimeoutError("virtiofsd did not come up")
        time.sleep(0.02)


def _initrd(path: Path, modules: Path) -> None:
    order = _in_order(modules, ("virtio_pci", "virtiofs", "overlay"))
    with path.open("wb") as out:
        archive = CpioWriter(out)
        for name in ("dev", "proc", "sys", "ro", "rw", "new"):
            archive.file(f"{name}/.here", b"", 0o644)
        archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
        archive.file("bin/sh", b"busybox", 0o777, link=True)
        archive.file("init", FIRST.encode(), 0o755)
        archive.file("go", GO.encode(), 0o755)
        archive.file("m/order", "\n".join(Path(one).name for one in order).encode() + b"\n", 0o644)
        for one in order:
            archive.file(f"m/{Path(one).name}", (modules / one).read_bytes(), 0o644)
        archive.close()


def _in_order(modules: Path, wanted: Sequence[str]) -> list[str]:
    """Those modules and what they need, what is needed first."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    known = {Path(one).name.partition(".ko")[0].replace("-", "_"): one for one in needs}
    found: list[str] = []

    def add(one: str) -> None:
        for other in needs[one]:
            add(other)
        if one not in found:
            found.append(one)

    for name in wanted:
        if name in known:  # else it is built in
            add(known[name])
    return found
