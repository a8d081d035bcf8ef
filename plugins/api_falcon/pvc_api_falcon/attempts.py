"""How often somebody may be wrong about a key. Who is right about one is auth.py's business.

Counted by address (a whole /64 of IPv6: one customer has so many), in memory: guessing at three coordinators is three
times as fast, which against 256 random bits is nothing. What this spares is the work of a hash for each guess.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable

from pvc_api_falcon.errors import TooMany

WINDOW_S = 60.0
ADDRESSES_MAX = 4096
"""The longest unseen is forgotten first."""


class Attempts:
    """In the loop's thread only."""

    def __init__(self, most: int, now_s: Callable[[], float]) -> None:
        self._most, self._now_s = most, now_s
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Address -> (when its present minute began, failures since)."""

    def check(self, address: str) -> None:
        """Raises TooMany."""
        began_s, count = self._failed.get(_whose(address), (0.0, 0))
        left_s = began_s + WINDOW_S - self._now_s()
        if count >= self._most and left_s > 0:
            raise TooMany(
                f"{count} wrong API keys came from {address} within a minute",
                again_in_s=math.ceil(left_s),
                help="keys that were right before work on; correct the wrong one and wait",
            )

    def failed(self, address: str) -> None:
        whose, now_s = _whose(address), self._now_s()
        began_s, count = self._failed.pop(whose, (now_s, 0))
        self._failed[whose] = (began_s, count + 1) if now_s - began_s < WINDOW_S else (now_s, 1)
        while len(self._failed) > ADDRESSES_MAX:
            self._failed.popitem(last=False)


def _whose(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
