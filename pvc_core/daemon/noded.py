"""pvcnoded: the node's daemon, and the commands of a node's administrator (init, key, check)."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from pvc_core import __version__, config_file
from pvc_core.clock import SystemClock
from pvc_core.cluster.lease import CALL_S
from pvc_core.config import Config, ConfigError, LastGood
from pvc_core.daemon import custody, logs
from pvc_core.daemon.build import Node, build_node
from pvc_core.daemon.channel import Channel
from pvc_core.daemon.checks.answering import Checks
from pvc_core.daemon.files import allow_many_files
from pvc_core.daemon.given import networks
from pvc_core.daemon.hostnet import hostnet_command
from pvc_core.daemon.init import init
from pvc_core.daemon.joining import ensemble_command, join_command, token_command
from pvc_core.daemon.key import key_command
from pvc_core.daemon.leaving import leave_command
from pvc_core.daemon.life import NodeLife, run_until_signal
from pvc_core.daemon.members import coordinators_command
from pvc_core.daemon.metrics import Metrics
from pvc_core.daemon.moments import moments
from pvc_core.daemon.opening import open_store
from pvc_core.daemon.removals import follow_removals
from pvc_core.daemon.ring import LogRing
from pvc_core.daemon.screens import Screens
from pvc_core.daemon.storing import store_command
from pvc_core.errors import PvcError, Retry
from pvc_core.founding import ensemble, pki
from pvc_core.founding.places import pki_of
from pvc_core.founding.secrets import GROUP, STORE_NODE, read_secret
from pvc_core.guard.client import Guard
from pvc_core.loader import Loaded, load_all
from pvc_core.peer.local import Lock
from pvc_core.store.base import Store

GUARD_WAIT_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 well, 1 could not, 2 wrong configuration or arguments. Never a traceback for a person."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except PvcError as error:
        print(f"pvcnoded: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"pvcnoded: {os.fsdecode(error.filename)}: {error.strerror} (is it run as root?)", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pvcnoded", description="The node daemon of PVC. Without a command it runs in the foreground."
    )
    parser.add_argument("--version", action="version", version=f"pvcnoded {__version__}")
    parser.add_argument("--check", action="store_true", help="read pvc.yaml and its plugins, tell every fault, and end")
    _common(parser)
    parser.set_defaults(run=_daemon)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    made = commands.add_parser("init", help="make this node's secrets, and a commented pvc.yaml if there is none")
    _common(made, again=True)
    made.add_argument("--first-key", metavar="NAME", help="make and print an admin's API key of this name, too")
    made.add_argument("--cluster", default="cluster1", metavar="NAME", help="its name in that file")
    _network(made, "for that file: a host network")
    made.add_argument(
        "--fresh-store", action="store_true",
        help="all coordinators are lost: begin an empty store here, with the old /etc/pvc, for a backup to be restored",
    )  # fmt: skip
    made.set_defaults(
        run=lambda options: init(
            Path(options.config), options.node, first_key=options.first_key, cluster=options.cluster,
            networks=networks(options.network), fresh_store=options.fresh_store,
        )
    )  # fmt: skip
    made = commands.add_parser("hostnet", help="make this host's networks as pvc.yaml names them, and end")
    _common(made, again=True)
    made.set_defaults(run=hostnet_command)
    _joining(commands)
    gone = commands.add_parser("leave", help="empty this node before its machine is shut down")
    _common(gone, again=True)
    gone.add_argument("--deadline", type=float, default=300.0, metavar="SECONDS", help="for guests to move away")
    gone.set_defaults(run=leave_command, waits=time.sleep)
    key = commands.add_parser("key", help="API keys: add, remove, list")
    actions = key.add_subparsers(required=True, metavar="ACTION")
    for action, help in (
        ("add", "make a key and print it, once"),
        ("remove", "forget a key"),
        ("list", "names and roles"),
    ):
        one = actions.add_parser(action, help=help)
        _common(one, again=True)
        if action != "list":
            one.add_argument("name")
        if action == "add":
            one.add_argument("--role", default="admin", help="admin, operator or read-only (default: admin)")
            one.add_argument("--description", default="")
        one.set_defaults(run=key_command, action=action)
    return parser


def _joining(commands: Any) -> None:
    token = commands.add_parser("token", help="print a one-time token with which a new node joins this cluster")
    _common(token, again=True)
    token.add_argument("--for", dest="for_node", metavar="NODE", help="only this node may use it")
    token.add_argument("--coordinators", metavar="NAME,NAME,NAME", help="who they will be when that node is one")
    token.add_argument("--minutes", type=float, default=60.0, help="how long it is good (default: 60)")
    token.set_defaults(run=token_command)
    join = commands.add_parser("join", help="make this machine a node of the cluster a token is from")
    _common(join, again=True)
    join.add_argument("token", metavar="TOKEN")
    join.add_argument(
        "--address", action="append", default=[], metavar="NETWORK=ADDRESS/PREFIX",
        help="this node's address, for the pvc.yaml that is made if there is none; once for each network",
    )  # fmt: skip
    _network(join, "this node's own, made at once and written into the pvc.yaml that is made if there is none")
    join.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="for the coordinator to be reached")
    join.set_defaults(run=join_command, waits=time.sleep)
    members = commands.add_parser("coordinators", help="change cluster.coordinators here, and what follows")
    _common(members, again=True)
    members.add_argument("names", nargs="+", metavar="NAME", help="all of them, in their order")
    members.add_argument("--anyway", action="store_true", help="also when the store loses its majority by it")
    members.set_defaults(run=coordinators_command)
    ensemble = commands.add_parser("ensemble", help="ZooKeeper's files on a coordinator")
    _common(ensemble, again=True)
    ensemble.add_argument("action", choices=["render"], help="write them anew from pvc.yaml")
    ensemble.set_defaults(run=ensemble_command)
    store = commands.add_parser("store", help="move the embedded store's content to ZooKeeper")
    _common(store, again=True)
    store.add_argument("action", choices=["move", "unseal"], help="move it, or let the embedded store be written again")
    store.add_argument("--port", type=int, default=2181, help="ZooKeeper's port (default: 2181)")
    store.add_argument("--wait", type=float, default=120.0, metavar="SECONDS", help="for ZooKeeper to start")
    store.set_defaults(run=store_command)


def _network(parser: argparse.ArgumentParser, help: str) -> None:
    what = "NAME=DEVICE,ADDRESS/PREFIX[,floating=..][,gateway=..][,mtu=..]"
    parser.add_argument("--network", action="append", default=[], metavar=what, help=help)


def _common(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    default = argparse.SUPPRESS if again else None
    where = config_file(os.environ)
    parser.add_argument("--config", default=default or where, help=f"the configuration file (default: {where})")
    parser.add_argument("--node", default=default, help="this node's name (default: the hostname)")


def _daemon(options: argparse.Namespace) -> int:
    if options.check:
        return _check(options)
    allow_many_files()
    ring = LogRing()
    clock = SystemClock()
    custody_reason = ""
    try:
        config, loaded = load_all(options.config, node=options.node)
    except ConfigError as error:
        config, loaded, custody_reason = custody.instead(Path(options.config), options.node, error)
    formatter = logs.setup(node=config.node, ring=ring)
    log = structlog.get_logger("pvc.noded")
    if custody_reason:
        log.error(f"in custody: {custody_reason}")
    lock = Lock(config.paths.run / "noded.lock", name="pvcnoded")
    _keep_lines(ring, config, log)
    try:
        return _run(config, loaded, options, ring, clock, formatter, custody_reason)
    finally:
        lock.release()


def _keep_lines(ring: LogRing, config: Config, log: Any) -> None:
    path = config.paths.log / "pvcnoded.lines"
    try:
        ring.keep(path)
    except OSError as error:
        log.warning(f"`pvc node log` begins anew with this start: {path} cannot be kept: {error.strerror}")


def _run(
    config: Config,
    loaded: Loaded,
    options: argparse.Namespace,
    ring: LogRing,
    clock: SystemClock,
    formatter: logs.LineFormatter,
    custody_reason: str,
) -> int:
    log = structlog.get_logger("pvc.noded")
    incarnation = _incarnation(config)
    formatter.hide(read_secret(config.paths.secrets, STORE_NODE))
    store = open_store(config, "node")
    several = config.coordinator and len(config.cluster.coordinators) > 1
    lease_store = open_store(config, "node", session_timeout_s=2.0, call_deadline_s=CALL_S) if several else None
    permits = Guard(config.paths.run, incarnation=incarnation)
    try:
        node = build_node(
            config, loaded, store=store, clock=clock, log=log, permits=permits, incarnation=incarnation,
            ring=ring, custody=custody_reason, lease_store=lease_store, moment=moments(os.environ),
        )  # fmt: skip
    except PvcError:
        store.close()
        raise
    if custody_reason and not custody.needed(node.ground.compute):
        store.close()
        raise ConfigError(custody.faults(Path(options.config), options.node))
    if not custody_reason:
        LastGood(config.paths.state).save(config)
    _render(config, log)
    follow_removals(config, node.keeper, log)
    checks, screens = _checks(node, config, store, clock), Screens(node.ground.compute)
    metrics = Metrics(config, node.ground.storage)
    handlers = {
        **node.bytes.handlers(), **node.restoring.handlers(), **checks.handlers(), **screens.handlers(),
        **metrics.handlers(),
    }  # fmt: skip
    peer = Channel(
        config, handlers, view=lambda: node.keeper.view, store=store, incarnation=incarnation, clock=clock, log=log,
    )  # fmt: skip
    node.restoring.ask = peer.ask
    life = NodeLife(node, peer, log)
    log.info(f"pvcnoded {__version__} begins", incarnation=incarnation, plugins=", ".join(sorted(loaded.plugins)))
    return run_until_signal(life.begin, life.end, log, over=lambda: _is_over(config, incarnation, log))


def _checks(node: Node, config: Config, store: Store, clock: SystemClock) -> Checks:
    return Checks(
        config=config,
        view=lambda: node.keeper.view,
        store=store,
        clock=clock,
        hooks=node.hooks,
        standstill=node.standstill,
        said=lambda: {**node.quick.said(), **node.slow.said()},
        stuck=node.stuck,
    )


def _is_over(config: Config, incarnation: str, log: Any) -> bool:
    """The guard has begun another incarnation: whatever this daemon knows of its guests is void."""
    try:
        now = Guard(config.paths.run).incarnation()
    except Retry:
        return False  # between two, or gone with /run: the permits it needs name the right one
    if now == incarnation:
        return False
    log.warning("this node has a new incarnation: pvcnoded begins anew", incarnation=now)
    return True


def _render(config: Config, log: Any) -> None:
    """ZooKeeper's files follow pvc.yaml; the server takes them at its next start."""
    try:
        pki.ensure_api(pki.Place(pki_of(config)), config.node, GROUP)
    except PvcError as error:
        log.error(f"the API's certificate cannot be made: {error}")
    if not ensemble.concerns(config):
        return
    try:
        changed = ensemble.ensure_rendered(config)
    except PvcError as error:
        log.error(f"ZooKeeper's files cannot be written: {error}")
        return
    if changed:
        log.warning("ZooKeeper's files have changed: restart it, one coordinator at a time", files=str(changed))


def _check(options: argparse.Namespace) -> int:
    _, loaded = load_all(options.config, node=options.node)  # raises with every fault of file and plugins
    print(f"{options.config}: well; plugins: {_names(loaded)}")
    return 0


def _names(loaded: Loaded) -> str:
    return ", ".join(f"{seen.name} {seen.version}" for seen in loaded.seen())


def _incarnation(config: Config) -> str:
    """The guard makes it; at a boot both start at the same moment."""
    guard, until = Guard(config.paths.run), time.monotonic() + GUARD_WAIT_S
    while True:
        try:
            return guard.incarnation()
        except Retry:
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
