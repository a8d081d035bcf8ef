"""Which floating addresses this node holds and until when it may: two files, for the guard, which drops them in time
even while pvcnoded is stopped (design rules 7 and 8; guard/floating.py).

An address stands in the first from before it is given until after it was taken back; with many networks it is long and
changes rarely. The second is the end of the lease, which changes every second. Reading and writing only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pvc_core.schema.typed import from_json

NAME, UNTIL = "floating.json", "floating-until.json"


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
    """The end first: it holds for the addresses that stood there before, too. Raises OSError."""
    write_until(run, held.until_boottime_s)
    _write(run / NAME, msgspec.json.encode(Held(None, held.addresses)))


def write_until(run: Path, until_s: float | None) -> None:
    """The addresses stay as they stand there. Raises OSError."""
    _write(run / UNTIL, msgspec.json.encode(until_s))


def read_held(run: Path) -> Held:
    """What stands there; nothing when there is no file. Raises OSError, ValueError (one holds something else)."""
    listed: Held = _read(f"{run}/{NAME}", Held, Held())
    beside_s = listed.until_boottime_s
    until_s: float | None = _read(f"{run}/{UNTIL}", float | None, beside_s)
    if until_s is not None and beside_s is not None:  # by a pvcnoded older than this guard, or before it was replaced
        until_s = max(until_s, beside_s)
    return Held(until_s, listed.addresses)


def _write(path: Path, data: bytes) -> None:
    """At once or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)


def _read(path: str, kind: Any, absent: Any) -> Any:
    """A plain name: the guard asks four times a second, and mostly there is nothing."""
    try:
        with open(path, "rb") as file:
            return from_json(file.read(), kind)
    except FileNotFoundError:
        return absent
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
