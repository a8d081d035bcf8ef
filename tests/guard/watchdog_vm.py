"""A throw-away virtual machine (TCG) with QEMU's i6300esb; its root is this machine's own, read-only under a RAM disk.

For the watchdog alone: nothing else here can be reset. Debian's ordinary kernel is fetched once and kept; the cloud
kernel of the lab's guests has no such driver.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.cpio import CpioWriter

REPOSITORY = Path(__file__).parents[2]
META = "linux-image-amd64"
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "i6300esb")
INIT = """#!/bin/busybox sh
b=/bin/busybox
for d in proc sys dev ro rw new; do $b mkdir -p /$d; done
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
while read m; do $b insmod /m/$m || echo "cannot load $m"; done </m/order
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose root /ro
$b mount -t tmpfs t /rw; $b mkdir -p /rw/u /rw/w
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w o /new
for d in proc sys dev; do $b mount --move /$d /new/$d; done
$b mount -t tmpfs t /new/run
exec $b switch_root /new /bin/sh /run-me
"""


def start(work: Path, script: str) -> subprocess.Popen[bytes]:
    """Boot; `script` is run as its first process, by sh, its output is what the process here writes.

    A reset of the machine ends the process.
    """
    kernel, modules = _kernel()
    initrd = work / "initrd"
    initrd.write_bytes(_initramfs(modules, script))
    return subprocess.Popen(
        [
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "512"),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *("-kernel", str(kernel), "-initrd", str(initrd)),
            *("-append", "console=ttyS0 loglevel=3 panic=-1 mitigations=off random.trust_cpu=1"),
            *("-fsdev", "local,id=f,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=f,mount_tag=root", "-device", "i6300esb", "-serial", "stdio"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _kernel() -> tuple[Path, Path]:
    """(kernel, directory of the modules), fetched with apt-get when they are not there yet."""
    answer = subprocess.run(["apt-cache", "depends", META], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", answer)
    assert found, f"apt knows no {META}"
    release = found[1].removeprefix("linux-image-")
    target = REPOSITORY / ".cache" / f"watchdog-{release}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            work = Path(name)
            fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", found[1], "busybox-static"]
            subprocess.run(fetch, cwd=work, check=True, stdout=subprocess.DEVNULL)
            for package in work.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), str(work / "root")], check=True)
            _keep(work / "root", release, work / "kept")
            (work / "kept").rename(target)
    return target / "vmlinuz", target


def _keep(root: Path, release: str, kept: Path) -> None:
    """Only what is needed of it, in the order in which it is loaded."""
    kept.mkdir()
    (root / "boot" / f"vmlinuz-{release}").rename(kept / "vmlinuz")
    busybox = next(path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists())
    busybox.rename(kept / "busybox")
    there = {path.stem.replace("-", "_"): path for path in (root / "lib/modules").rglob("*.ko")}
    order: list[str] = []
    for name in MODULES:
        _add(name, there, order)
    for name in order:
        shutil.copy(there[name], kept / f"{name}.ko")
    (kept / "order").write_text("".join(f"{name}.ko\n" for name in order))


def _add(name: str, there: dict[str, Path], order: list[str]) -> None:
    """After what it depends on, which it says itself; one that is not there is built in."""
    if name not in there or name in order:
        return
    needs = re.search(rb"\0?depends=([^\0]*)\0", there[name].read_bytes())
    for other in (needs[1].decode() if needs else "").split(","):
        _add(other.replace("-", "_"), there, order)
    order.append(name)


def _initramfs(modules: Path, script: str) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as zipped:
        archive = CpioWriter(zipped)
        archive.file("bin/busybox", (modules / "busybox").read_bytes(), 0o755)
        run = INIT.replace("exec $b switch_root", "$b cp /script /new/run-me\nexec $b switch_root")
        archive.file("init", run.encode(), 0o755)
        archive.file("script", script.encode(), 0o755)
        for path in (*modules.glob("*.ko"), modules / "order"):
            archive.file(f"m/{path.name}", path.read_bytes(), 0o644)
        archive.close()
    return out.getvalue()
