# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions every fence driver is asked. Subclass FenceContract in a test file and give it a fixture `rig`.

Each test says which capability it is about; pytest_plugin.py sums them up at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from pvc_core.contracts.fence import FenceCapabilities, FenceDriver
from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.model.fence import NoProof, Power, Proof, ProofKind, Why
from pvc_core.testing.fence_rig import FenceRig

T = TypeVar("T")
about = pytest.mark.pvc_capability


class FenceContract:
    """Everything the contract promises, as the core relies on it."""

    @pytest.fixture
    def rig(self) -> FenceRig:
        raise NotImplementedError("give your class a fixture called rig that returns a FenceRig")

    @pytest.fixture
    def judge(self, rig: FenceRig) -> FenceDriver:
        """Both nodes have published; this is the driver on hv1."""
        for node in ("hv1", "hv2"):
            rig.driver(node).publish(deadline_s=rig.deadline_s)
        return rig.driver("hv1")

    # --- what it proves

    @about("core")
    def test_capabilities_are_well_formed(self, rig: FenceRig) -> None:
        can = rig.definitions.capabilities
        assert isinstance(can, FenceCapabilities) and can.deadline_s > 0
        assert can.proofs and all(isinstance(kind, ProofKind) for kind in can.proofs)

    @about("core")
    def test_a_proof_of_off_comes_with_a_machine_that_is_off(self, rig: FenceRig, judge: FenceDriver) -> None:
        answer = judge.fence(rig.target("hv2", incarnation="boot-7"), deadline_s=rig.deadline_s)
        assert isinstance(answer, Proof), answer
        assert not rig.on("hv2") and rig.on("hv1")
        assert (answer.kind, answer.node, answer.incarnation) == (ProofKind.OFF, "hv2", "boot-7")
        assert answer.rung == rig.name and answer.seen and answer.how and not answer.already
        assert "hv2" in answer.text and "boot-7" in answer.text

    @about("core")
    def test_a_second_fence_gives_the_same_proof_and_does_nothing(self, rig: FenceRig, judge: FenceDriver) -> None:
        target = rig.target("hv2")
        judge.fence(target, deadline_s=rig.deadline_s)
        done = rig.acts()
        for _again in range(3):
            answer = rig.driver("hv1").fence(target, allowed=_never, deadline_s=rig.deadline_s)
            assert isinstance(answer, Proof) and answer.already
            assert (answer.kind, answer.node, answer.incarnation) == (ProofKind.OFF, "hv2", target.incarnation)
        assert rig.acts() == done

    @about("core")
    def test_done_while_power_reads_on_is_no_proof(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.disobey("hv2"))
        answer = _timed(rig, lambda: judge.fence(rig.target("hv2"), deadline_s=rig.deadline_s))
        assert rig.on("hv2") and rig.acts()
        assert isinstance(answer, NoProof) and answer.why is Why.DISOBEYED and answer.acted
        assert answer.node == "hv2" and answer.rung == rig.name and answer.reason

    @about("core")
    def test_silence_is_no_proof_and_ends_at_the_deadline(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.kill("hv2"))
        answer = _timed(rig, lambda: judge.fence(rig.target("hv2"), deadline_s=rig.silence_s))
        assert isinstance(answer, NoProof) and answer.why is Why.UNREACHABLE and not answer.acted

    @about("core")
    def test_who_is_not_let_in_says_so(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.lock_out("hv2"))
        answer = judge.fence(rig.target("hv2"), deadline_s=rig.deadline_s)
        assert isinstance(answer, NoProof) and answer.why is Why.DENIED and not answer.acted
        _no_secret(rig, answer)

    # --- whom it touches

    @about("core")
    def test_another_machine_is_left_alone(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.swap("hv2", "hv1"))
        answer = judge.fence(rig.target("hv2"), allowed=_never, deadline_s=rig.deadline_s)
        assert isinstance(answer, NoProof) and answer.why is Why.WRONG_MACHINE and not answer.acted
        assert rig.acts() == [] and rig.on("hv1") and rig.on("hv2")
        assert "hv2" in answer.reason

    @about("core")
    @pytest.mark.parametrize("uuid", ["", "11111111-2222-4333-8444-555555555555"])
    def test_a_node_whose_uuid_is_not_the_machines_is_left_alone(
        self, rig: FenceRig, judge: FenceDriver, uuid: str
    ) -> None:
        answer = judge.fence(rig.target("hv2", uuid=uuid), allowed=_never, deadline_s=rig.deadline_s)
        assert isinstance(answer, NoProof) and answer.why in (Why.WRONG_MACHINE, Why.UNKNOWN)
        assert rig.acts() == [] and rig.on("hv2")

    @about("core")
    def test_a_node_that_put_nothing_on_record_is_left_alone(self, rig: FenceRig) -> None:
        rig.driver("hv1").publish(deadline_s=rig.deadline_s)
        answer = rig.driver("hv1").fence(rig.target("hv2"), allowed=_never, deadline_s=rig.deadline_s)
        assert isinstance(answer, NoProof) and answer.why is Why.UNKNOWN
        assert rig.acts() == [] and rig.on("hv1") and rig.on("hv2")

    @about("core")
    def test_a_forgotten_node_is_left_alone(self, rig: FenceRig, judge: FenceDriver) -> None:
        for _again in range(2):
            judge.forget("hv2", deadline_s=rig.deadline_s)
        answer = judge.fence(rig.target("hv2"), allowed=_never, deadline_s=rig.deadline_s)
        assert isinstance(answer, NoProof) and answer.why is Why.UNKNOWN and rig.on("hv2")

    @about("core")
    def test_permission_is_asked_before_the_act_and_its_absence_ends_it(
        self, rig: FenceRig, judge: FenceDriver
    ) -> None:
        seen: list[bool] = []

        def withdrawn() -> None:
            seen.append(rig.on("hv2"))
            raise Refused("the lease of this primary has ended")

        answer = judge.fence(rig.target("hv2"), allowed=withdrawn, deadline_s=rig.deadline_s)
        assert isinstance(answer, NoProof) and answer.why is Why.NOT_ALLOWED and not answer.acted
        assert "the lease of this primary has ended" in answer.reason
        assert seen == [True] and rig.acts() == [] and rig.on("hv2")

    # --- looking

    @about("core")
    def test_status_reads_the_power(self, rig: FenceRig, judge: FenceDriver) -> None:
        target = rig.target("hv2")
        assert judge.status(target, deadline_s=rig.deadline_s) is Power.ON
        judge.fence(target, deadline_s=rig.deadline_s)
        assert judge.status(target, deadline_s=rig.deadline_s) is Power.OFF

    @about("core")
    def test_status_of_silence_is_no_status(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.kill("hv2"))
        with pytest.raises(Retry):
            _timed(rig, lambda: judge.status(rig.target("hv2"), deadline_s=rig.silence_s))

    @about("core")
    def test_status_of_another_machine_is_refused(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.swap("hv2", "hv1"))
        with pytest.raises(Refused):
            judge.status(rig.target("hv2"), deadline_s=rig.deadline_s)

    @about("core")
    def test_a_self_test_passes_step_by_step_and_does_nothing(self, rig: FenceRig, judge: FenceDriver) -> None:
        steps = judge.self_test(rig.target("hv2"), deadline_s=rig.deadline_s)
        assert len(steps) >= 3 and all(step.passed and step.name and step.said for step in steps), steps
        assert len({step.name for step in steps}) == len(steps)
        assert rig.acts() == [] and rig.on("hv2")

    @about("core")
    @pytest.mark.parametrize("fault", ["kill", "swap", "lock_out", "no uuid"])
    def test_a_self_test_ends_with_the_step_that_failed(self, rig: FenceRig, judge: FenceDriver, fault: str) -> None:
        uuid = "" if fault == "no uuid" else None
        if fault == "swap":
            _possible(rig.swap("hv2", "hv1"))
        elif fault != "no uuid":
            _possible(getattr(rig, fault)("hv2"))
        given_s = rig.silence_s if fault == "kill" else rig.deadline_s
        steps = _timed(rig, lambda: judge.self_test(rig.target("hv2", uuid=uuid), deadline_s=given_s))
        assert [step.passed for step in steps] == [True] * (len(steps) - 1) + [False]
        assert steps[-1].said and rig.acts() == [] and rig.on("hv2")
        _no_secret(rig, *(step.said for step in steps))

    # --- what nodes tell each other

    @about("core")
    def test_publishing_again_writes_nothing(self, rig: FenceRig, judge: FenceDriver) -> None:
        stored = rig.stored()
        for _again in range(3):
            assert rig.driver("hv2").publish(deadline_s=rig.deadline_s)
        assert rig.stored() == stored

    @about("core")
    def test_no_secret_is_on_record_in_plain_words(self, rig: FenceRig, judge: FenceDriver) -> None:
        _no_secret(rig, rig.stored())

    # --- switching on again

    @about("power_on")
    def test_switching_on_again(self, rig: FenceRig, judge: FenceDriver) -> None:
        target = rig.target("hv2")
        if not rig.definitions.capabilities.power_on:
            with pytest.raises(Refused):
                judge.power_on(target, deadline_s=rig.deadline_s)
            return
        judge.fence(target, deadline_s=rig.deadline_s)
        for _again in range(2):
            assert judge.power_on(target, deadline_s=rig.deadline_s) is True
            assert rig.on("hv2")
        assert rig.acts().count(("hv2", "on")) == 1

    @about("power_on")
    def test_another_machine_is_not_switched_on(self, rig: FenceRig, judge: FenceDriver) -> None:
        _possible(rig.swap("hv2", "hv1"))
        with pytest.raises((Refused, Permanent)):
            judge.power_on(rig.target("hv2"), deadline_s=rig.deadline_s)
        assert rig.acts() == []


def _never() -> None:
    raise AssertionError("permission was asked for an act that must not happen")


def _possible(made: bool) -> None:
    if not made:
        pytest.skip("this rig cannot make that fault")


def _timed(rig: FenceRig, call: Callable[[], T]) -> T:
    started_s = time.monotonic()
    try:
        return call()
    finally:
        assert time.monotonic() - started_s < rig.deadline_s + rig.grace_s


def _no_secret(rig: FenceRig, *said: object) -> None:
    for secret in rig.secrets:
        assert secret not in " ".join(map(str, said))
