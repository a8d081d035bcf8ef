"""What `script/lab status` says of a lab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab import bmcs, ensemble, node, up
from lab.processes import Process
from lab.state import FORWARDER, SWITCH, Lab


def status(lab: Lab) -> Iterator[str]:
    """Yield lines. Raises LabError where there is no such lab."""
    plan = lab.plan()
    where = up.api_url(plan) if plan.ready else "not ready"
    yield f"lab {lab.name}: {where}, store {plan.store}, storage {plan.storage}"
    for helper in (SWITCH, FORWARDER):
        yield f"  {helper:24}{'on' if lab.process(helper) else 'off'}"
    for name in plan.nodes:
        init = lab.process(name)
        cuts = sorted(lab.cuts(name))
        cut = f", cut off from {', '.join(cuts)}" if cuts else ""
        yield f"  {name:24}{f'on, process {init.pid}' if init else 'off'}{cut}"
        yield f"    {'BMC':22}{bmcs.address(plan, name)}, {bmcs.fault(lab, name)}"
        for unit in node.status(init) if init else ():
            yield f"    {unit['unit']:22}{_words(unit)}{_role(lab, name, init, unit)}"


def _words(unit: dict[str, Any]) -> str:
    restarts = f", restarted {unit['restarts']} times" if unit["restarts"] else ""
    return f"{unit['state']}{': ' + unit['why'] if unit['why'] else ''}{restarts}"


def _role(lab: Lab, name: str, init: Process | None, unit: dict[str, Any]) -> str:
    """Leader or follower, of a ZooKeeper server."""
    if unit["unit"] != node.STORES["zookeeper"] or unit["state"] != "active" or init is None:
        return ""
    return f", {ensemble.role(lab, init, name)}"
