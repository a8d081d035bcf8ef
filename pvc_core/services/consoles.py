"""The serial console of a VM as one text, though each node where the guest was has a part. How one part is followed
while it grows is following.py.

A node's log holds the stays of the guest there, each after a line that names where it came from (`arrival_line`). What
it wrote before therefore is the last stay in that node's log, and so on backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pvc_core.contracts.compute import came_from
from pvc_core.errors import PvcError, Refused
from pvc_core.services.desk import Desk, Reply
from pvc_core.services.following import LogFlow
from pvc_core.services.lines import ConsoleLine
from pvc_core.services.pictures import VmPicture

ASK_S = 10.0
STAYS_MAX = 20
"""A guest that moves to and fro every minute shall not have each node asked for ever."""


@dataclass(frozen=True, slots=True)
class Consoles:
    desk: Desk

    def show(self, vm: VmPicture, lines: int) -> str:
        """The last `lines` lines, of whichever nodes have them. Raises Retry when its present node does not answer."""
        if not vm.node:
            return ""
        logs = _Logs(partial(self._log, vm.wanted.uuid, lines))
        present = logs.last_stay(vm.node)
        return _last([*self._earlier(logs, vm.node, present, lines), *present], lines)

    def open(self, vm: VmPicture, lines: int) -> ConsoleLine:
        """Both ways: what follow() says, for a terminal, and a way to type. Raises Refused for one that never ran."""
        flow, uuid = self.follow(vm, lines, newline=b"\r\n"), vm.wanted.uuid
        if vm.runs:
            with suppress(PvcError):  # what is typed will say so again
                self.desk.ask(vm.node, "console_write", {"uuid": uuid, "open": True}, deadline_s=ASK_S)
        return ConsoleLine(flow, self.desk.clock, self.desk.ask, uuid, partial(self._moved, uuid, ""))

    def follow(self, vm: VmPicture, lines: int, *, newline: bytes = b"\n") -> LogFlow:
        """The last lines, then what comes, until it is closed; also on the next node when the guest moves."""
        need_node(vm)
        uuid = vm.wanted.uuid
        logs = _Logs(partial(self._log, uuid, lines))
        present = logs.last_stay(vm.node)
        earlier = self._earlier(logs, vm.node, present, lines)
        return LogFlow(
            partial(self._ask, uuid), vm.node, lines=lines, by_lines=False, clock=self.desk.clock,
            moved=partial(self._moved, uuid),
            before=_last([*earlier, *present[:1]], lines - len(present) + 1).encode() if earlier else b"",
            newline=newline,
        )  # fmt: skip

    def _earlier(self, logs: _Logs, node: str, present: list[str], lines: int) -> list[str]:
        """What stands before the present stay, as far as it is asked for; its first line says where one cannot know."""
        found: list[str] = []
        first = present[0] if present else ""
        for _ in range(STAYS_MAX):
            from_ = came_from(first)
            if not from_ or len(found) + len(present) >= lines:
                break
            try:
                stay = logs.last_stay(from_)
            except PvcError as error:
                return [f"[pvc: what it wrote on {from_} cannot be shown now: {error.message}]\n", *found]
            found = [*stay, *found]
            first = stay[0] if stay else ""
        return found

    def _log(self, uuid: str, lines: int, node: str) -> str:
        reply = self.desk.ask(node, "console", {"uuid": uuid, "lines": lines}, deadline_s=ASK_S)
        return str(reply.result.get("data", ""))

    def _ask(self, uuid: str, node: str, args: Mapping[str, Any]) -> Reply:
        return self.desk.ask(node, "console", {"uuid": uuid, **args}, deadline_s=ASK_S)

    def _moved(self, uuid: str, node: str) -> str:
        """Who holds the guest now, if it is not `node`."""
        claim = self.desk.view.claims.get(uuid)
        return claim.value.holder if claim is not None and claim.value.holder != node else ""


def need_node(vm: VmPicture) -> None:
    """Raises Refused for a VM that has never been anywhere."""
    if not vm.node:
        raise Refused(f"VM {vm.wanted.name} lives on no node yet, so it has no console")


@dataclass(slots=True)
class _Logs:
    """Each node is asked once; its stays are taken from the last one backwards."""

    ask: Callable[[str], str]
    _left: dict[str, list[str]] = field(default_factory=dict)

    def last_stay(self, node: str) -> list[str]:
        """Its lines, the first of which says where it came from. [] when there is no other in the log."""
        if node not in self._left:
            self._left[node] = self.ask(node).splitlines(keepends=True)
        left = self._left[node]
        start = next((number for number in reversed(range(len(left))) if came_from(left[number])), 0)
        self._left[node] = left[:start]
        return left[start:]


def _last(lines: list[str], count: int) -> str:
    return "".join(line if line.endswith("\n") or line is lines[-1] else f"{line}\n" for line in lines[-count:])
