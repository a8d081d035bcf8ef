"""The active set: names in pvc.yaml -> live plugins, all faults told together.

Building drivers is daemon/build_drivers.py's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvc_core.config import Config, ConfigError, Fault, Fencing, PluginSection, Use, read
from pvc_core.config.document import Document
from pvc_core.config.explain import did_you_mean
from pvc_core.config.faults import in_order
from pvc_core.contracts import Action, Plugin
from pvc_core.loader.discover import Distribution, discover
from pvc_core.loader.validate import Candidate, api_range, validate
from pvc_core.model.node import ActionSeen, PluginSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name of `plugins`: live, or broken for `reason`."""

    name: str
    distribution: Distribution
    api_range: tuple[int, int] = (0, 0)
    plugin: Plugin | None = None
    halves: Mapping[str, object] = field(default_factory=dict)
    definition_hooks: object | None = None
    actions: tuple[Action, ...] = ()
    reason: str = ""

    @property
    def frontend(self) -> bool:
        """Whether it shows the services to the outside."""
        return self.plugin is not None and type(self.plugin).build_frontend is not Plugin.build_frontend


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What of `plugins` is live, in the file's order. `faults` is empty unless load_plugins was tolerant."""

    entries: Mapping[str, Entry]
    compute_name: str | None = None
    network_words: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    @property
    def plugins(self) -> dict[str, Plugin]:
        return {name: entry.plugin for name, entry in self.entries.items() if entry.plugin is not None}

    @property
    def compute(self) -> Plugin | None:
        """The plugin that `use.compute` names."""
        return self.plugins.get(self.compute_name) if self.compute_name else None

    @property
    def storage(self) -> dict[str, Plugin]:
        """All plugins that bring a storage driver; pools choose among them by name."""
        return {name: plugin for name, plugin in self.plugins.items() if "storage" in self.entries[name].halves}

    @property
    def fence(self) -> dict[str, Plugin]:
        """All plugins that bring a fence driver; `fencing.ladder` chooses among them."""
        return {name: plugin for name, plugin in self.plugins.items() if "fence" in self.entries[name].halves}

    @property
    def networks(self) -> dict[str, Plugin]:
        """By the word of `use.networks`: the plugin that makes networks of that type."""
        return {word: self.plugins[name] for word, name in self.network_words.items() if name in self.plugins}

    @property
    def frontends(self) -> dict[str, Plugin]:
        return {name: plugin for name, plugin in self.plugins.items() if self.entries[name].frontend}

    def definition_hooks(self) -> dict[str, object]:
        """For Hooks in pvcapid: who is asked pvc_check_vm_define."""
        hooks = {name: self.entries[name].definition_hooks for name in self.plugins}
        return {name: each for name, each in hooks.items() if each is not None}

    def distribution(self, name: str) -> Distribution:
        """What pip installed this plugin as. KeyError for a name that pvc.yaml does not list."""
        return self.entries[name].distribution

    def seen(self) -> tuple[PluginSeen, ...]:
        """For `pvc plugin list`: every listed plugin, the broken ones with the reason."""
        return tuple(_seen(entry) for entry in self.entries.values())


def load_plugins(config: Config, *, tolerant: bool = False) -> Loaded:
    """The live plugins that `config` lists. Raises ConfigError with every plugin's faults.

    `tolerant` is for custody: what loads is returned, and the faults beside it.
    """
    loaded = _load(config.plugins, _Used(config.use, config.fencing, config.document))
    if loaded.faults and not tolerant:
        raise ConfigError(loaded.faults)
    return loaded


def load_all(path: str | Path, *, node: str | None = None) -> tuple[Config, Loaded]:
    """pvc.yaml and its plugins in one go. Raises ConfigError with the faults of both, by line."""
    reading = read(path, node=node)
    loaded = _load(
        reading.plugins, _Used(reading.use, reading.fencing, reading.document, whole=reading.config is not None)
    )
    if reading.config is None or loaded.faults:
        raise ConfigError((*reading.faults, *loaded.faults))
    return reading.config, loaded


def fences(halves: Mapping[str, Any]) -> bool:
    """Whether a plugin with these halves can be a rung of the ladder."""
    storage = halves.get("storage")
    return "fence" in halves or (storage is not None and bool(storage.capabilities.storage_fencing))


@dataclass(frozen=True, slots=True)
class _Used:
    """What sections `use` and `fencing` ask of plugins.

    Not `whole`: the file has faults, so what is absent may just be unreadable.
    """

    use: Use
    fencing: Fencing
    document: Document
    whole: bool = True

    def faults(self, candidates: Mapping[str, Candidate]) -> list[Fault]:
        compute, pool = self.use.compute, self.use.default_pool
        found = []
        if compute is not None:
            found += self._role(candidates, ("use", "compute"), compute, "compute")
        elif self.whole:
            found += self._unused(candidates)
        if pool is not None:
            found += self._role(candidates, ("use", "default_pool", "driver"), pool.driver, "storage")
        for word, name in self.use.networks.items():
            found += self._role(candidates, ("use", "networks", word), name, "network")
        for index, name in enumerate(self.fencing.ladder):
            found += self._rung(candidates, ("fencing", "ladder", index), name)
        return found

    def _rung(self, candidates: Mapping[str, Candidate], path: tuple[str | int, ...], name: str) -> list[Fault]:
        candidate = candidates.get(name)
        if candidate is None or candidate.plugin is None or fences(candidate.halves):
            return []  # not listed or broken: told of already
        able = [each for each, candidate in candidates.items() if fences(candidate.halves)]
        allowed = (
            "a plugin with a fence driver, or with a storage driver that can shut a node out, is needed:"
            f" {did_you_mean(name, able)}{', '.join(able) or 'none is listed'}"
        )
        return [self.document.fault(path, f'found "{name}", which cannot fence', allowed)]

    def _role(self, candidates: Mapping[str, Candidate], path: tuple[str, ...], name: str, role: str) -> list[Fault]:
        candidate = candidates.get(name)
        if candidate is None or candidate.plugin is None or role in candidate.halves:
            return []  # not listed or broken: told of already
        able = [each for each, candidate in candidates.items() if role in candidate.halves]
        allowed = (
            f"a plugin with a {role} driver is needed: {did_you_mean(name, able)}{', '.join(able) or 'none is listed'}"
        )
        return [self.document.fault(path, f'found "{name}", which brings no {role} driver', allowed)]

    def _unused(self, candidates: Mapping[str, Candidate]) -> list[Fault]:
        able = [name for name, each in candidates.items() if each.plugin is not None and "compute" in each.halves]
        return [
            self.document.fault(
                ("plugins", name),
                "it brings a compute driver that nothing uses",
                f"add `compute: {name}` to section `use`",
                hide=True,
            )
            for name in able[:1]
        ]


def _load(sections: Mapping[str, PluginSection], used: _Used) -> Loaded:
    discovery = discover(sections)
    candidates = {
        name: Candidate(section=section, discovered=discovery.found[name], installed=discovery.installed)
        for name, section in sections.items()
    }
    for candidate in candidates.values():
        validate(candidate)
    faults = [fault for candidate in candidates.values() for fault in candidate.faults]
    return Loaded(
        entries={name: _entry(candidate) for name, candidate in candidates.items()},
        compute_name=used.use.compute,
        network_words=used.use.networks,
        faults=in_order([*faults, *used.faults(candidates)]),
    )


def _entry(candidate: Candidate) -> Entry:
    distributions, cls = candidate.discovered.distributions, candidate.cls
    return Entry(
        name=candidate.section.name,
        distribution=distributions[0] if distributions else Distribution(name="", version=""),
        api_range=api_range(cls) or (0, 0),
        plugin=candidate.plugin,
        halves=candidate.halves if candidate.plugin else {},
        definition_hooks=candidate.definition_hooks,
        actions=candidate.actions if candidate.plugin else (),
        reason="; ".join(dict.fromkeys(fault.message for fault in candidate.faults)),
    )


def _seen(entry: Entry) -> PluginSeen:
    return PluginSeen(
        name=entry.name,
        distribution=entry.distribution.name,
        version=entry.distribution.version,
        api_low=entry.api_range[0],
        api_high=entry.api_range[1],
        state="active" if entry.plugin is not None else "broken",
        reason=entry.reason,
        roles=(*entry.halves, *(["frontend"] if entry.frontend else [])),
        capabilities=_capabilities(entry.halves),
        actions=tuple(ActionSeen(name=each.name, help=each.help, where=each.where) for each in entry.actions),
    )


def _capabilities(halves: Mapping[str, object]) -> dict[str, bool | str | int]:
    """As plain data; a plugin with two halves has each name prefixed by the half's."""
    plain: dict[str, bool | str | int] = {}
    for role, half in halves.items():
        capabilities = half.capabilities  # type: ignore[attr-defined]  # validate.py made sure
        for field_ in dataclasses.fields(capabilities):
            name = f"{role}.{field_.name}" if len(halves) > 1 else field_.name
            plain[name] = _plain(getattr(capabilities, field_.name))
    return plain


def _plain(value: object) -> bool | str | int:
    if isinstance(value, tuple):
        return ", ".join(each.__name__ if isinstance(each, type) else str(each) for each in value)
    return value if isinstance(value, bool | int) else str(value)
