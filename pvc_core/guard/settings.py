"""What the guard needs of pvc.yaml: who we are, where the store is, the intervals, the paths.

Reads only these sections, so that a fault anywhere else in the file stops no heartbeat (checking the whole is
pvc_core/config's). What pvcnoded would refuse in them is refused here, too: a heartbeat once a minute, or a store that
is looked for where there is none, convicts a healthy node. Then the configuration pvcnoded last worked with is used.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pvc_core.errors import Invalid
from pvc_core.guard.asking import PORT
from pvc_core.ids import checked_name
from pvc_core.schema.intervals import INTERVAL_PROFILES, INTERVALS, unfit

T = TypeVar("T")

DEFAULT_STATE = "/var/lib/pvc"
WATCHDOG = "fence_watchdog"
LAST_GOOD = "last-good.yaml"
"""The name pvc_core/config/last_good.py gives it, below paths.state."""
_SWITCHED = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
"""As the core takes them, in quotes, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    node: str
    hosts: str
    """host:port, comma-separated, as ZooKeeperStore takes them."""
    alone: bool
    """The cluster can have no other node: its store is embedded."""
    coordinators: tuple[str, ...]
    heartbeat_s: float
    self_fence_s: float
    promise_s: float
    reset: bool
    """Reset the machine when its guests can be neither stopped nor killed."""
    addresses: Mapping[str, str]
    """Host network -> this node's address there."""
    guard_port: int
    watchdog: tuple[Path, int] | None
    """Its device and after how many seconds it bites; None: there is none, or it is not to be used."""
    run: Path
    secrets: Path
    authority: Path | None
    """Certificate of the authority of the store's servers; None when they are not asked over TLS."""


def read_settings(config: Path, *, node: str | None, state: Path) -> tuple[Settings, str]:
    """(settings, "" or why the last good configuration had to be used). Raises Invalid when there is none either."""
    try:
        return _read(config, node), ""
    except Invalid as fault:
        last_good = _or(lambda: _state(config), None) or state
        if not (last_good / LAST_GOOD).exists():
            raise
        return _read(last_good / LAST_GOOD, node), fault.message


def _state(config: Path) -> Path | None:
    """Where a file that cannot be used says that pvcnoded keeps things, if that can be read of it."""
    paths = _Section(_document(config), config, "").section("paths")
    return paths.path("state", "") if "state" in paths.data else None


def _read(path: Path, node: str | None) -> Settings:
    tree = _Section(_document(path), path, "")
    coordinators = tree.section("cluster").names("coordinators")
    store, paths, intervals = tree.section("store"), tree.section("paths"), _intervals(tree.section("intervals"))
    embedded = _embedded(store, coordinators)
    name, secrets = checked_name(node or _hostname(coordinators), "node"), paths.path("secrets", "/etc/pvc/secrets")
    plain = embedded or not store.section("zookeeper").switch("tls", True)
    return Settings(
        node=name,
        hosts=_hosts(tree, name, coordinators, embedded),
        alone=embedded,
        coordinators=coordinators,
        heartbeat_s=intervals["heartbeat_s"],
        self_fence_s=intervals["self_fence_s"],
        promise_s=intervals["promise_s"],
        reset=tree.section("intervals").switch("reset", False),
        addresses=_or(lambda: _addresses(tree.section("host_networks")), {}),
        watchdog=_or(lambda: _watchdog(tree.section("plugins")), None),
        guard_port=_or(lambda: tree.section("peer").port("guard_port", PORT), PORT),
        run=paths.path("run", "/run/pvc"),
        secrets=secrets,
        authority=None if plain else secrets.with_name("pki") / "ca.crt",
    )


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Invalid(f"there is no {path}", help="write one, or name it with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # ValueError, OverflowError: what looks like a date or a number and is none; RecursionError: [[[[...
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise Invalid(f"{where} is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}") from error


def _intervals(section: _Section) -> dict[str, float]:
    """Those of the profile where the file names none, fit for each other."""
    profile = section.word("profile", "default", list(INTERVAL_PROFILES))
    section.only("profile", "reset", *INTERVALS)
    found = {}
    for key, (least, most, default) in INTERVALS.items():
        found[key] = section.seconds(key, INTERVAL_PROFILES[profile].get(key, default), least, most)
    for wrong in unfit({**found, "profile": profile}):
        raise Invalid(f"{section.place(wrong.key)}: found {wrong.found}; {wrong.allowed}", help="see docs/pvc.yaml")
    return found


def _embedded(store: _Section, coordinators: tuple[str, ...]) -> bool:
    kinds = [kind for kind in ("embedded", "zookeeper") if kind in store.data]
    if len(kinds) != 1 or (kinds == ["embedded"] and len(coordinators) > 1):
        found = " and ".join(kinds) or "neither embedded nor zookeeper"
        raise Invalid(
            f"{store.place()}: found {found} for {len(coordinators)} coordinators; exactly one of them is needed,"
            " embedded for one coordinator only",
            help="see docs/pvc.yaml",
        )
    return kinds == ["embedded"]


def _hostname(coordinators: tuple[str, ...]) -> str:
    """As the coordinators spell it, else its first label: the rule of pvc_core/config/read.py."""
    hostname = socket.gethostname()
    return hostname if hostname in coordinators else hostname.partition(".")[0]


def _hosts(tree: _Section, node: str, coordinators: tuple[str, ...], embedded: bool) -> str:
    """As pvc_core/founding/places.py: this node's own server is asked at its cluster address."""
    store = tree.section("store")
    if embedded:
        return f"127.0.0.1:{store.section('embedded').port('port', 2181)}"
    port = store.section("zookeeper").port("port", 2181)
    given = str(tree.section("host_networks").section("cluster").data.get("address") or "").partition("/")[0]
    own = given or ("127.0.0.1" if len(coordinators) == 1 else node)
    own = f"[{own}]" if ":" in own else own
    names = [own if name == node else name for name in coordinators]
    return ",".join(f"{name}:{port}" for name in names)


def _or(read: Callable[[], T], default: T) -> T:
    """What no heartbeat needs: a fault in it is pvcnoded's to tell."""
    try:
        return read()
    except Invalid:
        return default


def _addresses(networks: _Section) -> dict[str, str]:
    """What is no address is left out: pvcnoded says what is wrong with it."""
    found = {}
    for name in networks.data:
        given = str(networks.section(name).data.get("address") or "").partition("/")[0]
        try:
            found[name] = str(ip_address(given))
        except ValueError:
            continue
    return found


def _watchdog(plugins: _Section) -> tuple[Path, int] | None:
    """Named, it is used: plugins/fence_watchdog has the same keys and defaults."""
    if WATCHDOG not in plugins.data:
        return None
    section = plugins.section(WATCHDOG)
    return section.path("device", "/dev/watchdog"), int(section.seconds("timeout_s", 5.0, 1, 3600))


class _Section:
    """A mapping of the file whose values are looked at only when asked for."""

    def __init__(self, data: Any, path: Path, name: str) -> None:
        if data is not None and not isinstance(data, Mapping):
            raise Invalid(f"{path}: {name.rstrip('.') or 'the whole file'} is {data!r:.60}, not a section with keys")
        self.data: Mapping[str, Any] = data or {}
        self._path = path
        self._name = name

    def section(self, key: str) -> _Section:
        return _Section(self.data.get(key), self._path, f"{self._name}{key}.")

    def place(self, key: object = "") -> str:
        return f"{self._path}: {f'{self._name}{key}'.rstrip('.')}"

    def only(self, *known: str) -> None:
        """Raises Invalid for a key that is none of these: whoever mistyped one believes that it counts."""
        for key in self.data:
            if key not in known:
                raise Invalid(f"{self.place(key)} is no key; these are: {', '.join(known)}", help="see docs/pvc.yaml")

    def names(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            raise self._fault(key, value, "a list of node names")
        if len(value) not in (1, 3, 5) or len(set(value)) < len(value):
            raise self._fault(key, value, "1, 3 or 5 names, each once,")
        return tuple(value)

    def seconds(self, key: str, default: float, least: float, most: float) -> float:
        value = self._checked(
            key, default, lambda value: least <= _number(value) <= most, f"seconds from {least:g} to {most:g}"
        )
        return _number(value)

    def word(self, key: str, default: str, words: list[str]) -> str:
        return str(self._checked(key, default, lambda value: value in words, f"one of {', '.join(words)}"))

    def switch(self, key: str, default: bool) -> bool:
        value = self._checked(key, default, lambda value: str(value).lower() in _SWITCHED, "true or false")
        return _SWITCHED[str(value).lower()]

    def port(self, key: str, default: int) -> int:
        def right(value: Any) -> bool:
            return _is_number(value) and isinstance(value, int) and 1 <= value <= 65535

        return int(self._checked(key, default, right, "a port"))

    def path(self, key: str, default: str) -> Path:
        return Path(self._checked(key, default, lambda value: isinstance(value, str) and value[:1] == "/", "a path"))

    def _checked(self, key: str, default: Any, right: Callable[[Any], bool], allowed: str) -> Any:
        value = self.data.get(key, default)
        if not right(value):
            raise self._fault(key, value, allowed)
        return value

    def _fault(self, key: str, value: Any, allowed: str) -> Invalid:
        return Invalid(
            f"{self._path}: {self._name}{key} is {value!r:.60}, {allowed} is needed", help="see docs/pvc.yaml"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """Also of text, as the core takes it; not a number is nan, which lies between no two limits."""
    try:
        return float(value) if _is_number(value) or isinstance(value, str) else math.nan
    except (ValueError, OverflowError):
        return math.nan
