"""A guest that checks its own memory: it adds one to a word in each of 64 pages, over and over, and says "!" where a
word is not what it wrote the round before, and "." every 262144 rounds.

It never empties its CPU's table of pages, so it is the one whose writes an emulating QEMU loses soonest. Source of the
bytes (16-bit, at 7C00h): cli; DI = 0; write DI to offset 0 of the segments 1000h to 4F00h, 100h apart; then for each of
them: cmp with DI, say "!" (3F8h) if it differs, inc; DI + 1, ESI + 1, say "." if its lowest 18 bits are 0; again.
"""

from __future__ import annotations

from pathlib import Path

from pvc_core.units import MIB

LIVES, LOST = b".", b"!"
_CODE = (
    "fa31ffb800108ec026893e00000500013d005075f16631f6b800108ec026393e00007405b321e8200026ff0600000500013d005075e547"
    "664666f7c6ffff030075d6b32ee80200ebcf5088d8baf803ee58c3"
)


def write_image(path: Path) -> None:
    """1 MiB: the firmware's virtio driver does not boot a disk of one sector."""
    path.write_bytes(bytes.fromhex(_CODE).ljust(510, b"\0") + b"\x55\xaa")
    with path.open("r+b") as file:
        file.truncate(MIB)
