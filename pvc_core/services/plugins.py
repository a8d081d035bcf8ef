"""The active plugins, and the actions that only they can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from marshmallow import ValidationError

from pvc_core.errors import Invalid, NotFound, Refused
from pvc_core.model.node import PluginSeen
from pvc_core.model.task import Task
from pvc_core.services.desk import Desk
from pvc_core.services.tasks import TaskService


@dataclass(frozen=True, slots=True)
class PluginService:
    desk: Desk
    tasks: TaskService

    def list(self) -> list[PluginSeen]:
        """As the nodes have loaded them; one that is broken anywhere is shown as broken, with the node in the
        reason.
        """
        merged: dict[str, PluginSeen] = {}
        for node, kept in sorted(self.desk.view.node_seen.items()):
            for plugin in kept.value.plugins:
                if plugin.state != "active":
                    merged[plugin.name] = _named(plugin, node)
                else:
                    merged.setdefault(plugin.name, plugin)
        return [merged[name] for name in sorted(merged)]

    def who_can(self, action: str) -> str:
        """The plugin that has this action. Raises Refused when none has."""
        for name, plugin in sorted(self.desk.plugins.items()):
            if any(item.name == action for item in plugin.actions):
                return name
        raise Refused(
            f"no plugin of this cluster can do that: none has an action {action!r}",
            help="name a plugin that has it in pvc.yaml; `pvc plugin list` shows them",
        )

    def run(self, name: str, action: str, args: Mapping[str, object], *, node: str | None, by: str) -> Task:
        """Run an action as a task. Raises NotFound (plugin, action), Invalid (arguments, node)."""
        plugin = self.desk.plugins.get(name)
        if plugin is None:
            raise NotFound(
                f"there is no plugin {name!r}", help=f"active: {', '.join(sorted(self.desk.plugins)) or 'none'}"
            )
        found = next((item for item in plugin.actions if item.name == action), None)
        if found is None:
            known = ", ".join(item.name for item in plugin.actions) or "none"
            raise NotFound(f"plugin {name} has no action {action!r}", help=f"its actions: {known}")
        try:
            found.schema().load(dict(args))
        except ValidationError as error:
            wrong = {key: " ".join(map(str, value)) for key, value in error.normalized_messages().items()}
            said = "; ".join(f"{key}: {value}" for key, value in wrong.items())
            raise Invalid(f"arguments of {name} {action}: {said}", fields=wrong) from None
        if found.where == "node" and not node:
            raise Invalid(f"{name} {action} acts on one node", help="name it with node=", fields={"node": "missing"})
        where = self.desk.node_known(node) if node and found.where == "node" else ""
        payload: dict[str, object] = {"plugin": name, "action": action, "args": dict(args)}
        return self.tasks.submit(
            self.tasks.new("plugin.action", node=where, args=payload, by=by, status=f"running {name} {action}")
        )


def _named(plugin: PluginSeen, node: str) -> PluginSeen:
    return replace(plugin, reason=f"{node}: {plugin.reason}")
