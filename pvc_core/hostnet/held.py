"""Which floating addresses this node holds and until when it may: a file, for the guard, which drops them in time even
while pvcnoded is stopped (design rules 7 and 8; guard/floating.py).

An address stands in it from before it is given until after it was taken back. Reading and writing only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

NAME = "floating.json"


@dataclass(frozen=True, slots=True)
class HeldAddress:
    device: str
    address: str
    """With its prefix length: "10.0.0.250/32"."""


@dataclass(frozen=True, slots=True)
class Held:
    until_boottime_s: float | None = None
    """On this node's CLOCK_BOOTTIME; None: no end, for the only coordinator of a cluster."""
    addresses: tuple[HeldAddress, ...] = ()

    def overdue(self, now_s: float) -> bool:
        return bool(self.addresses) and self.until_boottime_s is not None and now_s >= self.until_boottime_s


def write_held(run: Path, held: Held) -> None:
    """At once or not at all. Raises OSError."""
    new = run / f".{NAME}.new"
    new.write_bytes(msgspec.json.encode(held))
    os.replace(new, run / NAME)


def read_held(run: Path) -> Held:
    """What stands there; nothing when there is no file. Raises OSError, ValueError (it holds something else)."""
    try:
        data = (run / NAME).read_bytes()
    except FileNotFoundError:
        return Held()
    try:
        return msgspec.json.decode(data, type=Held)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{run / NAME} cannot be read: {error}") from error
