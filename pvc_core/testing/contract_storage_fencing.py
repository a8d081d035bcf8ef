# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions asked of storage drivers that declare `storage_fencing`: subclass StorageFencingContract, give a `rig`.

The rig has clients: what a QEMU on a node is to the storage, with an address and the key of its node's incarnation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import PvcError
from pvc_core.model.fence import NoProof, Proof, ProofKind, Target, Why, WriteFence
from pvc_core.model.storage import Pool, Volume

about = pytest.mark.pvc_capability
DEADLINE_S = 30.0


class StorageFencingRig(ABC):
    """hv2 is lost in its incarnation boot-1; hv1 lives. One shared pool, empty at the beginning of each test."""

    name: str
    """The plugin's."""
    pool: Pool
    storage_ips: Mapping[str, str]
    """Of hv1 and hv2, where clients of theirs come from unless told otherwise; another address is nobody's."""

    @abstractmethod
    def driver(self) -> StorageDriver:
        """On hv1."""

    @abstractmethod
    def volume(self, name: str) -> Volume:
        """Made, and empty."""

    @abstractmethod
    def connect(
        self, volume: Volume, node: str, *, incarnation: str = "boot-1", ip: str = "", watching: bool = True
    ) -> Any:
        """A client that has the volume open. `watching` False: it has only read so far, and no list shows it. Raises a
        PvcError when it is not let in.
        """

    @abstractmethod
    def address(self, client: Any) -> str:
        """As the claim would have noted it."""

    @abstractmethod
    def writes(self, client: Any) -> bool:
        """Let it try."""


class StorageFencingContract:
    """`NO_WRITE` means it."""

    @pytest.fixture
    def rig(self) -> StorageFencingRig:
        raise NotImplementedError("give your class a fixture called rig that returns a StorageFencingRig")

    @about("storage_fencing")
    def test_who_is_fenced_writes_no_more_and_others_do(self, rig: StorageFencingRig) -> None:
        volume, other = rig.volume("a"), rig.volume("b")
        lost, living = rig.connect(volume, "hv2"), rig.connect(other, "hv1")
        assert rig.writes(lost) and rig.writes(living)
        answer = _fence(rig, [volume, other], noted=[rig.address(lost)])
        assert isinstance(answer, Proof), answer
        assert (answer.kind, answer.pool, answer.node, answer.incarnation, answer.rung) == (
            ProofKind.NO_WRITE, rig.pool.name, "hv2", "boot-1", rig.name,
        )  # fmt: skip
        assert not rig.writes(lost) and rig.writes(living)

    @about("storage_fencing")
    def test_who_only_read_so_far_is_fenced_by_his_nodes_address(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        lost = rig.connect(volume, "hv2", watching=False)
        assert isinstance(_fence(rig, [volume]), Proof)
        assert not rig.writes(lost)

    @about("storage_fencing")
    def test_who_was_noted_is_fenced_though_no_list_shows_him(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        lost = rig.connect(volume, "hv2", ip="192.0.2.7", watching=False)
        assert isinstance(_fence(rig, [volume], noted=[rig.address(lost)]), Proof)
        assert not rig.writes(lost)

    @about("storage_fencing")
    def test_the_incarnation_cannot_come_back_and_the_next_one_can(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        rig.connect(volume, "hv2")
        _fence(rig, [volume])
        with pytest.raises(PvcError):
            rig.connect(volume, "hv2", ip="192.0.2.9")
        assert rig.writes(rig.connect(volume, "hv2", incarnation="boot-2", ip="192.0.2.8"))

    @about("storage_fencing")
    def test_a_watcher_of_another_node_is_left_alone(self, rig: StorageFencingRig) -> None:
        """A guest that has just moved, a backup that reads."""
        volume = rig.volume("a")
        living = rig.connect(volume, "hv1")
        assert isinstance(_fence(rig, [volume]), Proof)
        assert rig.writes(living)

    @about("storage_fencing")
    def test_a_watcher_whom_nobody_knows_means_no_proof_and_is_left_alone(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        stranger = rig.connect(volume, "hv2", ip="192.0.2.7")
        answer = _fence(rig, [volume])
        assert isinstance(answer, NoProof) and answer.why is Why.UNATTRIBUTABLE
        assert rig.address(stranger) in answer.reason and rig.writes(stranger)

    @about("storage_fencing")
    def test_an_address_that_two_nodes_have_means_no_proof(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        living = rig.connect(volume, "hv1")
        answer = _fence(rig, [volume], noted=[rig.address(living)])
        assert isinstance(answer, NoProof) and answer.why is Why.UNATTRIBUTABLE and rig.writes(living)

    @about("storage_fencing")
    def test_an_empty_list_proves_nothing(self, rig: StorageFencingRig) -> None:
        target = replace(_target(rig), addresses={})
        answer = rig.driver().fence_node(
            WriteFence(target=target, pool=rig.pool, volumes=[rig.volume("a")], others={}), deadline_s=DEADLINE_S
        )
        assert isinstance(answer, NoProof)

    @about("storage_fencing")
    def test_twice_gives_the_same_answer(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        lost = rig.connect(volume, "hv2")
        first = _fence(rig, [volume])
        again = _fence(rig, [volume])
        assert isinstance(first, Proof) and isinstance(again, Proof) and again.already
        assert replace(again, already=False, seen="", how="") == replace(first, already=False, seen="", how="")
        assert not rig.writes(lost)

    @about("storage_fencing")
    def test_who_has_a_volume_open_here_is_told(self, rig: StorageFencingRig) -> None:
        volume, other = rig.volume("a"), rig.volume("b")
        mine = rig.connect(volume, "hv1")
        others = [rig.connect(volume, "hv2"), rig.connect(other, "hv1")]
        told = list(rig.driver().clients(rig.pool, volume, deadline_s=DEADLINE_S))
        assert told == [rig.address(mine)], f"others are {[rig.address(one) for one in others]}"

    @about("storage_fencing")
    def test_who_has_ended_is_shut_out_at_once_and_nobody_else(self, rig: StorageFencingRig) -> None:
        volume = rig.volume("a")
        ended, living = rig.connect(volume, "hv2"), rig.connect(rig.volume("b"), "hv2")
        assert rig.writes(ended)
        for _twice in range(2):
            rig.driver().shut_out(rig.pool, [rig.address(ended)], deadline_s=DEADLINE_S)
        assert not rig.writes(ended) and rig.writes(living)
        assert rig.writes(rig.connect(volume, "hv1"))


def _target(rig: StorageFencingRig) -> Target:
    return Target(node="hv2", uuid="", incarnation="boot-1", addresses={"storage": rig.storage_ips["hv2"]})


def _fence(rig: StorageFencingRig, volumes: Sequence[Volume], *, noted: Sequence[str] = ()) -> object:
    fence = WriteFence(
        target=_target(rig),
        pool=rig.pool,
        volumes=volumes,
        noted=noted,
        others={"hv1": [rig.storage_ips["hv1"]]},
    )
    return rig.driver().fence_node(fence, deadline_s=DEADLINE_S)
