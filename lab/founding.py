"""What a person does once on each new node before its daemons start: found the cluster on the first, let the others
join it. The commands are those of docs/installing.md.
"""

from __future__ import annotations

from lab import control, node
from lab.processes import Process
from lab.state import Lab, Plan

CONFIG = "/etc/pvc/pvc.yaml"


def install(lab: Lab, plan: Plan, name: str, init: Process) -> None:
    """Make `name` a node of the cluster; the first node's daemons must run when the others come. Raises LabError."""
    first = plan.nodes[0]
    if name == first:
        node.run_inside(init, ["pvcnoded", "init", "--config", CONFIG], f"founding the cluster on {name}")
        return
    founder = lab.needs(first)
    control.ask(founder, "start", unit="pvcnoded")  # returns when it is up: it answers who wants to join
    token = node.run_inside(founder, ["pvcnoded", "token", "--for", name, "--config", CONFIG], f"a token for {name}")
    node.run_inside(init, ["pvcnoded", "hostnet", "--config", CONFIG], f"the way from {name} to {first}")
    node.run_inside(init, ["pvcnoded", "join", token.strip(), "--config", CONFIG], f"joining {name} to the cluster")
