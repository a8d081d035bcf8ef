# SPDX-License-Identifier: LGPL-3.0-or-later
"""Who reaches whom in a simulated cluster: three networks between the nodes, each way by itself, and the ensemble on
the cluster network.

A node has the store when it reaches, both ways, a server that is one of a connected majority.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

NETWORKS = ("upstream", "cluster", "storage")


@dataclass
class SimNet:
    """`up` says whether a node has power, `serves` whether its store server works."""

    names: tuple[str, ...]
    coordinators: tuple[str, ...]
    up: Callable[[str], bool]
    serves: Callable[[str], bool]
    cuts: set[tuple[str, str, str]] = field(default_factory=set)
    """(from, to, network): nothing gets through."""
    electing_until_s: float = 0.0
    """The ensemble has lost its leader and has no other yet."""

    def reaches(self, source: str, target: str, network: str) -> bool:
        return source == target or (self.up(source) and self.up(target) and (source, target, network) not in self.cuts)

    def on_any(self, source: str, target: str) -> bool:
        return any(self.reaches(source, target, network) for network in NETWORKS)

    def both_ways(self, one: str, other: str, network: str = "cluster") -> bool:
        return self.reaches(one, other, network) and self.reaches(other, one, network)

    def quorum(self) -> frozenset[str]:
        """The servers of the connected majority, if there is one."""
        serving = [name for name in self.coordinators if self.up(name) and self.serves(name)]
        for leader in serving:
            group = frozenset(name for name in serving if self.both_ways(leader, name))
            if 2 * len(group) > len(self.coordinators):
                return group
        return frozenset()

    def has_store(self, name: str, now_s: float) -> bool:
        if now_s < self.electing_until_s or not self.up(name):
            return False
        return any(self.both_ways(name, server) for server in self.quorum())

    def cut(self, name: str, others: Iterable[str], networks: Iterable[str] = NETWORKS, *, ways: str = "both") -> None:
        """`ways`: both, out (nothing it sends arrives), in (it hears nothing)."""
        for other in others:
            for network in networks:
                if ways in ("both", "out"):
                    self.cuts.add((name, other, network))
                if ways in ("both", "in"):
                    self.cuts.add((other, name, network))

    def heal(self) -> None:
        self.cuts.clear()
