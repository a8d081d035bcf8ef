"""One node of a lab: switched on and off like a machine, entered like one. What it is made of: files.py, walls.py,
init.py, network.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import LabError, ceph, control, files, kernel, network, processes
from lab.processes import Process
from lab.state import REPOSITORY, SWITCH, Lab, Plan

WALLS = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC
# Where --plugin packages are installed, as the node sees it.
PLUGINS = "/var/lib/lab-plugins"
# Where a test holds a daemon at a step (pvc_core/daemon/moments.py); empty otherwise.
HOLD = "/run/lab/hold"
EVERYWHERE = ("pvc-hostnet.service", "libvirtd.service", "pvcguard.service", "pvcnoded.service", "pvc-leave.service")
ON_COORDINATORS = ("pvcapid.service",)
STORES = {"embedded": "pvcstored.service", "zookeeper": "pvc-zookeeper.service"}
Prepare = Callable[[Process], None]


def environment() -> dict[str, str]:
    """Return the environment of everything in a node: the virtualenv's programs first, as if they were installed."""
    own = f"{REPOSITORY / 'lab/bin'}:{Path(sys.prefix) / 'bin'}"
    path = f"{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    common = {"PATH": path, "LANG": "C.UTF-8", "PYTHONPATH": PLUGINS, "PYTHONUNBUFFERED": "1"}
    return {**common, "PVC_HOLD": HOLD}


def switch_on_network(lab: Lab) -> Process:
    """Start the switch: bridges and DHCP server. Nothing where it runs already."""
    running = lab.process(SWITCH)
    if running is not None:
        return running
    if not lab.node_dir(SWITCH).exists():
        files.make_switch_files(lab)
    waiting = prepare(lab, SWITCH, sorted((REPOSITORY / "lab/units/switch").glob("*.service")), {})
    network.make_switch(waiting.process)
    return boot(waiting)


def switch_on(lab: Lab, plan: Plan, node: str, *, first_boot: Prepare | None = None) -> Process:
    """Boot `node`: namespaces, cables, first process, units. Nothing where it runs. Does not wait for the units.

    `first_boot` is called before its units start, for what a person does once when installing a node.
    """
    running = lab.process(node)
    if running is not None:
        return running
    if not lab.node_dir(node).exists():
        files.make_node_files(lab, plan, node)
    shared = {files.VOLUMES: lab.root / "volumes", PLUGINS: lab.root / "plugins"}
    if plan.storage == "ceph":
        shared[str(ceph.directory(lab))] = ceph.directory(lab)
    for path in shared.values():
        path.mkdir(exist_ok=True)
    switch = switch_on_network(lab)
    waiting = prepare(lab, node, all_units(), shared, enabled=units_of(plan, node))
    network.plug_in(switch, waiting.process, node, plan.nodes.index(node) + 1, cut=lab.cuts(node))
    return boot(waiting, first_boot)


def switch_off(lab: Lab, node: str) -> None:
    """Everything in the node dies at once, as when the power goes. What it had written to disk stays.

    Its cables come off first: a dying process closes its connections, and a machine without power tells nobody.
    """
    running, switch = lab.process(node), lab.process(SWITCH)
    if running is not None:
        if switch is not None:
            network.part(switch, node)
        running.kill()
    if switch is not None:
        network.unplug(switch, node)
    lab.record(node).unlink(missing_ok=True)


def cut(lab: Lab, node: str, networks: Sequence[network.Network]) -> None:
    """Part the node from the others on `networks`, until heal(), also while and after it is off."""
    for item in networks:
        lab.note_cut(node, item.name, cut=True)
    if lab.process(node) is not None:
        network.part(lab.needs(SWITCH), node, networks)


def heal(lab: Lab, node: str, networks: Sequence[network.Network]) -> None:
    """Undo cut()."""
    for item in networks:
        lab.note_cut(node, item.name, cut=False)
    if lab.process(node) is not None:
        network.join(lab.needs(SWITCH), node, networks)


def units_of(plan: Plan, node: str) -> list[str]:
    """Which are enabled when the node is new."""
    if plan.fresh:
        return []
    if node not in plan.coordinators:
        return [*ceph.units(plan, node), *EVERYWHERE]
    return [STORES[plan.store], *ceph.units(plan, node), *EVERYWHERE, *ON_COORDINATORS]


def enter(init: Process, argv: Sequence[str], *, interactive: bool = False) -> subprocess.CompletedProcess[str]:
    """Run `argv` inside the node of `init`, as root, with the node's environment; its output is returned unless
    `interactive`.
    """
    inside = [
        "nsenter",
        "--target",
        str(init.pid),
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--wdns=/",
        "--",
        *argv,
    ]
    env = {**environment(), "HOME": "/root", "TERM": os.environ.get("TERM", "dumb")}
    return subprocess.run(inside, env=env, capture_output=not interactive, text=True, check=False)


def run_inside(init: Process, argv: Sequence[str], what: str) -> str:
    """Run `argv` inside the node and return its output; raises LabError with `what` and what it said where it fails."""
    done = enter(init, argv)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(f"{what}: {argv[0]} ended with {done.returncode}: {' / '.join(said[-5:]) or 'it said nothing'}")
    return done.stdout


def status(init: Process) -> list[dict[str, Any]]:
    """Return the node's units: dicts with unit, state, why, pid, restarts."""
    answer: list[dict[str, Any]] = control.ask(init, "status")
    return answer


def boot(waiting: processes.Waiting, first_boot: Prepare | None = None) -> Process:
    """Let the first process put up the walls, call `first_boot`, start the units (but do not wait for them)."""
    init = waiting.go()
    control.await_init(init, waiting.log)
    if first_boot is not None:
        first_boot(init)
    control.ask(init, "boot")
    return init


def all_units() -> list[Path]:
    """What ships, and the stand-ins for the distribution's own."""
    return [path for place in ("deploy", "lab/units") for path in sorted((REPOSITORY / place).glob("*.service"))]


def prepare(
    lab: Lab,
    name: str,
    units: Sequence[Path],
    own: Mapping[str, Path],
    *,
    visible: Sequence[Path] = (),
    enabled: Sequence[str] | None = None,
) -> processes.Waiting:
    """Make the namespaces of a node with these units; its first process waits to be told to go on, its network is bare.

    `own`: further directories, by the path under which the node sees them. `visible`: what it sees of the machine
    besides the repository wherever that lies. `enabled`: the units that start at boot,
    all if nothing is said. The node's etc and var must be there.
    """
    place = lab.node_dir(name)
    seen = {REPOSITORY, *visible}
    if not Path(sys.prefix).is_relative_to(REPOSITORY):
        seen.add(Path(sys.prefix))
    boot = {
        "hostname": name,
        "own": {"/etc": str(place / "etc"), "/var": str(place / "var")} | {to: str(path) for to, path in own.items()},
        "visible": sorted(map(str, seen)),
        "units": [str(path) for path in units],
        "enabled": list(enabled) if enabled is not None else None,
        "env": environment(),
    }
    (place / "boot.json").write_text(json.dumps(boot, indent=1))
    return processes.prepare(
        lab.record(name),
        [sys.executable, "-P", "-m", "lab.init", str(place / "boot.json")],
        log=place / "var/log/pvc/init.log",
        env={**environment(), "PYTHONPATH": str(REPOSITORY)},
        namespaces=WALLS,
    )
