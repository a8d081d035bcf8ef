"""What pvcguard answers on /run/pvc/guard.sock; client.py is the other end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from pvc_core.clock import Clock
from pvc_core.errors import Invalid, Permanent, Refused
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.permits import Permits
from pvc_core.peer import Answer, Handler
from pvc_core.schema.typed import from_plain

T = TypeVar("T")


class Intervals(Protocol):
    """Settings of the guard's, or a Config's intervals. Seconds."""

    @property
    def heartbeat_s(self) -> float: ...
    @property
    def self_fence_s(self) -> float: ...
    @property
    def promise_s(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitArgs:
    uuid: str
    generation: int
    kind: Literal["start", "incoming"]
    for_s: float
    incarnation: str = ""
    """Who asks acts for this incarnation; "" is not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeArgs:
    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """`heard_ago_s`: since the last accepted heartbeat was sent; None if none was in this incarnation.

    `deadline_boottime_s` is None while not armed. `condemned`: why this incarnation is given up, "" when it is not.
    """

    node: str
    incarnation: str
    armed: bool
    heard_ago_s: float | None
    deadline_boottime_s: float | None
    condemned: str = ""
    frozen: tuple[str, ...] = ()
    """UUIDs of the guests that stand still now."""
    goes_by: dict[str, str] = field(default_factory=dict)
    """What it took from pvc.yaml when it began, or from the last good one: goes_by()."""


def goes_by(coordinators: Sequence[str], intervals: Intervals) -> dict[str, str]:
    """What safety hangs on that the guard takes from pvc.yaml, by its key there."""
    return {
        "cluster.coordinators": ", ".join(coordinators),
        "intervals.heartbeat_s": f"{intervals.heartbeat_s:g}",
        "intervals.self_fence_s": f"{intervals.self_fence_s:g}",
        "intervals.promise_s": f"{intervals.promise_s:g}",
    }


class Answers:
    def __init__(
        self,
        node: str,
        incarnation: str,
        deadline: Deadline,
        permits: Permits,
        clock: Clock,
        frozen: Callable[[], list[str]],
        goes_by: Mapping[str, str],
    ) -> None:
        self._node = node
        self._incarnation = incarnation
        self._deadline = deadline
        self._permits = permits
        self._clock = clock
        self._frozen = frozen
        self._goes_by = goes_by

    def handlers(self) -> dict[str, Handler]:
        return {"permit": self.permit, "revoke": self.revoke, "status": self.status}

    def permit(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """{deadline_boottime_s}. Refused: see Permits.give."""
        asked = _args(args, PermitArgs)
        if asked.incarnation and asked.incarnation != self._incarnation:
            raise Refused(
                f"no permit for {asked.uuid}: it is asked for in incarnation {asked.incarnation}, which is over",
                help="this node has a new incarnation; pvcnoded begins anew by itself",
            )
        try:
            permit = self._permits.give(asked.uuid, asked.generation, asked.kind, asked.for_s)
        except OSError as error:
            raise _unwritable(error) from error
        return Answer({"deadline_boottime_s": permit.deadline_boottime_s})

    def revoke(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """{revoked}: whether there was one."""
        try:
            return Answer({"revoked": self._permits.revoke(_args(args, RevokeArgs).uuid)})
        except OSError as error:
            raise _unwritable(error) from error

    def status(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """GuardStatus."""
        sent_s = self._deadline.last_sent_s
        status = GuardStatus(
            node=self._node,
            incarnation=self._incarnation,
            armed=self._deadline.armed,
            heard_ago_s=None if sent_s is None else self._clock.boottime_s() - sent_s,
            deadline_boottime_s=self._deadline.at_s(),
            condemned=self._deadline.condemned,
            frozen=tuple(self._frozen()),
            goes_by=dict(self._goes_by),
        )
        return Answer(msgspec.to_builtins(status))


def _args(args: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return from_plain(args, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"pvcguard was asked wrongly: {error}") from error


def _unwritable(error: OSError) -> Permanent:
    return Permanent(f"a launch permit cannot be written: {error}", help="look at /run: is it full or read-only?")
