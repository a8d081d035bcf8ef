"""One BMC, asked by ipmitool: four raw commands of IPMI 2.0, and in words why there is no answer.

ipmitool is a process of its own: one that hangs is killed at its deadline, and several sessions share nothing. (The
Python library pyghmi keeps one I/O thread and global session lists for the whole process.) Commands are sent raw and
answers read as bytes, so that no wording of ipmitool's decides over a guest. The password goes in by standard input:
it is in no argument, no environment and no file. The cipher suite is always named: left to itself ipmitool asks for a
list first and waits 13 s for BMCs that have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pvc_core.clock import Clock
from pvc_core.contracts.plugin import Completed, PluginContext
from pvc_core.errors import Permanent, PvcError, Retry
from pvc_core.model.fence import Power
from pvc_fence_ipmi.notes import Note

GET_SYSTEM_GUID: Sequence[int] = (0x06, 0x37)  # IPMI 2.0 section 22.14
GET_CHASSIS_STATUS: Sequence[int] = (0x00, 0x01)  # 28.2
CHASSIS_OFF: Sequence[int] = (0x00, 0x02, 0x00)  # 28.3: hard off, at once
CHASSIS_ON: Sequence[int] = (0x00, 0x02, 0x01)
POWER_IS_ON = 0x01
"""Bit of the first byte of Get Chassis Status."""

TRY_S, TRIES = 1, 2
"""How long ipmitool waits for one answer, and how often it asks again."""

DENIED = re.compile(r"HMAC is invalid|unauthorized|insufficient privilege|privilege level|incorrect password", re.I)
NO_CIPHER = re.compile(r"invalid (authentication|integrity|confidentiality) algorithm|no matching cipher suite", re.I)
NO_HOST = re.compile(r"address lookup for", re.I)


class NoSuchCipher(Permanent):
    """The BMC does not speak this cipher suite; another may do."""


@dataclass(frozen=True, slots=True)
class Deadline:
    clock: Clock
    at_s: float

    @classmethod
    def within(cls, clock: Clock, seconds: float) -> Deadline:
        return cls(clock, clock.boottime_s() + seconds)

    def left_s(self) -> float:
        return self.at_s - self.clock.boottime_s()


class Bmc:
    """Every call raises Retry (no answer), Permanent (not let in, not understood); returns before `deadline`."""

    def __init__(self, context: PluginContext, note: Note, password: str, *, first: int = 0) -> None:
        """`first`: the cipher suite that worked last time."""
        self._context, self._note, self._password = context, note, password
        self._suites = sorted(note.cipher_suites, key=lambda suite: suite != first)
        self.cipher_suite = 0
        """The one that worked; 0 before any did."""

    def guid(self, deadline: Deadline) -> bytes:
        """Sixteen bytes, as sent."""
        raw = self._ask(GET_SYSTEM_GUID, deadline)
        if len(raw) != 16:
            raise Permanent(f"the BMC at {self._note.where} does not know its machine's UUID: it sent {len(raw)} bytes")
        return raw

    def power(self, deadline: Deadline) -> Power:
        raw = self._ask(GET_CHASSIS_STATUS, deadline)
        if not raw:
            raise Permanent(f"the BMC at {self._note.where} sent no chassis status")
        return Power.ON if raw[0] & POWER_IS_ON else Power.OFF

    def switch_off(self, deadline: Deadline) -> None:
        self._ask(CHASSIS_OFF, deadline)

    def switch_on(self, deadline: Deadline) -> None:
        self._ask(CHASSIS_ON, deadline)

    def _ask(self, command: Sequence[int], deadline: Deadline) -> bytes:
        """With the suite that worked, or each in turn."""
        suites = [self.cipher_suite] if self.cipher_suite else self._suites
        for suite in suites:
            try:
                answer = self._ask_with(suite, command, deadline)
            except NoSuchCipher:
                continue
            self.cipher_suite = suite
            return answer
        raise Permanent(
            f"the BMC at {self._note.where} speaks none of the cipher suites {', '.join(map(str, suites))}",
            help="name one that it has in cipher_suites; `ipmitool channel getciphers ipmi` on its node lists them",
        )

    def _ask_with(self, suite: int, command: Sequence[int], deadline: Deadline) -> bytes:
        argv = [
            "ipmitool", "-v", "-I", "lanplus", "-H", self._note.address, "-p", str(self._note.port),
            "-U", self._note.user, "-f", "/dev/stdin", "-C", str(suite), "-L", "OPERATOR",
            "-N", str(TRY_S), "-R", str(TRIES), "raw", *(f"0x{byte:02x}" for byte in command),
        ]  # fmt: skip
        if deadline.left_s() <= 0:
            raise Retry(f"the BMC at {self._note.where} does not answer in time")
        try:
            done = self._context.run(argv, deadline_s=deadline.left_s(), stdin=self._password.encode() + b"\n")
        except Retry:
            raise Retry(f"the BMC at {self._note.where} does not answer in time") from None
        if done.returncode == 0:
            return bytes.fromhex("".join(done.stdout.split()))
        raise self._error(done, suite)

    def _error(self, done: Completed, suite: int) -> PvcError:
        """From ipmitool's words; they are kept to ourselves, for nobody knows what else is in them."""
        where, said = self._note.where, done.stderr
        if NO_CIPHER.search(said):
            return NoSuchCipher(f"the BMC at {where} does not speak cipher suite {suite}")
        if DENIED.search(said):
            return Permanent(
                f"the BMC at {where} does not let user {self._note.user} in with cipher suite {suite}",
                help="is the password right, and may the user act as Operator over LAN? Suites 17 and 3 are the usual",
            )
        if NO_HOST.search(said):
            return Retry(f"the name {where} of a BMC leads nowhere", help="give its address instead of a name")
        return Retry(f"the BMC at {where} does not answer")
