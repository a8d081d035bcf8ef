"""`pvcnoded coordinators`: other names in cluster.coordinators of this node, and all that follows from it here.

Run on one node after the other. What makes a server a member is its place in the list; founding/ensemble.py renders it.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pvc_core.config import Config, ZookeeperStore, load
from pvc_core.daemon import systemd
from pvc_core.errors import Refused, Retry
from pvc_core.founding import ensemble
from pvc_core.founding.files import PUBLIC, File, write_all
from pvc_core.founding.pki import Place
from pvc_core.founding.places import pki_of
from pvc_core.founding.serving import role
from pvc_core.founding.yamltext import replaced

SERVES_S = 60.0
SERVER = "pvc-zookeeper"


def coordinators_command(options: argparse.Namespace) -> int:
    """Write the list, render, restart what reads it. Again it changes nothing. Raises Refused, Permanent, Retry."""
    config, wanted = load(options.config, node=options.node), tuple(options.names)
    had = config.cluster.coordinators
    if wanted == had:
        print(f"cluster.coordinators is {', '.join(wanted)} already")
        return 0
    checked(config, wanted, serves=lambda name: bool(role(config, name)), anyway=options.anyway)
    write_value(config.file, ("cluster", "coordinators"), f"[{', '.join(wanted)}]", node=options.node)
    print(f"{config.file}: cluster.coordinators is {', '.join(wanted)}")
    follow(load(options.config, node=options.node), alone_before=len(had) == 1)
    return 0


def checked(config: Config, wanted: Sequence[str], *, serves: Callable[[str], bool], anyway: bool) -> None:
    """Raises Refused when `wanted` cannot follow what is there, or the store would lose its majority by it."""
    had = config.cluster.coordinators
    if not isinstance(config.store, ZookeeperStore):
        raise Refused("the embedded store serves one node only", help="move to ZooKeeper first: pvcnoded store move")
    if len(wanted) not in (1, 3, 5) or len(set(wanted)) != len(wanted):
        raise Refused(
            f"{len(wanted)} coordinators ({', '.join(wanted)}) are no ensemble",
            help="name 1, 3 or 5 different ones: an even number survives no more losses than the odd one below it",
        )
    if len(wanted) < len(had):
        raise Refused(
            f"an ensemble of {len(had)} is not made smaller",
            help="replace a coordinator that is gone, in its place in the list",
        )
    moved = [name for number, name in enumerate(had) if name in wanted and wanted.index(name) != number]
    if moved:
        raise Refused(
            f"{', '.join(moved)} would get another number, and a ZooKeeper server keeps its own for life",
            help=f"keep the order of {', '.join(had)}; a new coordinator takes the place of the one it replaces",
        )
    if len(had) == len(wanted) and sum(old != new for old, new in zip(had, wanted, strict=True)) > 1:
        raise Refused("more than one coordinator would be replaced at once", help="replace them one after the other")
    _check_here(config, wanted)
    if not anyway:
        _check_majority(config, wanted, serves)


def write_value(file: Path, path: Sequence[str], value: str, *, node: str | None) -> None:
    """Change one value of pvc.yaml; what stands there afterwards loads, or nothing was changed."""
    before = file.read_text()
    mode = file.stat().st_mode & 0o777
    write_all([File(file, replaced(before, path, value), mode)])
    try:
        load(file, node=node)
    except Exception:  # whatever it was: what stood there before is put back, and the error goes on
        write_all([File(file, before, mode or PUBLIC)])
        raise


def follow(config: Config, *, alone_before: bool) -> None:
    """Render, and restart what has to read pvc.yaml anew: the server first, and the daemons when it serves."""
    serves = ensemble.concerns(config)
    changed = ensemble.ensure_rendered(config) if serves else []
    if not systemd.runs():
        units = [*([SERVER] if changed else []), *systemd.DAEMONS]
        print(f"now restart them, the server first: systemctl restart {' '.join(units)}")
        return
    if changed:
        print(f"{SERVER} begins anew")
        systemd.do("restart", SERVER)
        _await(config)
    print("the daemons begin anew; guests run on")
    systemd.do("try-restart", *systemd.DAEMONS)


def _check_here(config: Config, wanted: Sequence[str]) -> None:
    node, place = config.node, Place(pki_of(config))
    if node in wanted and not place.ca_key.exists():
        raise Refused(
            f"{node} was let in as a hypervisor, without what a coordinator keeps",
            help=f"on a coordinator: pvcnoded token --for {node} --coordinators {','.join(wanted)}; then join with it",
        )
    for name in wanted:
        if name != node and not resolves(name):
            raise Refused(
                f"the name {name} is not known on {node}", help=f"add its cluster address and `{name}` to /etc/hosts"
            )


def resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def _check_majority(config: Config, wanted: Sequence[str], serves: Callable[[str], bool]) -> None:
    """This node's server stops for a moment: the others must be a majority without it, those that copy now too.

    Growing from one there is no majority without it; the others must only listen for it, so the pause is a short one.
    """
    if config.node not in wanted:
        return
    others = [name for name in wanted if name != config.node]
    needed = len(wanted) // 2 + 1
    if len(config.cluster.coordinators) == 1:
        up = [name for name in others if _listens(name)]
        needed -= 1
    else:
        up = _serving(others, needed, serves)
    if len(up) >= needed:
        return
    down = ", ".join(name for name in others if name not in up)
    raise Refused(
        f"the store would lose its majority: of {len(wanted)} servers {needed} besides {config.node}'s are needed, and "
        f"{down} {'does' if len(others) - len(up) == 1 else 'do'} not serve",
        help=f"let {down} join and start {SERVER} there first; --anyway goes on without",
    )


def _serving(others: Sequence[str], needed: int, serves: Callable[[str], bool]) -> list[str]:
    """A server that has begun and does not serve yet copies the others' data: it gets its time, and that is told."""
    until_s, told = time.monotonic() + SERVES_S, False
    while True:
        up = [name for name in others if serves(name)]
        coming = [name for name in others if name not in up and _listens(name)]
        if len(up) >= needed or len(up) + len(coming) < needed or time.monotonic() >= until_s:
            return up
        if not told:
            print(f"waiting until the server of {', '.join(coming)} serves", flush=True)
            told = True
        time.sleep(0.5)


def _listens(name: str) -> bool:
    """Whether a server waits there for others: it has no data yet, so it serves nobody."""
    try:
        socket.create_connection((name, ensemble.ELECTION_PORT), 2.0).close()
    except OSError:
        return False
    return True


def _await(config: Config) -> None:
    until_s = time.monotonic() + SERVES_S
    while not role(config, config.node):
        if time.monotonic() >= until_s:
            raise Retry(
                f"the ZooKeeper server of {config.node} does not serve after {SERVES_S:g} s",
                help=f"are the others up? Look at the log of {SERVER}; then restart {', '.join(systemd.DAEMONS)}",
            )
        time.sleep(0.2)
