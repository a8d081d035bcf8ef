# SPDX-License-Identifier: LGPL-3.0-or-later
"""The intervals of pvc.yaml: what each may be, what a profile sets, and what they must be together.

Knows no marshmallow, because the guard reads its own part of the file and keeps what it loads in memory. The
inequalities come from the arithmetic of docs/high-availability.md: a healthy node must never be condemned, and a silent
one must have stopped its guests before they start elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

INTERVALS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "heartbeat_s": (0.2, 60, 1.0),
        "suspicion_s": (1, 600, 5.0),
        "self_fence_s": (1, 600, 8.0),
        "promise_s": (0.5, 600, 3.0),
        "sick_s": (5, 3600, 30.0),
        "boot_grace_s": (0, 3600, 300.0),
    }
)
"""Seconds: the least, the most, the default."""

INTERVAL_PROFILES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"default": {}, "fast": {"heartbeat_s": 0.5, "suspicion_s": 3.0, "promise_s": 1.5, "self_fence_s": 5.0}}
)
"""Seconds, where pvc.yaml names none. `fast` leaves a healthy node half the patience: bench/failover.py."""

GAP_S = 4.0
"""Longest silence of a healthy node when any one coordinator dies: measured 3 to 5 s, 4 with a connect limit of 1 s."""
STORAGE_PROOF_S = 10.0
"""Earliest start elsewhere on storage proof, from the last heartbeat seen."""
FREEZE_S = 1.0
MARGIN_S = 0.5
CLOCK_RATE_ERROR = 0.001


@dataclass(frozen=True, slots=True)
class Unfit:
    """An inequality that does not hold, told at `key`."""

    key: str
    found: str
    allowed: str


def unfit(given: Mapping[str, Any]) -> Iterator[Unfit]:
    """Every inequality that the intervals break; none while one of them is missing (that is a fault of its own)."""
    if not {"heartbeat_s", "suspicion_s", "self_fence_s", "promise_s", "sick_s"} <= given.keys():
        return
    yield from _promises(given)
    heartbeat, suspicion, limit = given["heartbeat_s"], given["suspicion_s"], given["self_fence_s"]
    if suspicion < 4 * heartbeat:
        yield _too_short(given, "suspicion_s", "at least 4 x heartbeat_s", 4 * heartbeat, "or a few late beats condemn")
    if limit < GAP_S + 2 * heartbeat:
        why = "or the death of one coordinator freezes guests everywhere"
        yield _too_short(given, "self_fence_s", f"at least {GAP_S:g} s + 2 x heartbeat_s", GAP_S + 2 * heartbeat, why)
    longest = (STORAGE_PROOF_S - FREEZE_S - MARGIN_S) / (1 + CLOCK_RATE_ERROR)
    if limit > longest:
        rule = f"self_fence_s x 1.001 + {FREEZE_S:g} s + {MARGIN_S:g} s must be at most {STORAGE_PROOF_S:g} s"
        why = "so that a guest has stopped here before it starts elsewhere"
        yield Unfit("self_fence_s", f"{limit:g}", f"{rule}, {why}: at most {longest:.2f}")


def _promises(given: Mapping[str, Any]) -> Iterator[Unfit]:
    heartbeat, suspicion, limit, promise = (
        given[key] for key in ("heartbeat_s", "suspicion_s", "self_fence_s", "promise_s")
    )
    if promise < 2 * heartbeat:
        why = "or one lost question freezes guests while the store is away for all"
        yield _too_short(given, "promise_s", "at least 2 x heartbeat_s", 2 * heartbeat, why)
    longest = (limit - heartbeat) / (1 + CLOCK_RATE_ERROR)
    if promise > longest:
        rule = f"promise_s x {1 + CLOCK_RATE_ERROR:g} must be at most self_fence_s - heartbeat_s"
        why = "or a verdict waits for promises longer than for anything else"
        found = f"{_shown(given, 'promise_s')} with {_shown(given, 'self_fence_s')}"
        most = f": at most {longest:.2f}" if longest > 0 else ""
        yield Unfit("promise_s", found, f"{rule}, {why}{most}")
    if given["sick_s"] < 2 * suspicion:
        least, why = 2 * suspicion, "or a guard that restarts is taken for one that cannot reach the store"
        yield _too_short(given, "sick_s", "at least 2 x suspicion_s", least, why, than="suspicion_s")


def _too_short(
    given: Mapping[str, Any], key: str, rule: str, least: float, why: str, *, than: str = "heartbeat_s"
) -> Unfit:
    found = f"{_shown(given, key)} with {_shown(given, than)}"
    return Unfit(key, found, f"{key} must be {rule} = {least:g}, {why}")


def _shown(given: Mapping[str, Any], key: str) -> str:
    profile = given.get("profile", "default")
    if given[key] == INTERVAL_PROFILES[profile].get(key):
        return f"{key} {given[key]:g} (of profile {profile})"
    return f"{key} {given[key]:g}" + (" (its default)" if given[key] == INTERVALS[key][2] else "")
