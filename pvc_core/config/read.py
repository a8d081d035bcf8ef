"""From a path to a Config, or to every fault there is. Plugins are checked by loader/, which starts where this ends."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvc_core.config.document import Document, read_document
from pvc_core.config.explain import load_part
from pvc_core.config.faults import ConfigError, Fault, in_order, show
from pvc_core.config.rules import broken
from pvc_core.config.sections import (
    Cluster,
    Config,
    DefaultPool,
    EmbeddedStore,
    Fencing,
    HostNetwork,
    Intervals,
    Paths,
    PluginSection,
    Use,
    ZookeeperStore,
)
from pvc_core.errors import Invalid
from pvc_core.ids import checked_name
from pvc_core.schema.config import PLUGIN_NAME, ConfigSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one look at the file gave: a Config, or faults; the rest as far as it could be read."""

    config: Config | None
    faults: tuple[Fault, ...]
    document: Document = field(repr=False)
    plugins: Mapping[str, PluginSection]
    use: Use = field(default_factory=Use)
    fencing: Fencing = field(default_factory=Fencing)
    paths: Paths = field(default_factory=Paths)


def load(path: str | Path, *, node: str | None = None) -> Config:
    """The checked configuration. `node` overrides the hostname. Raises ConfigError with every fault of the file."""
    reading = read(path, node=node)
    if reading.config is None:
        raise ConfigError(reading.faults)
    return reading.config


def check(path: str | Path, *, node: str | None = None) -> list[Fault]:
    """Every fault of the file, by line; of the plugins' sections only what needs no plugin."""
    return list(read(path, node=node).faults)


def read(path: str | Path, *, node: str | None = None) -> Reading:
    """Look once and collect everything; raises nothing for what may stand in the file."""
    document = read_document(Path(path))
    if document.data is None:
        told = in_order(document.faults)
        return Reading(config=None, faults=told, document=document, plugins={})
    valid, faults = load_part(ConfigSchema(), document.data, document)
    name = _node_name(node, valid)
    faults += document.faults + _node_faults(document, name, given=node is not None)
    for rule in broken(document.data, valid, name):
        faults.append(document.fault(rule.path, f"found {rule.found}", rule.allowed))
    use, paths = _use(valid.get("use", {})), Paths(**valid.get("paths", {}))
    plugins = _plugins(document, paths)
    config = None if faults else _build(Path(path), document, valid, name, plugins, use, paths)
    fencing = _fencing(valid.get("fencing", {}))
    return Reading(
        config=config,
        faults=in_order(faults),
        document=document,
        plugins=plugins,
        use=use,
        fencing=fencing,
        paths=paths,
    )


def _node_name(given: str | None, valid: Mapping[str, Any]) -> str:
    """The hostname as the coordinators spell it, else its first label."""
    if given is not None:
        return given
    hostname = socket.gethostname()
    return hostname if hostname in valid.get("cluster", {}).get("coordinators", []) else hostname.partition(".")[0]


def _node_faults(document: Document, name: str, *, given: bool) -> list[Fault]:
    try:
        checked_name(name, "node")
    except Invalid:
        source = "--node" if given else "the hostname"
        found = f"found {show(name)} as this node's name, from {source}"
        return [Fault(file=document.file, found=found, allowed="a node's name is letters, digits and '-'")]
    return []


def _plugins(document: Document, paths: Paths) -> dict[str, PluginSection]:
    """What of `plugins` can be given to the plugins' own schemas."""
    sections = document.data.get("plugins")
    if not isinstance(sections, dict):
        return {}
    return {
        name: PluginSection(name=name, raw=raw or {}, document=document, run=paths.run)
        for name, raw in sections.items()
        if PLUGIN_NAME.fullmatch(name) and (raw is None or isinstance(raw, dict))
    }


def _build(
    path: Path,
    document: Document,
    valid: Mapping[str, Any],
    node: str,
    plugins: Mapping[str, PluginSection],
    use: Use,
    paths: Paths,
) -> Config:
    networks = valid.get("host_networks", {})
    return Config(
        file=path,
        node=node,
        cluster=Cluster(**{**valid["cluster"], "coordinators": tuple(valid["cluster"]["coordinators"])}),
        store=_store(valid["store"], paths),
        host_networks={name: HostNetwork(**network) for name, network in networks.items()},
        plugins=plugins,
        use=use,
        fencing=_fencing(valid.get("fencing", {})),
        intervals=Intervals(**valid.get("intervals", {})),
        peer_port=valid.get("peer", {}).get("port", 7371),
        guard_port=valid.get("peer", {}).get("guard_port", 7372),
        paths=paths,
        text=document.text,
        document=document,
    )


def _store(valid: Mapping[str, Any], paths: Paths) -> EmbeddedStore | ZookeeperStore:
    if "zookeeper" in valid:
        return ZookeeperStore(**valid["zookeeper"])
    embedded = valid["embedded"]
    return EmbeddedStore(port=embedded["port"], path=embedded.get("path", paths.state / "store"))


def _use(valid: Mapping[str, Any]) -> Use:
    pool = valid.get("default_pool")
    return Use(
        compute=valid.get("compute"),
        networks=valid.get("networks", {}),
        default_pool=DefaultPool(**pool) if pool and len(pool) == 2 else None,
    )


def _fencing(valid: Mapping[str, Any]) -> Fencing:
    return Fencing(ladder=tuple(valid.get("ladder", ())), proof=valid.get("proof", "one"))
