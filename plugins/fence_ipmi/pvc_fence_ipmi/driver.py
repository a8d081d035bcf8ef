"""The fence driver: finds a node's BMC, makes sure that it is this node's, switches it off and reads that it is off.

The bytes on the wire are bmc.py's, what nodes tell each other notes.py's.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from pvc_core.contracts.fence import Allowed, FenceDriver, always
from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Permanent, PvcError, Refused, Retry
from pvc_core.model.fence import FenceAnswer, NoProof, Power, Proof, ProofKind, Target, TestStep, Why
from pvc_fence_ipmi.bmc import Bmc, Deadline
from pvc_fence_ipmi.guid import is_guid_of, readings, says_nothing
from pvc_fence_ipmi.notes import Note, Notes

T = TypeVar("T")

NAME = "fence_ipmi"
LOOK_S = 0.2
"""Between two readings of the power."""
PASSWORD_BYTES = 20
"""IPMI 2.0, section 22.30."""
TELL_AGAIN_S = 2.0
"""A command may be lost, or come while the BMC is busy."""


class WrongMachine(Refused):
    """Who answers is not the node that is meant."""


class Unknown(Refused):
    """There is no knowing which BMC, or which machine, is meant."""


class Disobeyed(Retry):
    """It was told, and stays on."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A BMC that has said who it is, and is the target's."""

    bmc: Bmc
    note: Note
    uuid: UUID

    @property
    def how(self) -> str:
        return f"IPMI 2.0 at {self.note.where}, GUID {self.uuid}, cipher suite {self.bmc.cipher_suite}"


class IpmiFence(FenceDriver):
    """Keeps nothing about a target between two calls but the notes, and which cipher suite its BMC spoke."""

    def __init__(self, context: PluginContext, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._context, self._clock, self._sleep = context, context.clock, sleep
        self._notes = Notes(context)
        self._suites: dict[str, int] = {}

    def publish(self, *, deadline_s: float) -> str:
        config = self._context.config
        if not config.get("address"):
            return self._notes.publish(None, "")
        note = Note(
            node=self._context.node.name,
            address=config["address"],
            port=config["port"],
            user=config["user"],
            password="",
            cipher_suites=tuple(config["cipher_suites"]),
            power_on=config["power_on"],
            uuid=config["uuid"],
        )
        return self._notes.publish(note, read_password(str(config["password_file"])))

    def fence(self, target: Target, *, allowed: Allowed = always, deadline_s: float) -> FenceAnswer:
        deadline = Deadline.within(self._clock, deadline_s)
        acted = False

        def permit() -> None:
            nonlocal acted
            try:
                allowed()
            except PvcError as error:
                raise _NotAllowed(error.message, help=error.help) from error
            acted = True

        try:
            known = self._identified(target, deadline)
            already = self._power(known, deadline) is Power.OFF
            if not already:
                self._off(known, permit, deadline)
            self._still_off(target, deadline)
        except PvcError as error:
            return _no_proof(target, error, acted)
        return Proof(
            kind=ProofKind.OFF,
            node=target.node,
            incarnation=target.incarnation,
            rung=NAME,
            seen="power reads off",
            how=f"{known.how}, after {deadline_s - deadline.left_s():.2f} s",
            already=already and not acted,
        )

    def status(self, target: Target, *, deadline_s: float) -> Power:
        deadline = Deadline.within(self._clock, deadline_s)
        return self._power(self._identified(target, deadline), deadline)

    def self_test(self, target: Target, *, deadline_s: float) -> tuple[TestStep, ...]:
        deadline, steps = Deadline.within(self._clock, deadline_s), _Steps()
        try:
            steps.begin("record")
            note = self._note(target)
            wanted = self._wanted(target, note)
            bmc = self._bmc(note)
            steps.done(f"node {target.node} has put its BMC on record: {note.where}, user {note.user}")
            steps.begin("login")
            raw = self._asked(lambda: bmc.guid(deadline), deadline)
            steps.done(f"the BMC lets user {note.user} in with cipher suite {bmc.cipher_suite}")
            steps.begin("identity")
            self._check_identity(target, note, raw, wanted)
            steps.done(f"its GUID is the UUID of node {target.node}, {wanted}")
            steps.begin("power")
            power = self._asked(lambda: bmc.power(deadline), deadline)
            steps.done(f"power reads {power}")
        except PvcError as error:
            steps.failed(error)
        return tuple(steps.found)

    def power_on(self, target: Target, *, deadline_s: float) -> bool:
        deadline = Deadline.within(self._clock, deadline_s)
        known = self._identified(target, deadline)
        if not known.note.power_on:
            return False
        while self._power(known, deadline) is Power.OFF:
            self._asked(lambda: known.bmc.switch_on(deadline), deadline)
            self._wait(deadline, f"node {target.node} was switched on by its BMC, and power still reads off")
        return True

    def forget(self, node: str, *, deadline_s: float) -> None:
        self._notes.forget(node)

    def _identified(self, target: Target, deadline: Deadline) -> _Known:
        """Its BMC, which has said that it is. Raises Unknown, WrongMachine, Retry, Permanent."""
        note = self._note(target)
        wanted = self._wanted(target, note)
        bmc = self._bmc(note)
        self._check_identity(target, note, self._asked(lambda: bmc.guid(deadline), deadline), wanted)
        self._suites[note.node] = bmc.cipher_suite
        return _Known(bmc, note, wanted)

    def _bmc(self, note: Note) -> Bmc:
        return Bmc(self._context, note, self._notes.password(note), first=self._suites.get(note.node, 0))

    def _note(self, target: Target) -> Note:
        notes = self._notes.all()
        note = notes.get(target.node)
        if note is None:
            raise Unknown(
                f"node {target.node} has put no BMC on record",
                help=f"name it in plugins.{NAME} of that node's pvc.yaml, and restart pvcnoded there",
            )
        for other in notes.values():
            if other.node != note.node and (other.address, other.port) == (note.address, note.port):
                raise Unknown(
                    f"nodes {note.node} and {other.node} name the same BMC, {note.where}: whose it is cannot be told",
                    help="correct the address in one of their pvc.yaml",
                )
            if note.uuid and other.uuid == note.uuid and other.node != note.node:
                raise Unknown(
                    f"nodes {note.node} and {other.node} give the same uuid for their BMCs",
                    help=f"correct plugins.{NAME}.uuid in one of their pvc.yaml",
                )
        return note

    def _wanted(self, target: Target, note: Note) -> UUID:
        """Who the BMC must say it is."""
        try:
            return UUID(note.uuid or target.uuid)
        except ValueError:
            raise Unknown(
                f"nobody knows the UUID of node {target.node}, so its BMC cannot be told from another's",
                help=f"write what its BMC calls itself to plugins.{NAME}.uuid of that node's pvc.yaml",
            ) from None

    def _check_identity(self, target: Target, note: Note, raw: bytes, wanted: UUID) -> None:
        if says_nothing(raw):
            raise Unknown(
                f"the BMC at {note.where} does not know its machine's UUID, so it cannot be told from another's",
                help="set it with the maker's tool",
            )
        if not is_guid_of(raw, wanted):
            raise WrongMachine(
                f"the BMC at {note.where} is not that of node {target.node}: its GUID is {readings(raw)[0]}"
                f" (or {readings(raw)[2]}), the node's UUID {wanted}; nothing was done to it",
                help=f"correct the address in pvc.yaml of node {target.node}: are two BMCs swapped?",
            )

    def _power(self, known: _Known, deadline: Deadline) -> Power:
        return self._asked(lambda: known.bmc.power(deadline), deadline)

    def _off(self, known: _Known, permit: Callable[[], None], deadline: Deadline) -> None:
        """Tell it until power reads off. Raises Disobeyed, and what `permit` raises."""
        read_on = False
        while True:
            permit()
            self._asked(lambda: known.bmc.switch_off(deadline), deadline)
            again_s = self._clock.boottime_s() + TELL_AGAIN_S
            while self._clock.boottime_s() < again_s:
                if self._reads_off(known, deadline, read_on):
                    return
                read_on = True

    def _reads_off(self, known: _Known, deadline: Deadline, read_on: bool) -> bool:
        """After it was told so. `read_on`: it read on since; then a last question without an answer changes nothing."""
        sentence = f"the BMC at {known.note.where} was told to switch off, and power still reads on"
        try:
            if self._power(known, deadline) is Power.OFF:
                return True
        except Retry as error:
            raise Disobeyed(f"{sentence}; then {error.message}") if read_on else error from None
        self._wait(deadline, sentence)
        return False

    def _still_off(self, target: Target, deadline: Deadline) -> None:
        """Once more, from the identity on: a first reading may be a moment of a restart, or another machine's that has
        the same address by mistake.
        """
        known = self._identified(target, deadline)
        if self._power(known, deadline) is not Power.OFF:
            raise Disobeyed(f"power of node {target.node} read off, and on again a moment later")

    def _wait(self, deadline: Deadline, sentence: str) -> None:
        if deadline.left_s() <= LOOK_S:
            raise Disobeyed(sentence)
        self._sleep(LOOK_S)

    def _asked(self, call: Callable[[], T], deadline: Deadline) -> T:
        """Until it answers: a packet may be lost, and a BMC is slow at times."""
        while True:
            try:
                return call()
            except Retry:
                if deadline.left_s() <= LOOK_S:
                    raise
                self._sleep(LOOK_S)


def read_password(path: str) -> str:
    """The file's first line. Raises Permanent."""
    try:
        with open(path) as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise Permanent(
                    f"{path}, the password of this node's BMC, can be read by others than root",
                    help=f"chmod 600 {path}",
                )
            password = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Permanent(f"{path}, the password of this node's BMC, cannot be read: {why}") from None
    if not 0 < len(password.encode()) <= PASSWORD_BYTES:
        raise Permanent(f"the first line of {path} is no password of a BMC: 1 to {PASSWORD_BYTES} bytes are allowed")
    return password


class _NotAllowed(Refused):
    """The caller does not want it any more."""


class _Steps:
    def __init__(self) -> None:
        self.found: list[TestStep] = []
        self._name = ""

    def begin(self, name: str) -> None:
        self._name = name

    def done(self, said: str) -> None:
        self.found.append(TestStep(name=self._name, passed=True, said=said))

    def failed(self, error: PvcError) -> None:
        self.found.append(TestStep(name=self._name, passed=False, said=str(error)))


def _no_proof(target: Target, error: PvcError, acted: bool) -> NoProof:
    return NoProof(rung=NAME, node=target.node, why=_why(error), reason=error.message, help=error.help, acted=acted)


def _why(error: PvcError) -> Why:
    match error:
        case WrongMachine():
            return Why.WRONG_MACHINE
        case Unknown():
            return Why.UNKNOWN
        case _NotAllowed():
            return Why.NOT_ALLOWED
        case Disobeyed():
            return Why.DISOBEYED
        case Retry():
            return Why.UNREACHABLE
        case Permanent():
            return Why.DENIED
        case _:
            return Why.FAILED
