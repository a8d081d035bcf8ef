# SPDX-License-Identifier: LGPL-3.0-or-later
"""Shared disks of a simulated cluster that can shut a node's incarnation out, and remember whom they shut out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pvc_core.model.fence import FenceAnswer, NoProof, Proof, ProofKind, Why, WriteFence
from pvc_core.testing.storage import ALL_CAPABILITIES, FakeStorage, FakeStorageDefinitions, FakeStorageWorld

if TYPE_CHECKING:
    from pvc_core.testing.sim_ha import HaCluster


class SimWriteFence(FakeStorageWorld):
    """`out` holds (incarnation, pool)."""

    def __init__(self, sim: HaCluster) -> None:
        super().__init__(FakeStorageDefinitions(replace(ALL_CAPABILITIES, storage_fencing=True)))
        self.sim = sim
        self.out: set[tuple[str, str]] = set()
        self.broken = False
        """It gives no proof."""

    def driver(self, node: str = "hv1") -> FakeStorage:
        self.staged.clear()
        return FencingStorage(self, node)


class FencingStorage(FakeStorage):
    world: SimWriteFence

    def fence_node(self, fence: WriteFence, *, deadline_s: float) -> FenceAnswer:
        target = fence.target
        if self.world.broken:
            return NoProof(rung="fake", node=target.node, why=Why.UNREACHABLE, reason="the disks do not answer")
        self.world.out.add((target.incarnation, fence.pool.name))
        return Proof(
            kind=ProofKind.NO_WRITE, node=target.node, incarnation=target.incarnation, rung="fake", seen="shut out",
            how="all its addresses", pool=fence.pool.name,
        )  # fmt: skip
