# SPDX-License-Identifier: LGPL-3.0-or-later
"""Warnings of the whole cluster, as they are kept and shown. What is one is decided by policy/faults.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Kept as long as what it tells is so. Times are wall times, for people.

    `weight`: how many of 100 points of health it costs the cluster until somebody acknowledges it (`acked_s` above 0).
    """

    id: str
    weight: int
    message: str
    first_s: float = 0.0
    last_s: float = 0.0
    """When it was last seen, right to a few minutes."""
    acked_s: float = 0.0

    @property
    def counts(self) -> int:
        return 0 if self.acked_s else self.weight
