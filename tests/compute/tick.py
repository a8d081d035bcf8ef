"""The smallest guest: a boot sector that says "tick" on the serial port four times a second and echoes what is typed.

It runs within half a second of emulation and shows that a CPU executes, not only that a process exists. Source of the
bytes (16-bit, at 7C00h): print the message byte by byte to 3F8h; then five times: hlt, and if 3FDh says that a byte is
there, read it from 3F8h and write it back; then again.
"""

from __future__ import annotations

from pathlib import Path

from pvc_core.units import MIB

LINE = "tick"
_CODE = "31c08ed8ea097c0000bc007cfbbe307cac84c07406baf803eeebf5b90500f4bafd03eca8017405baf803eceee2f0ebdd7469636b0d0a00"


def write_image(path: Path) -> None:
    """1 MiB: the firmware's virtio driver does not boot a disk of one sector."""
    path.write_bytes(bytes.fromhex(_CODE).ljust(510, b"\0") + b"\x55\xaa")
    with path.open("r+b") as file:
        file.truncate(MIB)
