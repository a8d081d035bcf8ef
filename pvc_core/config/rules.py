"""What several keys of pvc.yaml must be together. Each rule takes what is valid of the file and yields what breaks it.

A rule that lacks a key it needs says nothing: the missing key is a fault of its own. The intervals' inequalities are
schema/intervals.py's, because the guard asks for them, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.config.explain import did_you_mean
from pvc_core.config.faults import show
from pvc_core.schema.intervals import unfit


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule is broken at `path`."""

    path: tuple[str | int, ...]
    found: str
    allowed: str


def broken(data: Mapping[str, Any], valid: Mapping[str, Any], node: str) -> Iterator[Broken]:
    """All rules. `data` is the file as it stands, `valid` what the schema loaded of it."""
    yield from _coordinators(valid)
    yield from _store(data, valid, node)
    yield from _host_networks(valid)
    yield from _use(data, valid)
    yield from _fencing(data, valid)
    yield from _intervals(valid)


def _coordinators(valid: Mapping[str, Any]) -> Iterator[Broken]:
    names = valid.get("cluster", {}).get("coordinators", [])
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Broken(
                ("cluster", "coordinators", index), f"{show(name)} a second time", "name every coordinator once"
            )


def _store(data: Mapping[str, Any], valid: Mapping[str, Any], node: str) -> Iterator[Broken]:
    given = data.get("store")
    if not isinstance(given, Mapping):
        return
    kinds = [kind for kind in ("embedded", "zookeeper") if kind in given]
    if len(kinds) != 1:
        found = "both embedded and zookeeper" if kinds else "neither embedded nor zookeeper"
        yield Broken(
            ("store",), found, "exactly one of them is allowed, like {embedded: {}} or {zookeeper: {port: 2181}}"
        )
    coordinators = valid.get("cluster", {}).get("coordinators")
    if kinds != ["embedded"] or not coordinators:
        return
    if len(coordinators) > 1:
        help = "the embedded store is for one node: name one coordinator, or choose {zookeeper: {}}"
        yield Broken(("store", "embedded"), f"the embedded store with {len(coordinators)} coordinators", help)
    elif node not in coordinators:
        help = f'the embedded store answers on its own node only: name "{node}" here, or give --node {coordinators[0]}'
        yield Broken(("cluster", "coordinators", 0), f'"{coordinators[0]}" while this node is called "{node}"', help)


def _host_networks(valid: Mapping[str, Any]) -> Iterator[Broken]:
    for name, network in valid.get("host_networks", {}).items():
        address = network.get("address")
        for key in ("floating", "gateway"):
            other = network.get(key)
            if other is None:
                continue
            path, ip = ("host_networks", name, key), getattr(other, "ip", other)
            if address is None:
                yield Broken(
                    path, f"a {key} address without an address", "give `address` of this node in the same network"
                )
            elif ip not in address.network or getattr(other, "network", address.network) != address.network:
                yield Broken(
                    path, show(str(other)), f"an address in {address.network}, the network of `address`, is allowed"
                )
            elif ip == address.ip:
                yield Broken(path, show(str(other)), "an address of its own is needed; this one is the node's")


def _use(data: Mapping[str, Any], valid: Mapping[str, Any]) -> Iterator[Broken]:
    use = valid.get("use", {})
    if "compute" in use:
        yield from _named(data, ("use", "compute"), use["compute"])
    for word, name in use.get("networks", {}).items():
        yield from _named(data, ("use", "networks", word), name)
    if "driver" in use.get("default_pool", {}):
        yield from _named(data, ("use", "default_pool", "driver"), use["default_pool"]["driver"])


def _fencing(data: Mapping[str, Any], valid: Mapping[str, Any]) -> Iterator[Broken]:
    ladder = valid.get("fencing", {}).get("ladder", [])
    for index, name in enumerate(ladder):
        if name in ladder[:index]:
            yield Broken(("fencing", "ladder", index), f"{show(name)} a second time", "name every rung once")
        yield from _named(data, ("fencing", "ladder", index), name)


def _named(data: Mapping[str, Any], path: tuple[str | int, ...], name: str) -> Iterator[Broken]:
    plugins = data.get("plugins")
    if isinstance(plugins, Mapping) and name not in plugins:
        listed = f"one of the plugins listed below `plugins` is allowed: {', '.join(plugins)}"
        yield Broken(path, show(name), did_you_mean(name, list(plugins)) + listed)


def _intervals(valid: Mapping[str, Any]) -> Iterator[Broken]:
    for wrong in unfit(valid.get("intervals", {})):
        yield Broken(("intervals", wrong.key), wrong.found, wrong.allowed)
