"""Even out the cluster: show what would be moved and why, or have it done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from pvc_core.model.task import Task
from pvc_core.policy.rebalance import PlannedMove, rebalance
from pvc_core.services.desk import Desk
from pvc_core.services.tasks import TaskService


@dataclass(frozen=True, slots=True)
class RebalanceService:
    desk: Desk
    tasks: TaskService

    def plan(self) -> list[PlannedMove]:
        """What `run` would do now; empty when all is well."""
        return rebalance(self.desk.view, self.desk.descriptions.of)

    def run(self, *, by: str) -> Task:
        """The task that carries the present plan out."""
        plan = self.plan()
        status = f"moving {len(plan)} VM{'' if len(plan) == 1 else 's'}"
        args: dict[str, object] = {"moves": [asdict(move) for move in plan]}
        task = self.tasks.new("cluster.rebalance", node="", args=args, by=by, status=status)
        return self.tasks.submit(replace(task, total=len(plan)))
