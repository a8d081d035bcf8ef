# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sizes and lengths of time: "10G" and "2h" exist only at the edge; inside, numbers carry their unit in their name."""

from __future__ import annotations

import re

from pvc_core.errors import Invalid

KIB = 1024
MIB = 1024**2
GIB = 1024**3
TIB = 1024**4

_LETTERS = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB, "P": 1024**5, "E": 1024**6}
_SIZE = re.compile(r"(\d{1,20})\s*([BKMGTPE]?)(?:I?B)?", re.IGNORECASE | re.ASCII)


def parse_size_bytes(text: str) -> int:
    """Bytes from "512", "10G", "10GiB", "20 M" (binary multiples); raises Invalid."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise Invalid(f"{text!r} is not a size", help="give a whole number and a unit, like 512M, 10G or 2T")
    return int(match[1]) * _LETTERS[match[2].upper()]


def format_size(size_bytes: int) -> str:
    """The shortest exact form with a binary unit letter: 20G, 1536M, 1000B."""
    for letter in ("E", "P", "T", "G", "M", "K"):
        if size_bytes and size_bytes % _LETTERS[letter] == 0:
            return f"{size_bytes // _LETTERS[letter]}{letter}"
    return f"{size_bytes}B"


_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?", re.IGNORECASE | re.ASCII)


def parse_duration_s(text: str) -> float:
    """Seconds from "90", "30m", "2h", "1d12h", "1h 30m"; raises Invalid."""
    match = _DURATION.fullmatch("".join(text.split()))
    if not match or not any(match.groups()):
        raise Invalid(f"{text!r} is not a length of time", help="give a number and a unit, like 90s, 30m, 2h or 1d12h")
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return float(days * 86_400 + hours * 3600 + minutes * 60 + seconds)


def format_duration(seconds: float) -> str:
    """The two largest units, for people: "2 h 5 min", "1 d 3 h", "40 s"."""
    left = max(0, round(seconds))
    parts = []
    for word, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {word}")
    return " ".join(parts[:2]) or "0 s"
