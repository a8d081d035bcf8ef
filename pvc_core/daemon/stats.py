"""Counters of guests and network interfaces, one record per node and interval; statistics are told, never decided
on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pvc_core.cluster import layout
from pvc_core.errors import NotFound
from pvc_core.model.node import NodeStats
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

INTERVAL_S, CALL_S = 5.0, 4.0
LINKS = Path("/sys/class/net")
COUNTERS = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")


@dataclass(slots=True)
class StatsReconciler:
    """Writes without reading the store: its record has no other writer."""

    ground: Ground
    kind: str = "stats"
    net: Path = LINKS
    _last: dict[str, dict[str, int]] = field(default_factory=dict)
    _last_at_s: float = 0.0
    _there: bool = False

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        guests = self.ground.calls(
            "stats", "reading statistics", CALL_S, lambda: self.ground.compute.stats(deadline_s=CALL_S)
        )
        record = NodeStats(
            node=key,
            at_s=self.ground.clock.wall_s(),
            guests={guest.uuid: asdict(guest) for guest in guests},
            interfaces=self._interfaces(),
        )
        try:
            if not self._there:
                raise NotFound("not written by this daemon yet")
            self.ground.repository.set(layout.STATS, key, record, if_version=None)
        except NotFound:
            self.ground.repository.save(layout.STATS, key, record, self.ground.repository.find(layout.STATS, key))
        self._there = True
        return Outcome("", INTERVAL_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Nothing to show."""

    def _interfaces(self) -> dict[str, dict[str, object]]:
        now, since = self.ground.clock.boottime_s(), self._last_at_s
        links = self.net.iterdir() if self.net.is_dir() else ()
        counters = {path.name: _counters(path) for path in links if not path.name.startswith(("lo", "vnet", "tap"))}
        rates = {
            name: _rates(values, self._last.get(name), now - since) | _link(self.net / name)
            for name, values in counters.items()
        }
        self._last, self._last_at_s = counters, now
        return rates


def _counters(path: Path) -> dict[str, int]:
    return {name: _number(path / "statistics" / name) for name in COUNTERS}


def _rates(now: dict[str, int], last: dict[str, int] | None, over_s: float) -> dict[str, object]:
    """Bits and packets per second since the last look; zeros at the first."""

    def rate(name: str, factor: int) -> int:
        return 0 if last is None or over_s <= 0 else max(0, int((now[name] - last[name]) * factor / over_s))

    rx_bps, tx_bps, rx_pps, tx_pps = (
        rate("rx_bytes", 8),
        rate("tx_bytes", 8),
        rate("rx_packets", 1),
        rate("tx_packets", 1),
    )
    return {
        "rx_bps": rx_bps,
        "rx_pps": rx_pps,
        "tx_bps": tx_bps,
        "tx_pps": tx_pps,
        "total_bps": rx_bps + tx_bps,
        "total_pps": rx_pps + tx_pps,
    }


def _link(path: Path) -> dict[str, object]:
    try:
        state = (path / "operstate").read_text().strip()
    except OSError:
        state = "down"
    return {
        "link_speed": max(0, _number(path / "speed")) * 1_000_000,
        "state": "up" if state in ("up", "unknown") else "down",
    }


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
