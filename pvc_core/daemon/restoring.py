"""pvcnoded's part in restoring a backup: its content comes as bytes for a task, and nodes are asked who runs what.

What is done with both is reconcile/kinds/restore.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from pvc_core.cluster import layout
from pvc_core.errors import Invalid, NotFound, Permanent
from pvc_core.peer import Answer, Handler
from pvc_core.policy.standstill import Served, goes_on
from pvc_core.reconcile.engine import Job
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.kinds.restore import NodeAccount
from pvc_core.reconcile.rollcall import list_running
from pvc_core.schema.typed import from_plain

CONTENT_MAX_BYTES = 256 * 1024**2
ASK_S = 12.0

AskNode = Callable[..., Any]
"""Channel.ask."""


class Restoring:
    """`running` is what this daemon's engines are at work on now. `ask` is given when there is a channel."""

    def __init__(self, ground: Ground, served: Callable[[], Served], running: Callable[[], list[Job]]) -> None:
        self._ground, self._served, self._running = ground, served, running
        self._content: dict[str, Mapping[str, Any]] = {}
        self.ask: AskNode | None = None
        self.came: Callable[[str], None] = lambda task_id: None
        """Told that a task's content is there."""

    def handlers(self) -> Mapping[str, Handler]:
        return {"backup_content": self._take, "account": self._answer}

    def content(self, task_id: str) -> Mapping[str, Any] | None:
        return self._content.get(task_id)

    def forget(self, task_id: str) -> None:
        self._content.pop(task_id, None)

    def account(self, node: str) -> NodeAccount:
        if node == self._ground.node:
            plain = self._own()
        elif self.ask is None:
            raise Permanent("other nodes cannot be asked from here")
        else:
            plain = self.ask(node, "account", {}, deadline_s=ASK_S).result
        return from_plain(plain, NodeAccount)

    def _answer(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        return Answer(self._own())

    def _own(self) -> dict[str, Any]:
        """Raises Retry rather than leave a guest out."""
        ground, era = self._ground, self._ground.view.era.get(layout.ONLY)
        own = NodeAccount(
            node=ground.node,
            guests={guest.uuid: guest.name or guest.uuid for guest in list_running(ground)},
            shown=(era.value.era, era.value.restoring) if era else (0, ""),
            served_era=self._served().era,
            busy=tuple(f"{kind} {key}" for kind, key in self._running() if not goes_on(ground.view, kind, key)),
        )
        plain: dict[str, Any] = msgspec.to_builtins(own)
        return plain

    def _take(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """Keep it until its task asks. Raises NotFound, Invalid."""
        id = str(args["task"])
        kept = self._ground.repository.find(layout.TASKS, id)
        if kept is None or kept.value.kind != "cluster.restore" or kept.value.ended:
            raise NotFound(f"there is no task {id} that restores a backup")
        data = bytearray()
        for piece in body:
            data += piece
            if len(data) > CONTENT_MAX_BYTES:
                raise Invalid(f"the backup has more than {CONTENT_MAX_BYTES // 1024**2} MiB")
        try:
            self._content = {id: msgspec.json.decode(bytes(data), type=dict)}
        except msgspec.MsgspecError as error:
            raise Invalid(f"the backup is no JSON object: {error}") from None
        self.came(id)
        return Answer()
