"""Whether a node could be fenced: every coordinator is asked, because any of them may be the one that has to.

Looking only; what happens to a node that is lost is not asked for here.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import NotFound, PvcError
from pvc_core.services.desk import Desk

ANSWER_S = 25.0
"""One rung's self-test may take ten seconds, and there may be two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceStep:
    """One line of the answer: what `coordinator` found at this step of `rung`."""

    coordinator: str
    rung: str
    step: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class FenceService:
    desk: Desk
    coordinators: tuple[str, ...]

    def test(self, node: str) -> tuple[FenceStep, ...]:
        """Each coordinator's self-test of each rung against `node`; nothing is switched. Raises NotFound."""
        if node not in self.desk.view.node_seen:
            raise NotFound(f"there is no node {node!r}", help="`pvc node list` shows those there are")
        if self.desk.inline or len(self.coordinators) == 1:
            return tuple(line for name in self.coordinators for line in self._ask(name, node))
        with ThreadPoolExecutor(len(self.coordinators)) as pool:
            found = list(pool.map(lambda name: self._ask(name, node), self.coordinators))
        return tuple(line for lines in found for line in lines)

    def _ask(self, coordinator: str, node: str) -> tuple[FenceStep, ...]:
        try:
            answer = self.desk.ask(coordinator, "fence_test", {"node": node}, deadline_s=ANSWER_S).result
        except PvcError as error:
            return (FenceStep(coordinator=coordinator, rung="", step="ask", passed=False, said=str(error)),)
        return tuple(_step(coordinator, rung, step) for rung in answer["rungs"] for step in rung["steps"])


def _step(coordinator: str, rung: Mapping[str, Any], step: Mapping[str, Any]) -> FenceStep:
    return FenceStep(
        coordinator=coordinator,
        rung=str(rung["rung"]),
        step=str(step["name"]),
        passed=bool(step["passed"]),
        said=str(step["said"]),
    )
