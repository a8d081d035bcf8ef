"""The task that runs a plugin's action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pvc_core.errors import Permanent
from pvc_core.reconcile.task import Done, Job, TaskKind


def action(job: Job) -> Done:
    name, what = str(job.task.args["plugin"]), str(job.task.args["action"])
    call, plugin = job.ground.actions.get((name, what)), job.ground.plugins.get(name)
    found = next((item for item in plugin.actions if item.name == what), None) if plugin else None
    if call is None or found is None:
        raise Permanent(
            f"plugin {name} on node {job.ground.node} has no action {what}",
            help="is the same version installed on all nodes?",
        )
    args = cast(Mapping[str, Any], found.schema().load(cast(dict[str, Any], job.task.args["args"])))
    result = job.ground.calls(
        f"action/{name}/{what}", f"{name} {what}", found.deadline_s, lambda: call(args, job.progress)
    )
    return Done(status=str(result.get("message") or f"{name} {what} is done"), result=result)


KINDS: Mapping[str, TaskKind] = {"plugin.action": TaskKind(do=action)}
