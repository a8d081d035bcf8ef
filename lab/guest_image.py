"""Builds the demo guest: a small disk image with Debian's cloud kernel and busybox, that boots by itself to a login.

Nothing is installed for it: the two Debian packages are downloaded with apt-get and unpacked. The result is cached and
made anew when a file in lab/guest/ or a package's version changes. Flavours: `demo` is quiet, `tick` counts seconds
on its console, `pulse` counts every 5 ms (what a guest's downtime is measured with), `hungry` is a `tick` that writes
memory faster than a slow network carries it, `blocks` one that writes numbered, checksummed blocks onto its second
disk and tells what it sees of a third, `cloud` one that runs its user data.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lab import LabError
from lab.cpio import CpioWriter

KERNEL_META = "linux-image-cloud-amd64"
FLAVOURS = {
    "demo": "", "tick": "tick", "pulse": "tick=0.005", "hungry": "tick hungry", "blocks": "tick blocks",
    "cloud": "cloud",
}  # fmt: skip
IMAGE_MIB = 24
MODULES = (
    # what the guest needs to see its disks, NICs, memory balloon and power button, also when they are hot-plugged
    *("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "virtio_net"),
    *("virtio_balloon", "virtio-rng", "button", "evdev"),
)
FILES = {  # file in lab/guest/ -> path in the guest, mode
    "init": ("init", 0o755),
    "inittab": ("etc/inittab", 0o644),
    "start": ("etc/start", 0o755),
    "addresses": ("etc/addresses", 0o755),
    "udhcpc": ("etc/udhcpc", 0o755),
    "power": ("etc/acpi/PWRF/00000080", 0o755),
    "issue": ("etc/issue", 0o644),
    "profile": ("etc/profile", 0o644),
    "ticker": ("usr/bin/ticker", 0o755),
    "hungry": ("usr/bin/hungry", 0o755),
    "blocks": ("usr/bin/blocks", 0o755),
    "cloud": ("usr/bin/cloud", 0o755),
    "disks": ("usr/bin/disks", 0o755),
}
# The password is public: it stands in the banner. crypt(3) of "pvc" with MD5, the cheapest busybox knows: login is
# quick under TCG.
PASSWD = "root:$1$pvcdemo$/b6DRDZ5793NHq74ehi9F.:0:0:root:/root:/bin/sh\n"
# mtools stamps its files with this time, so that the same input gives the same image
ENVIRONMENT = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "LC_ALL": "C.UTF-8"}
SOURCES = Path(__file__).parent / "guest"


def guest_image(cache: Path, flavour: str = "demo") -> Path:
    """Return the path of the image of `flavour`, building it first (a few seconds) where the cache has none that
    fits.
    """
    version = kernel_package()
    target = cache / f"guest-{_fingerprint(version)}"
    if not (target / "done").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as work:
            _build(Path(work), version)
            shutil.rmtree(target, ignore_errors=True)
            Path(work).rename(target)
            Path(work).mkdir()  # for the context manager to remove
        for old in cache.glob("guest-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
    return target / f"{flavour}.img"


def kernel_package() -> str:
    """Return the name of the real package behind Debian's cloud kernel, like linux-image-6.1.0-56-cloud-amd64."""
    answer = _run("apt-cache", "depends", KERNEL_META)
    found = re.search(r"Depends: (linux-image-\S+)", answer)
    if not found:
        raise LabError(f"apt knows no {KERNEL_META}: run apt-get update, and use Debian 12 on amd64")
    return found[1]


def _fingerprint(kernel: str) -> str:
    digest = hashlib.sha256(kernel.encode() + PASSWD.encode() + Path(__file__).read_bytes())
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _build(work: Path, kernel: str) -> None:
    packages = work / "packages"
    packages.mkdir()
    _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", kernel, "busybox-static", cwd=packages)
    for package in packages.glob("*.deb"):
        _run("dpkg-deb", "-x", str(package), str(work / "root"))
    release = kernel.removeprefix("linux-image-")
    (work / "initrd").write_bytes(_initramfs(work / "root", release))
    (work / "root/boot" / f"vmlinuz-{release}").rename(work / "vmlinuz")
    for flavour, extra in FLAVOURS.items():
        _disk(work, flavour, extra)
    shutil.rmtree(work / "root")
    shutil.rmtree(packages)
    for name in ("initrd", "vmlinuz", "syslinux.cfg"):
        (work / name).unlink()
    (work / "done").touch()


def _initramfs(root: Path, release: str) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as zipped:
        archive = CpioWriter(zipped)
        archive.file("bin/busybox", (root / "bin/busybox").read_bytes(), 0o755)
        archive.file("bin/sh", b"busybox", 0o777, link=True)
        for name, (path, mode) in FILES.items():
            archive.file(path, (SOURCES / name).read_bytes(), mode)
        archive.file("etc/passwd", PASSWD.encode(), 0o644)
        archive.file("etc/group", b"root:x:0:\n", 0o644)
        order = list(_in_load_order(root / "lib/modules" / release, MODULES))
        for module in order:
            archive.file(f"modules/{module.name}", module.read_bytes(), 0o644)
        archive.file("modules/order", "".join(f"{m.name}\n" for m in order).encode(), 0o644)
        archive.close()
    return out.getvalue()


def _in_load_order(tree: Path, wanted: Iterable[str]) -> Iterable[Path]:
    """Yield the module files of `wanted` and of all they depend on, each after its dependencies.

    The dependencies are read from the modules themselves (field `depends=` of .modinfo): depmod need not be there.
    """
    files = {path.name.removesuffix(".ko").replace("-", "_"): path for path in tree.rglob("*.ko")}
    done: set[str] = set()

    def visit(name: str) -> Iterable[Path]:
        name = name.replace("-", "_")
        if name in done:
            return
        done.add(name)
        if name not in files:
            raise LabError(f"the kernel package has no module {name}; the list in lab/guest_image.py no longer fits it")
        found = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for dependency in (found[1].decode() if found else "").split(","):
            if dependency:
                yield from visit(dependency)
        yield files[name]

    for name in wanted:
        yield from visit(name)


def _disk(work: Path, flavour: str, extra: str) -> None:
    """Write a disk that a BIOS boots: one FAT file system without partition table, with syslinux in its boot sector."""
    image = work / f"{flavour}.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_MIB << 20)
    (work / "syslinux.cfg").write_text((SOURCES / "syslinux.cfg").read_text().replace("@EXTRA@", extra))
    # heads and sectors are what SeaBIOS reports for a disk of this size; -N makes the image the same every time
    _run(
        "mformat",
        "-i",
        str(image),
        "-h",
        "16",
        "-s",
        "63",
        "-N",
        "50564300",
        "-T",
        str(IMAGE_MIB << 11),
        "-H",
        "0",
        "::",
    )
    _run("syslinux", "--install", str(image))
    for name in ("syslinux.cfg", "vmlinuz", "initrd"):
        _run("mcopy", "-i", str(image), str(work / name), f"::{name}")


def _run(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed; run script/setup") from None
    if done.returncode:
        raise LabError(
            f"building the guest image: {' '.join(argv)} failed: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


if __name__ == "__main__":
    print(guest_image(Path(sys.argv[1])))
