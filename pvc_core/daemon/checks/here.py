"""What a node finds out about itself alone: its name, certificates, disks, guard, configuration, versions."""

from __future__ import annotations

import platform
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pvc_core import __version__
from pvc_core.config import Config, ConfigError, EmbeddedStore, ZookeeperStore, load
from pvc_core.daemon.checks.resolving import resolve, unknown
from pvc_core.errors import PvcError
from pvc_core.founding.places import pki_of
from pvc_core.guard.answers import goes_by
from pvc_core.guard.client import Guard
from pvc_core.model.check import CheckLine
from pvc_core.model.view import ClusterView
from pvc_core.schema.intervals import INTERVALS

LIBRARIES = ("kazoo", "marshmallow", "msgspec", "pluggy", "stevedore", "structlog")
FULL_PERCENT, FREE_BYTES = 95, 2 * 1024**3
SOON_DAYS = 30


def own_lines(config: Config, view: ClusterView) -> Iterator[CheckLine]:
    yield _name(config)
    yield from names(config, view)
    yield from _certificate(config)
    yield from _disks(config)
    yield _guard(config)
    yield _file(config)
    yield from _default_pool(config, view)


def versions() -> Mapping[str, str]:
    found = {"PVC": __version__, "Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def shared(config: Config) -> Mapping[str, str]:
    """What must be equal in every node's pvc.yaml, by its path in the file. Read from the file as it is now."""
    found = {
        "cluster.name": config.cluster.name,
        "cluster.coordinators": ", ".join(config.cluster.coordinators),
        "cluster.parallel_migrations": str(config.cluster.parallel_migrations),
        "store": _store(config.store),
        "peer.port": str(config.peer_port),
        "peer.guard_port": str(config.guard_port),
        "use.compute": str(config.use.compute),
        "use.networks": ", ".join(f"{word}: {plugin}" for word, plugin in sorted(config.use.networks.items())),
        "use.default_pool": f"{config.use.default_pool.name} of {config.use.default_pool.driver}"
        if config.use.default_pool
        else "none",
        "fencing.ladder": ", ".join(config.fencing.ladder),
        "fencing.proof": config.fencing.proof,
        "intervals": ", ".join(f"{key} {getattr(config.intervals, key):g}" for key in INTERVALS),
    }
    for name, network in config.host_networks.items():
        found[f"host_networks.{name}.floating"] = str(network.floating or "none")
        found[f"host_networks.{name}.mtu"] = str(network.mtu or "as the device has it")
        if network.address:
            found[f"host_networks.{name}.address (its subnet)"] = str(network.address.network)
    return found


def _store(store: EmbeddedStore | ZookeeperStore) -> str:
    if isinstance(store, EmbeddedStore):
        return "embedded"
    return f"zookeeper, port {store.port}{'' if store.tls else ', without TLS'}"


def as_it_stands(config: Config) -> tuple[Config, str]:
    """The file as it is now, and what is wrong with it ("" and the daemon's own when it cannot be read)."""
    try:
        return load(config.file, node=config.node), ""
    except ConfigError as error:
        more = f" (and {len(error.faults) - 1} more)" if len(error.faults) > 1 else ""
        return config, f"{replace(error.faults[0], source='')}{more}"
    except (PvcError, OSError) as error:
        return config, str(error)


def _name(config: Config) -> CheckLine:
    host = socket.gethostname()
    if config.node in (host, host.partition(".")[0]):
        return CheckLine(topic="names", text=f"the host is called {host}, like the node")
    return CheckLine(
        topic="names", ok=False, text=f"the host is called {host}, but the node {config.node}",
        remedy=f"hostnamectl hostname {config.node}, or join it anew under its own name",
    )  # fmt: skip


def names(config: Config, view: ClusterView) -> Iterator[CheckLine]:
    """Each other node must be found; coordinators by their name, because the store's servers are called by it."""
    wrong = 0
    others = sorted(({*view.node_seen, *config.cluster.coordinators}) - {config.node})
    found = resolve(others)
    for other in others:
        peer = view.node_peers.get(other)
        resolved = found[other]
        address = peer.value.address if peer else ""
        if address and resolved and address not in resolved:
            text = f"{other} is {', '.join(resolved)} here, but says it is {address}"
        elif not resolved and (not address or other in config.cluster.coordinators):
            text = unknown(other, resolved)
        else:
            continue
        wrong += 1
        yield CheckLine(
            topic="names", ok=False, text=text,
            remedy=f"put `{address or 'ITS CLUSTER ADDRESS'} {other}` into /etc/hosts of {config.node}",
        )  # fmt: skip
    if not wrong and others:
        yield CheckLine(topic="names", text=f"knows {', '.join(others)}")


def _certificate(config: Config) -> Iterator[CheckLine]:
    from pvc_core.founding.standing import standing

    try:
        state = standing(pki_of(config), config.node)
    except PvcError as error:
        help = error.help or "run `pvcnoded init` or `pvcnoded join`"
        yield CheckLine(topic="certificates", ok=False, text=error.message, remedy=help)
        return
    again = f"remove pki/node.crt and node.key on {config.node} and run `pvcnoded join` with a new token"
    for fault in state.faults:
        yield CheckLine(topic="certificates", ok=False, text=fault, remedy=again)
    if state.faults:
        return
    if state.days_left < SOON_DAYS:
        text = f"its certificate ends on {state.ends} ({state.days_left} days left)"
        yield CheckLine(topic="certificates", ok=False, text=text, remedy=again)
    else:
        yield CheckLine(topic="certificates", text=f"of the cluster's authority, good until {state.ends}")


def _disks(config: Config) -> Iterator[CheckLine]:
    """Each file system once, however many of our paths lie on it."""
    seen: dict[int, list[Path]] = {}
    for path in (config.paths.state, config.paths.log, config.paths.run):
        there = next((one for one in (path, *path.parents) if one.exists()), Path("/"))
        seen.setdefault(there.stat().st_dev, []).append(path)
    for paths in seen.values():
        there = next((one for one in (paths[0], *paths[0].parents) if one.exists()), Path("/"))
        usage = shutil.disk_usage(there)
        percent = 100 * (usage.total - usage.free) // usage.total if usage.total else 0
        names_ = ", ".join(map(str, paths))
        text = f"{names_}: {percent} % full, {usage.free // 1024**2} MiB free"
        if percent >= FULL_PERCENT and usage.free < FREE_BYTES:
            yield CheckLine(topic="disk space", ok=False, text=text, remedy="make room, or a larger file system")
        else:
            yield CheckLine(topic="disk space", text=text)


def _guard(config: Config) -> CheckLine:
    try:
        status = Guard(config.paths.run).status()
    except PvcError as error:
        return CheckLine(
            topic="guard", ok=False, text=f"pvcguard does not answer: {error.message}",
            remedy="systemctl restart pvcguard; its log says why it ended",
        )  # fmt: skip
    if status.heard_ago_s is None or status.heard_ago_s > 5.0:
        ago = "never in this incarnation" if status.heard_ago_s is None else f"{status.heard_ago_s:.0f} s ago"
        return CheckLine(
            topic="guard", ok=False, text=f"the store heard its heartbeat {ago}",
            remedy="look at the network to the coordinators and at the quorum",
        )  # fmt: skip
    now, _ = as_it_stands(config)
    wanted = goes_by(now.cluster.coordinators, now.intervals)
    other = [f"{key} {had}, not {wanted[key]}" for key, had in status.goes_by.items() if wanted.get(key, had) != had]
    if other:
        return CheckLine(
            topic="guard", ok=False, text=f"pvcguard goes by an older pvc.yaml: {'; '.join(other)}",
            remedy="pvcnoded --check, then systemctl restart pvcguard (guests run on)",
        )  # fmt: skip
    return CheckLine(topic="guard", text=f"its heartbeat was heard {status.heard_ago_s:.1f} s ago")


def _file(config: Config) -> CheckLine:
    now, fault = as_it_stands(config)
    if fault:
        return CheckLine(
            topic="pvc.yaml", ok=False, text=f"{config.file} cannot be used any more: {fault}",
            remedy="mend it before pvcnoded is restarted; `pvcnoded --check` tells every fault",
        )  # fmt: skip
    if now.text != config.text:
        return CheckLine(
            topic="pvc.yaml", ok=False, text=f"{config.file} has changed since pvcnoded began",
            remedy="pvcnoded --check, then systemctl restart pvcguard pvcnoded pvcapid (guests run on)",
        )  # fmt: skip
    return CheckLine(topic="pvc.yaml", text="is what pvcnoded began with")


def _default_pool(config: Config, view: ClusterView) -> Iterator[CheckLine]:
    """Told once, by the primary: whoever follows the documents names it before anybody has made it."""
    pool = config.use.default_pool
    if pool is not None and pool.name not in view.pools and view.primary == config.node:
        yield CheckLine(
            topic="pools", ok=False, text=f"the default pool {pool.name} is not made yet",
            remedy=f"pvc storage pool add {pool.name} PGS (docs/cli.md); its driver is {pool.driver}",
        )  # fmt: skip
