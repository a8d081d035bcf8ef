"""The questions of `pvc cluster check` and `pvc node why` as a node answers them over the peer channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pvc_core.clock import Clock
from pvc_core.config import Config
from pvc_core.daemon.checks import here, probe, quorum
from pvc_core.errors import PvcError
from pvc_core.guard.client import Guard
from pvc_core.hostnet.network import bridge_name
from pvc_core.loader import Hooks
from pvc_core.model.check import CheckLine
from pvc_core.model.view import ClusterView
from pvc_core.peer import Answer, Handler
from pvc_core.store.base import Store

PROBES_AT_ONCE = 12
LINKS = Path("/sys/class/net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    config: Config
    view: Callable[[], ClusterView]
    store: Store
    clock: Clock
    hooks: Hooks
    standstill: Callable[[], str]
    said: Callable[[], Mapping[str, str]]
    """The last sentence of everything this daemon is at work on, by "kind/key"."""
    stuck: Callable[[], Mapping[str, str]]

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "check_clock": self.clock_now,
            "check_node": self.node,
            "check_paths": self.paths,
            "why_node": self.why,
        }

    def clock_now(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """For people: how far apart the clocks are. No decision rests on it."""
        return Answer({"wall_s": self.clock.wall_s()})

    def node(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        view = self.view()
        lines = [*here.own_lines(self.config, view), *self._gate(view), *self._plugins(view)]
        now, _ = here.as_it_stands(self.config)
        return Answer(
            {
                "lines": msgspec.to_builtins(lines),
                "versions": here.versions(),
                "shared": here.shared(now),
                "servers": quorum.servers(self.config),
                "networks": {
                    name: {"address": str(network.address.ip), "mtu": self._mtu(name, network.mtu)}
                    for name, network in self.config.host_networks.items()
                    if network.address
                },
            }
        )

    def paths(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """{"faults": [[network, node, what goes wrong], ...]} of the ways from here to `peers`."""
        ways = []
        for name, network in self.config.host_networks.items():
            for peer, addresses in dict(args["peers"]).items():
                if network.address and name in addresses:
                    ways.append((name, peer, str(network.address.ip), str(addresses[name]), network.mtu))
        with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
            found = pool.map(lambda way: probe.reach(way[2], way[3], self._mtu(way[0], way[4])), ways)
            faults = [[way[0], way[1], why] for way, why in zip(ways, found, strict=True) if why]
        return Answer({"faults": faults, "ways": len(ways)})

    def why(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """What this daemon knows of itself that no record says."""
        return Answer(
            {
                "standstill": self.standstill(),
                "store": self.store.session().state.value,
                "guard": self._guard(),
                "said": dict(self.said()),
                "stuck": dict(self.stuck()),
            }
        )

    def _guard(self) -> str:
        try:
            status = Guard(self.config.paths.run).status()
        except PvcError as error:
            return f"pvcguard does not answer: {error.message}"
        if status.heard_ago_s is None:
            return "the store has not heard this incarnation's heartbeat yet"
        return f"the store heard the heartbeat {status.heard_ago_s:.1f} s ago"

    def _mtu(self, name: str, wanted: int | None) -> int:
        if wanted:
            return wanted
        try:
            return int((LINKS / bridge_name(name) / "mtu").read_text())
        except (OSError, ValueError):
            return 1500

    def _gate(self, view: ClusterView) -> Iterator[CheckLine]:
        for unread in view.unread.values():
            yield CheckLine(
                topic="records", ok=False, text=f"does not understand {unread}, which a newer PVC wrote",
                remedy="upgrade PVC on this node",
            )  # fmt: skip
        if why := self.standstill():
            yield CheckLine(topic="records", ok=False, text=why, remedy="see docs/backup.md")

    def _plugins(self, view: ClusterView) -> Iterator[CheckLine]:
        peers = {name: kept.value.address for name, kept in view.node_peers.items()}
        answers = self.hooks.collect("pvc_collect_check", peers=peers)
        for plugin in sorted(self.hooks.implementing("pvc_collect_check")):
            if plugin not in answers:
                yield CheckLine(
                    topic="plugins", ok=False, text=f"{plugin} has not told in time what it finds",
                    remedy="look at this node's log; ask again",
                )  # fmt: skip
            yield from answers.get(plugin, ())
