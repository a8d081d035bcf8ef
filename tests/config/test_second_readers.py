"""pvc.yaml has three readers: the core's, the guard's and pvcstored's. What the core takes, the others read alike:
every key of the schema with every value below, so that a key nobody thought of here cannot differ, either.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

from pvc_core.config import Config, ConfigError, EmbeddedStore, ZookeeperStore, load
from pvc_core.config.sections import Intervals
from pvc_core.daemon.checks.here import shared
from pvc_core.errors import Invalid
from pvc_core.founding.places import pki_of, store_hosts
from pvc_core.guard.settings import Settings, read_settings
from pvc_core.schema.allowed import fields_by_key
from pvc_core.schema.config import ConfigSchema
from pvc_core.store.embedded.options import Options, read_options
from pvc_fence_watchdog.plugin import Config as WatchdogSchema

EXAMPLE = Path(__file__).parents[2] / "docs" / "pvc.yaml"
HERE = Path("/nowhere")
VALUES: list[Any] = [
    None, True, False, "no", 0, 1.2, 2, 7, 2.5, 6.5, "6.5", 77, 7777, "7777", -1, "word", "fast", "all", "relative/way",
    "/another/way", "/up/../way", "10.9.9.9/24", "10.9.9.9", "fd00::9/64", [], {}, ["hv1", "hv2", "hv3"], ["word"],
    {"word": "word"},
]  # fmt: skip
ABSENT = object()
EMBEDDED: dict[str, Any] = {
    "cluster": {"name": "c1", "coordinators": ["hv1"]},
    "store": {"embedded": {}},
    "plugins": {"fence_watchdog": {}, "word": {}},
}
ZOOKEEPER: dict[str, Any] = {**EMBEDDED, "store": {"zookeeper": {}}}
NETWORK = {"device": "eth0", "address": "10.9.9.1/24"}

GUARD: dict[str, Callable[[Config], Any]] = {
    "node": lambda config: config.node,
    "hosts": store_hosts,
    "alone": lambda config: isinstance(config.store, EmbeddedStore),
    "coordinators": lambda config: config.cluster.coordinators,
    "heartbeat_s": lambda config: config.intervals.heartbeat_s,
    "self_fence_s": lambda config: config.intervals.self_fence_s,
    "promise_s": lambda config: config.intervals.promise_s,
    "reset": lambda config: config.intervals.reset,
    "addresses": lambda config: {
        name: str(net.address.ip) for name, net in config.host_networks.items() if net.address
    },
    "guard_port": lambda config: config.guard_port,
    "watchdog": lambda config: _watchdog(config),
    "run": lambda config: config.paths.run,
    "secrets": lambda config: config.paths.secrets,
    "authority": lambda config: (
        pki_of(config) / "ca.crt" if isinstance(config.store, ZookeeperStore) and config.store.tls else None
    ),
}
STORED: dict[str, Callable[[Config], Any]] = {
    "host": lambda config: "127.0.0.1",
    "port": lambda config: config.store.port,
    "path": lambda config: config.store.path / "store.db" if isinstance(config.store, EmbeddedStore) else None,
    "secrets": lambda config: config.paths.secrets,
}


def _watchdog(config: Config) -> tuple[Path, int] | None:
    section = config.plugins.get("fence_watchdog")
    found = WatchdogSchema().load(dict(section.raw)) if section else None
    return (Path(found["device"]), found["timeout_s"]) if found else None


def _keys(schema: Schema, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, field in fields_by_key(schema).items():
        yield (*above, key)
        if isinstance(field, fields.Nested):
            yield from _keys(field.schema, (*above, key))


KEYS = [*_keys(ConfigSchema()), *_keys(WatchdogSchema(), ("plugins", "fence_watchdog"))]


def _with(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A small file that has `value` at `path`, and beside it what the key cannot be without."""
    whole: dict[str, Any] = copy.deepcopy(ZOOKEEPER if "zookeeper" in path else EMBEDDED)
    if value == ["hv1", "hv2", "hv3"]:
        whole["store"] = {"zookeeper": {}}
    if path[0] == "host_networks":
        whole["store"], whole["host_networks"] = {"zookeeper": {}}, {name: dict(NETWORK) for name in path[1:2]}
    if path[:2] == ("use", "default_pool"):
        whole["use"] = {"default_pool": {"name": "vms", "driver": "fence_watchdog"}}
    place = whole
    for key in path[:-1]:
        place = place.setdefault(key, {})
    if value is not ABSENT:
        place[path[-1]] = value
    return whole


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[tuple[str, ...], Path]]:
    """One for each key and value."""
    place = tmp_path_factory.mktemp("files")
    found = []
    for number, (path, value) in enumerate((path, value) for path in KEYS for value in VALUES):
        file = place / f"{number}.yaml"
        file.write_text(json.dumps(_with(path, value)))
        found.append((path, file))
    return found


@pytest.fixture(scope="module")
def taken(files: list[tuple[tuple[str, ...], Path]]) -> dict[Path, Config | None]:
    """What the core makes of them; None: it refuses."""
    return {file: _core(file) for _path, file in files}


def _core(file: Path) -> Config | None:
    try:
        config = load(file, node="hv1")
    except ConfigError:
        return None
    section = config.plugins.get("fence_watchdog")
    if section and WatchdogSchema().validate(dict(section.raw)):
        return None  # as the loader, with the plugin's schema
    return config


def _of_guard(file: Path) -> dict[str, Any]:
    settings, broken = read_settings(file, node="hv1", state=HERE)
    assert broken == ""
    return {name: getattr(settings, name) for name in GUARD}


def _of_stored(file: Path) -> dict[str, Any]:
    options = read_options(file)
    return {name: getattr(options, name) for name in STORED}


def test_no_field_of_a_second_reader_is_left_out() -> None:
    assert set(GUARD) == {field.name for field in dataclasses.fields(Settings)}
    assert set(STORED) == {field.name for field in dataclasses.fields(Options)}


def test_the_guard_reads_what_the_core_takes(
    files: list[tuple[tuple[str, ...], Path]], taken: dict[Path, Config | None]
) -> None:
    changed = set()
    plain: dict[str, Any] = {}
    for path, file in files:
        config = taken[file]
        if config is None:
            continue
        found = _of_guard(file)
        assert found == {name: read(config) for name, read in GUARD.items()}, (path, file.read_text())
        plain = plain or found
        changed |= {name for name in GUARD if found[name] != plain[name]}
    assert changed == set(GUARD) - {"node"}, "a value of each setting is among those tried"


def test_pvcstored_reads_what_the_core_takes(
    files: list[tuple[tuple[str, ...], Path]], taken: dict[Path, Config | None]
) -> None:
    changed = set()
    plain: dict[str, Any] = {}
    for path, file in files:
        config = taken[file]
        if config is None or not isinstance(config.store, EmbeddedStore):
            continue
        found = _of_stored(file)
        assert found == {name: read(config) for name, read in STORED.items()}, (path, file.read_text())
        plain = plain or found
        changed |= {name for name in STORED if found[name] != plain[name]}
    assert changed == set(STORED) - {"host"}


def test_the_guard_refuses_the_intervals_that_the_core_refuses(
    files: list[tuple[tuple[str, ...], Path]], taken: dict[Path, Config | None]
) -> None:
    """Else it would go by them, and pvcnoded by the last good ones."""
    for path, file in files:
        if path[0] == "intervals" and len(path) == 2 and taken[file] is None:
            with pytest.raises(Invalid):
                read_settings(file, node="hv1", state=HERE)


def test_the_example_is_read_alike() -> None:
    config = load(EXAMPLE, node="hv1")
    assert _of_guard(EXAMPLE) == {name: read(config) for name, read in GUARD.items()}


OF_THE_NODE = {
    ("store", "embedded", "port"), ("store", "embedded", "path"), ("intervals", "reset"),
    *((("host_networks", name, key)) for name in ("upstream", "cluster", "storage") for key in ("device", "gateway")),
    *(("paths", key) for key in ("state", "run", "secrets", "log")),
}  # fmt: skip
"""What may differ from node to node. Everything else is compared by `pvc cluster check`."""


def test_cluster_check_compares_all_that_must_be_equal(
    files: list[tuple[tuple[str, ...], Path]], taken: dict[Path, Config | None], tmp_path: Path
) -> None:
    absent, seen = tmp_path / "absent.yaml", {}
    for path in KEYS:
        if path[0] != "plugins" and not any(key[: len(path)] == path for key in KEYS if key != path):
            absent.write_text(json.dumps(_with(path, ABSENT)))
            seen[path] = {str(shared(config))} if (config := _core(absent)) else set()
    for path, file in files:
        if (config := taken[file]) is not None and path in seen:
            seen[path].add(str(shared(config)))
    assert not [path for path, said in seen.items() if not said], "of each key a value is among those tried"
    assert {path for path, said in seen.items() if len(said) == 1} == OF_THE_NODE


def test_a_section_left_out_is_one_without_keys(tmp_path: Path) -> None:
    """Defaults stand in the schema and in the dataclasses: a file with an empty section shows whether they differ."""
    file = tmp_path / "pvc.yaml"
    file.write_text(json.dumps(EMBEDDED))
    absent = load(file, node="hv1")
    empty: dict[str, Any] = {name: {} for name in fields_by_key(ConfigSchema()) if name not in ("cluster", "store")}
    file.write_text(json.dumps({**EMBEDDED, **empty, "plugins": EMBEDDED["plugins"]}))
    same = load(file, node="hv1")
    for field in dataclasses.fields(Config):
        if field.name not in ("text", "document", "plugins"):
            assert getattr(absent, field.name) == getattr(same, field.name), field.name
    assert absent.intervals == Intervals()
