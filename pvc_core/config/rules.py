"""What several keys of pvc.yaml must be together. Each rule takes what is valid of the file and yields what breaks it.

A rule that lacks a key it needs says nothing: the missing key is a fault of its own. The intervals' inequalities come
from the arithmetic of docs/high-availability.md: a healthy node must never be condemned, and a silent one must have
stopped its guests before they start elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.config.explain import did_you_mean
from pvc_core.config.faults import show
from pvc_core.config.sections import Intervals
from pvc_core.schema.profiles import INTERVAL_PROFILES

GAP_S = 4.0
"""Longest silence of a healthy node when any one coordinator dies: measured 3 to 5 s, 4 with a connect limit of 1 s."""
STORAGE_PROOF_S = 10.0
"""Earliest start elsewhere on storage proof, from the last heartbeat seen."""
FREEZE_S = 1.0
MARGIN_S = 0.5
CLOCK_RATE_ERROR = 0.001


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
    given = valid.get("intervals", {})
    if not {"heartbeat_s", "suspicion_s", "self_fence_s", "promise_s", "sick_s"} <= given.keys():
        return
    yield from _promises(given)
    heartbeat, suspicion, limit = given["heartbeat_s"], given["suspicion_s"], given["self_fence_s"]
    if suspicion < 4 * heartbeat:
        yield _too_short(given, "suspicion_s", "at least 4 x heartbeat_s", 4 * heartbeat, "or a few late beats condemn")
    if limit < GAP_S + 2 * heartbeat:
        why = "or the death of one coordinator freezes guests everywhere"
        yield _too_short(given, "self_fence_s", f"at least {GAP_S:g} s + 2 x heartbeat_s", GAP_S + 2 * heartbeat, why)
    longest = (STORAGE_PROOF_S - FREEZE_S - MARGIN_S) / (1 + CLOCK_RATE_ERROR)
    if limit > longest:
        rule = f"self_fence_s x 1.001 + {FREEZE_S:g} s + {MARGIN_S:g} s must be at most {STORAGE_PROOF_S:g} s"
        why = "so that a guest has stopped here before it starts elsewhere"
        yield Broken(("intervals", "self_fence_s"), f"{limit:g}", f"{rule}, {why}: at most {longest:.2f}")


def _promises(given: Mapping[str, Any]) -> Iterator[Broken]:
    heartbeat, suspicion, limit, promise = (
        given[key] for key in ("heartbeat_s", "suspicion_s", "self_fence_s", "promise_s")
    )
    if promise < 2 * heartbeat:
        why = "or one lost question freezes guests while the store is away for all"
        yield _too_short(given, "promise_s", "at least 2 x heartbeat_s", 2 * heartbeat, why)
    longest = (limit - heartbeat) / (1 + CLOCK_RATE_ERROR)
    if promise > longest:
        rule = f"promise_s x {1 + CLOCK_RATE_ERROR:g} must be at most self_fence_s - heartbeat_s"
        why = "or a verdict waits for promises longer than for anything else"
        found = f"{_shown(given, 'promise_s')} with {_shown(given, 'self_fence_s')}"
        yield Broken(("intervals", "promise_s"), found, f"{rule}, {why}: at most {longest:.2f}")
    if given["sick_s"] < 2 * suspicion:
        least, why = 2 * suspicion, "or a guard that restarts is taken for one that cannot reach the store"
        yield _too_short(given, "sick_s", "at least 2 x suspicion_s", least, why, than="suspicion_s")


def _too_short(
    given: Mapping[str, Any], key: str, rule: str, least: float, why: str, *, than: str = "heartbeat_s"
) -> Broken:
    found = f"{_shown(given, key)} with {_shown(given, than)}"
    return Broken(("intervals", key), found, f"{key} must be {rule} = {least:g}, {why}")


def _shown(given: Mapping[str, Any], key: str) -> str:
    profile = given.get("profile", "default")
    if given[key] == INTERVAL_PROFILES[profile].get(key):
        return f"{key} {given[key]:g} (of profile {profile})"
    return f"{key} {given[key]:g}" + (" (its default)" if given[key] == getattr(Intervals(), key) else "")
