# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a profile of intervals sets where pvc.yaml does not: for the daemons' schema and for the guard's own reader."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

INTERVAL_PROFILES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"default": {}, "fast": {"heartbeat_s": 0.5, "suspicion_s": 3.0, "promise_s": 1.5, "self_fence_s": 5.0}}
)
"""Seconds. `fast` leaves a healthy node half the patience: bench/failover.py."""
