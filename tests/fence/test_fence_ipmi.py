"""What fence_ipmi does beside its contract: settings, what it puts on record, where a password goes, whose BMC."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from marshmallow import ValidationError

from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Permanent, StoreUnavailable
from pvc_core.model.fence import NoProof, Proof, Target, Why
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.context import FakeContext, FakeState
from pvc_fence_ipmi.driver import IpmiFence
from pvc_fence_ipmi.guid import is_guid_of, says_nothing
from pvc_fence_ipmi.plugin import Config
from tests.fence.ipmi_rig import IpmiRig

UUID_2 = UUID("4c4c4544-0051-3510-8052-b4c04f4a4e31")
PASSWORD = "kept-to-ourselves"


class Scripted(FakeContext):
    """`answers`: what each run of ipmitool leaves. Every run is kept."""

    def __init__(self, config: dict[str, object], node: str, state: FakeState) -> None:
        self.moving = FakeClock()
        super().__init__(Config().load(config), node=node, state=state, clock=self.moving)
        self.runs: list[tuple[list[str], bytes]] = []
        self.answers: list[Completed] = []

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed:
        self.runs.append((list(argv), stdin))
        self.moving.move(0.1)
        return self.answers.pop(0) if self.answers else said("", "")


def said(stdout: str, stderr: str, code: int = 0) -> Completed:
    return Completed(returncode=code if not stderr else 1, stdout=stdout, stderr=stderr)


def guid(raw: bytes) -> Completed:
    return said(" " + raw.hex(" ") + "\n", "")


ON, OFF, DONE = said(" 01 00 00\n", ""), said(" 00 00 00\n", ""), said("", "")
NO_SUITE = said("", "Error in open session response message : invalid authentication algorithm\n")


@pytest.fixture
def state() -> FakeState:
    return FakeState()


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return {"address": "10.9.0.12", "user": "pvc", "password_file": str(file)}


@pytest.fixture
def judge(config: dict[str, object], state: FakeState) -> Scripted:
    """hv1, after hv2 has put its BMC on record."""
    IpmiFence(FakeContext(Config().load(config), node="hv2", state=state)).publish(deadline_s=5)
    return Scripted({}, "hv1", state)


def fence(context: Scripted, **target: str) -> object:
    driver = IpmiFence(context, sleep=context.moving.move)
    return driver.fence(Target(node="hv2", uuid=target.get("uuid", str(UUID_2)), incarnation="boot-1"), deadline_s=10)


# --- whose GUID it is


@pytest.mark.parametrize("raw", [UUID_2.bytes, UUID_2.bytes_le, UUID_2.bytes[::-1]], ids=["written", "SMBIOS", "IPMI"])
def test_each_order_of_a_guids_bytes_is_known(raw: bytes) -> None:
    assert is_guid_of(raw, UUID_2)
    assert not is_guid_of(raw, uuid4())
    assert not is_guid_of(raw[4:] + raw[:4], UUID_2)


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_a_guid_that_was_never_set_is_nobodys(judge: Scripted, byte: bytes) -> None:
    assert says_nothing(byte * 16)
    judge.answers = [guid(byte * 16)]
    answer = fence(judge, uuid=str(UUID(bytes=byte * 16)))
    assert isinstance(answer, NoProof) and answer.why is Why.UNKNOWN
    assert len(judge.runs) == 1


def test_the_uuid_a_board_is_known_by_may_be_given(config: dict[str, object], state: FakeState) -> None:
    other = uuid4()
    IpmiFence(FakeContext(Config().load({**config, "uuid": str(other)}), node="hv2", state=state)).publish(deadline_s=5)
    context = Scripted({}, "hv1", state)
    context.answers = [guid(UUID_2.bytes)]
    refused = fence(context)
    assert isinstance(refused, NoProof) and refused.why is Why.WRONG_MACHINE
    context.answers = [guid(other.bytes), OFF, guid(other.bytes), OFF]
    assert isinstance(fence(context, uuid=""), Proof)


def test_two_nodes_with_the_same_bmc_are_not_fenced(config: dict[str, object], judge: Scripted) -> None:
    IpmiFence(FakeContext(Config().load(config), node="hv3", state=judge.state)).publish(deadline_s=5)
    answer = fence(judge)
    assert isinstance(answer, NoProof) and answer.why is Why.UNKNOWN
    assert "hv2 and hv3 name the same BMC, 10.9.0.12" in answer.reason and judge.runs == []


# --- what it says to ipmitool


def test_the_password_goes_in_by_standard_input_and_nowhere_else(judge: Scripted) -> None:
    judge.answers = [NO_SUITE, guid(UUID_2.bytes), ON, DONE, OFF, guid(UUID_2.bytes), OFF]
    answer = fence(judge)
    assert isinstance(answer, Proof) and "cipher suite 3" in answer.how
    assert [argv[argv.index("-C") + 1] for argv, _ in judge.runs] == ["17", "3", "3", "3", "3", "3", "3"]
    assert all(stdin == PASSWORD.encode() + b"\n" for _, stdin in judge.runs)
    assert PASSWORD not in json.dumps([argv for argv, _ in judge.runs])
    commands = [argv[argv.index("raw") + 1 :] for argv, _ in judge.runs]
    assert commands.count(["0x00", "0x02", "0x00"]) == 1
    assert commands[-2:] == [["0x06", "0x37"], ["0x00", "0x01"]]


def test_who_is_not_let_in_is_told_with_which_suite(judge: Scripted) -> None:
    """Suite 8 with the right password looks like a wrong one: `RAKP 2 HMAC is invalid` from a real BMC, too."""
    judge.answers = [NO_SUITE, said("", "> RAKP 2 HMAC is invalid\n")]
    answer = fence(judge)
    assert isinstance(answer, NoProof) and answer.why is Why.DENIED
    assert answer.reason == "the BMC at 10.9.0.12 does not let user pvc in with cipher suite 3"


def test_off_that_is_on_again_a_moment_later_is_no_proof(judge: Scripted) -> None:
    judge.answers = [guid(UUID_2.bytes), ON, DONE, OFF, guid(UUID_2.bytes), ON]
    answer = fence(judge)
    assert isinstance(answer, NoProof) and answer.why is Why.DISOBEYED and answer.acted


def test_another_machine_that_answers_in_between_is_no_proof(judge: Scripted) -> None:
    """Two BMCs with the same address by mistake."""
    judge.answers = [guid(UUID_2.bytes), ON, DONE, OFF, guid(uuid4().bytes)]
    answer = fence(judge)
    assert isinstance(answer, NoProof) and answer.why is Why.WRONG_MACHINE and answer.acted


def test_a_command_that_seems_lost_is_given_again(judge: Scripted) -> None:
    judge.answers = [guid(UUID_2.bytes), ON, DONE, *[ON] * 7, DONE, OFF, guid(UUID_2.bytes), OFF]
    assert isinstance(fence(judge), Proof)


# --- what is on record


def test_a_note_follows_the_settings(config: dict[str, object], state: FakeState) -> None:
    def publish(**settings: object) -> int:
        IpmiFence(FakeContext(Config().load({**config, **settings}), node="hv2", state=state)).publish(deadline_s=5)
        return state.records["nodes/hv2"][1]

    assert publish() == publish()
    assert publish(user="other") == 1
    Path(str(config["password_file"])).write_text("a new one\n")
    assert publish(user="other") == 2
    assert PASSWORD not in repr(state.records) and "a new one" not in repr(state.records)
    IpmiFence(FakeContext(Config().load({}), node="hv2", state=state)).publish(deadline_s=5)
    assert state.records == {}


def test_a_note_is_good_for_its_own_node_only(judge: Scripted) -> None:
    """Whoever may write the store cannot give one node's password to an address of his."""
    value, _ = judge.state.get("nodes/hv2")
    judge.state.put(
        "nodes/hv3", json.dumps({**json.loads(value), "node": "hv3", "address": "192.0.2.1"}).encode(), if_version=None
    )
    answer = IpmiFence(judge).fence(Target(node="hv3", uuid=str(UUID_2), incarnation="b"), deadline_s=5)
    assert isinstance(answer, NoProof) and judge.runs == []


def test_a_silent_store_hinders_nobody(judge: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = IpmiFence(judge, sleep=judge.moving.move)
    target = Target(node="hv2", uuid=str(UUID_2), incarnation="boot-1")
    judge.answers = [guid(UUID_2.bytes), ON]
    driver.status(target, deadline_s=5)

    def silent(*_: object, **__: object) -> object:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(judge.state, "get", silent)
    monkeypatch.setattr(judge.state, "children", silent)
    for call in judge.state.wakes:
        call()
    judge.answers = [guid(UUID_2.bytes), OFF, guid(UUID_2.bytes), OFF]
    assert isinstance(driver.fence(target, deadline_s=10), Proof)


@pytest.mark.parametrize(("text", "mode"), [(PASSWORD, 0o644), ("", 0o600), ("x" * 21, 0o600)])
def test_a_password_file_that_is_none(config: dict[str, object], state: FakeState, text: str, mode: int) -> None:
    file = Path(str(config["password_file"]))
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(Permanent, match="password") as error:
        IpmiFence(FakeContext(Config().load(config), node="hv2", state=state)).publish(deadline_s=5)
    assert not text or text not in str(error.value)
    assert state.records == {}


# --- settings


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"address": "10.9.0.12"}, {"user", "password_file"}),
        ({"address": "-Fo", "user": "pvc", "password_file": "/x"}, {"address"}),
        ({"address": "10.9.0.12", "user": "x" * 17, "password_file": "/x"}, {"user"}),
        ({"address": "10.9.0.12", "user": "pvc", "password_file": "relative"}, {"password_file"}),
        ({"cipher_suites": []}, {"cipher_suites"}),
        ({"cipher_suites": [0]}, {"cipher_suites"}),
        ({"uuid": "none"}, {"uuid"}),
        ({"deadline_s": 0}, {"deadline_s"}),
        ({"password": "x"}, {"password"}),
    ],
)
def test_settings_that_are_none(given: dict[str, object], wrong: set[str]) -> None:
    with pytest.raises(ValidationError) as error:
        Config().load(given)
    assert wrong <= set(error.value.normalized_messages())


def test_defaults() -> None:
    assert Config().load({}) == {
        "port": 623, "cipher_suites": [17, 3], "power_on": True, "uuid": "", "deadline_s": 10.0,
    }  # fmt: skip


# --- on a real endpoint


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[IpmiRig]:
    rig = IpmiRig(tmp_path, power_on=False)
    yield rig
    rig.stop()


@pytest.mark.system
def test_a_node_that_shall_stay_off_does(rig: IpmiRig) -> None:
    for node in ("hv1", "hv2"):
        rig.driver(node).publish(deadline_s=5)
    judge = rig.driver("hv1")
    assert isinstance(judge.fence(rig.target("hv2"), deadline_s=20), Proof)
    assert judge.power_on(rig.target("hv2"), deadline_s=20) is False
    assert not rig.on("hv2")
