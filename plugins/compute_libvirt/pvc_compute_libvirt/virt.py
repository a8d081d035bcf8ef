"""How guests run here: under KVM, or emulated. `auto` finds out by running a guest: /dev/kvm may open and then hang.

The probe boots firmware and a boot sector that says so through QEMU's isa-debug-exit device; a machine whose KVM runs
only the first instructions (seen under nested virtualisation) fails it like one without. The answer holds until the
next boot.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Permanent, Retry

_PROBE_S = 3.0
_SAID_SO = 0x2A
# 16-bit code at 7C00h: mov dx,501h; mov al,2Ah; out dx,al; hlt; jmp $-1. A boot sector ends with 55 AA.
_SECTOR = bytes([0xBA, 0x01, 0x05, 0xB0, _SAID_SO, 0xEE, 0xF4, 0xEB, 0xFD]).ljust(510, b"\0") + b"\x55\xaa"

Run = Callable[..., Completed]
"""PluginContext.run."""


def find_virt_type(wanted: str, *, run: Run, cache: Path) -> tuple[str, str]:
    """("kvm" or "qemu", why). `wanted` is auto, kvm or qemu. Takes up to three seconds once per boot."""
    if wanted != "auto":
        return wanted, "set in pvc.yaml"
    if platform.machine() != "x86_64":
        raise Permanent(
            f"whether KVM works on {platform.machine()} cannot be tried out",
            help="set plugins.compute_libvirt.virt_type",
        )
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = _read(cache)
    if known.get("boot_id") == boot_id and known.get("virt_type") in ("kvm", "qemu"):
        return known["virt_type"], known.get("why", "")
    virt_type, why = _probe(run)
    _write(cache, {"boot_id": boot_id, "virt_type": virt_type, "why": why})
    return virt_type, why


def _probe(run: Run) -> tuple[str, str]:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "qemu", "there is no usable /dev/kvm"
    with tempfile.NamedTemporaryFile(prefix="pvc-kvm-", suffix=".img") as image:
        image.write(_SECTOR)
        image.flush()
        try:
            done = run(_command(image.name), deadline_s=_PROBE_S)
        except Retry:
            return "qemu", f"/dev/kvm opens, but a guest ran nowhere in {_PROBE_S:.0f} seconds"
    # isa-debug-exit ends QEMU with (value << 1) | 1.
    if done.returncode == (_SAID_SO << 1 | 1) & 0xFF:
        return "kvm", "a guest ran under it"
    words = done.stderr.strip().splitlines()
    return "qemu", f"a guest under /dev/kvm failed: {words[-1] if words else f'exit code {done.returncode}'}"


def _command(image: str) -> Sequence[str]:
    machine = ["-machine", "pc,accel=kvm", "-cpu", "host", "-m", "16", "-nodefaults", "-no-user-config"]
    display = ["-display", "none"]
    disk = ["-drive", f"file={image},format=raw,if=ide,read-only=off,snapshot=on"]
    return [
        "qemu-system-x86_64",
        *machine,
        *disk,
        "-device",
        "isa-debug-exit,iobase=0x501,iosize=2",
        "-no-reboot",
        *display,
    ]


def _read(cache: Path) -> dict[str, str]:
    try:
        found = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(cache: Path, answer: dict[str, str]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    new = cache.with_name(cache.name + ".new")
    new.write_text(json.dumps(answer))
    new.replace(cache)
