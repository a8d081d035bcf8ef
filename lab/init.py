"""The first process of a lab node: puts up the walls, starts the units, reaps what ends. Killed, the node is off.

Started by node.py with one argument, a JSON file: {hostname, own, visible, units, enabled, env}. Leaves
the network to network.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from lab import LabError, control, walls
from lab.supervisor import LOGS, Supervisor
from lab.unitfile import read_unit

BOOTED = Path("/run/systemd/system")  # sd_booted(3): lab/systemctl.py answers for it
LOCKS = Path("/run/lock")  # as every Debian has it; virsh console wants it


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    try:
        units = [read_unit(Path(path)) for path in plan["units"]]
        socket.sethostname(plan["hostname"])
        walls.put_up(
            {target: Path(source) for target, source in plan["own"].items()}, [Path(p) for p in plan["visible"]]
        )
        _log_anew()
        walls.seal()
        BOOTED.mkdir(parents=True)
        LOCKS.mkdir()
        LOCKS.chmod(0o1777)
    except (LabError, OSError) as error:
        sys.exit(f"the node {plan['hostname']} cannot boot: {error}")
    asyncio.run(_run(Supervisor(units, plan["env"], plan["enabled"]), plan))


def _log_anew() -> None:
    """Write on to the same log, but by its name inside the walls: the one we were given lies on what is about to be
    sealed.
    """
    log = os.open(LOGS / "init.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


async def _run(supervisor: Supervisor, plan: dict[str, Any]) -> None:
    print(f"{plan['hostname']} is up; its units wait for the word to start", flush=True)
    await control.serve(supervisor)


if __name__ == "__main__":
    main()
