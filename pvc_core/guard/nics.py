"""Rates of this node's own network interfaces, from the kernel's counters. Those of guests are not among them."""

from __future__ import annotations

from pathlib import Path

LINKS = Path("/sys/class/net")
COUNTERS = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
_GUESTS = ("lo", "vnet", "tap")


class Nics:
    """Rates are over the time since the last look, so one thread asks, once an interval."""

    def __init__(self, links: Path = LINKS) -> None:
        self._links = links
        self._last: dict[str, dict[str, int]] = {}
        self._last_at_s = 0.0

    def rates(self, now_s: float) -> dict[str, dict[str, object]]:
        """By device: rx_bps, tx_bps, rx_pps, tx_pps, total_bps, total_pps, link_speed (bit/s), state. Raises nothing:
        a device that went meanwhile is left out.
        """
        counters = {path.name: _counters(path) for path in self._devices()}
        rates = {
            name: _rates(values, self._last.get(name), now_s - self._last_at_s) | _link(self._links / name)
            for name, values in counters.items()
        }
        self._last, self._last_at_s = counters, now_s
        return rates

    def _devices(self) -> list[Path]:
        try:
            return [path for path in self._links.iterdir() if not path.name.startswith(_GUESTS)]
        except OSError:
            return []


def _counters(path: Path) -> dict[str, int]:
    return {name: _number(path / "statistics" / name) for name in COUNTERS}


def _rates(now: dict[str, int], last: dict[str, int] | None, over_s: float) -> dict[str, object]:
    """Bits and packets per second since the last look; zeros at the first."""

    def rate(name: str, factor: int) -> int:
        return 0 if last is None or over_s <= 0 else max(0, int((now[name] - last[name]) * factor / over_s))

    rx_bps, tx_bps = rate("rx_bytes", 8), rate("tx_bytes", 8)
    rx_pps, tx_pps = rate("rx_packets", 1), rate("tx_packets", 1)
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
