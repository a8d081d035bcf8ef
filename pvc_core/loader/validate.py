"""One discovered class -> a live plugin, or the reasons why not, each placed at its section of pvc.yaml."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from marshmallow import Schema

from pvc_core.config import Fault, PluginSection
from pvc_core.config.explain import did_you_mean, load_part
from pvc_core.contracts import (
    API_VERSION,
    Action,
    ComputeCapabilities,
    ComputeDefinitions,
    FenceCapabilities,
    FenceDefinitions,
    NetworkCapabilities,
    NetworkDefinitions,
    Plugin,
    StorageCapabilities,
    StorageDefinitions,
)
from pvc_core.errors import PvcError
from pvc_core.ids import checked_name
from pvc_core.loader.discover import Discovered, last_line
from pvc_core.loader.signatures import hook_faults, implemented_hooks, override_faults

_HALVES: dict[str, tuple[type, type]] = {
    "compute": (ComputeDefinitions, ComputeCapabilities),
    "storage": (StorageDefinitions, StorageCapabilities),
    "fence": (FenceDefinitions, FenceCapabilities),
    "network": (NetworkDefinitions, NetworkCapabilities),
}


@dataclass(slots=True)
class Candidate:
    """A section of pvc.yaml on its way to a plugin. `halves` are asked of the plugin once and kept."""

    section: PluginSection
    discovered: Discovered
    installed: tuple[str, ...]
    plugin: Plugin | None = None
    halves: dict[str, Any] = field(default_factory=dict)
    definition_hooks: object | None = None
    actions: tuple[Action, ...] = ()
    faults: list[Fault] = field(default_factory=list)

    @property
    def cls(self) -> type[Plugin] | None:
        target = self.discovered.target
        return target if inspect.isclass(target) and issubclass(target, Plugin) else None

    def fault(self, found: str, allowed: str) -> None:
        self.faults.append(self.section.fault(found, allowed))


def validate(candidate: Candidate) -> None:
    """Fill in `plugin` and what it offers, or `faults`: all that do not merely follow from the first."""
    if not _is_there(candidate) or not _is_plugin_class(candidate):
        return
    if not _speaks_our_version(candidate):
        return  # whatever else it does differently is explained by that
    _class_faults(candidate)
    config = _config(candidate)
    if candidate.faults or config is None:
        return
    plugin = _guarded(candidate, "it could not be built from its settings", partial(candidate.cls or Plugin, config))
    if isinstance(plugin, Plugin):
        _ask(candidate, plugin)
        candidate.plugin = None if candidate.faults else plugin


def _is_there(candidate: Candidate) -> bool:
    name, discovered = candidate.section.name, candidate.discovered
    if discovered.error:
        candidate.fault(
            f"{_described(discovered)} cannot be imported: {discovered.error}",
            "reinstall it or what it needs, or take it out of `plugins`",
        )
    elif len(discovered.distributions) > 1:
        offers = " and ".join(f"{each.name} {each.version}" for each in discovered.distributions)
        candidate.fault(
            f"two distributions offer a plugin of this name, {offers}", "pip uninstall the one that is not meant"
        )
    elif not discovered.distributions:
        listed = ", ".join(candidate.installed) or "none"
        hint = did_you_mean(name, candidate.installed) + f"install it with pip install pvc-{name.replace('_', '-')}"
        candidate.fault("no plugin of this name is installed", f"{hint} (installed are: {listed})")
    return not candidate.faults


def _described(discovered: Discovered) -> str:
    distribution = discovered.distributions[0]
    return f"{distribution.name} {distribution.version}".strip()


def _is_plugin_class(candidate: Candidate) -> bool:
    cls, target = candidate.cls, candidate.discovered.target
    if cls is None:
        shown = f"class {target.__name__}" if inspect.isclass(target) else f"a {type(target).__name__}"
        candidate.fault(f"its entry point names {shown}", "a subclass of pvc_core.contracts.Plugin is needed there")
    elif inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        candidate.fault(f"class {cls.__name__} lacks {missing}", "these methods must be written")
    return not candidate.faults


def api_range(cls: type | None) -> tuple[int, int] | None:
    """The class's api_range if it is one."""
    span = getattr(cls, "api_range", None)
    if not isinstance(span, tuple) or len(span) != 2 or any(type(end) is not int for end in span):
        return None
    return (span[0], span[1]) if span[0] <= span[1] else None


def _speaks_our_version(candidate: Candidate) -> bool:
    span = api_range(candidate.cls)
    if span is None:
        said = getattr(candidate.cls, "api_range", None)
        candidate.fault(f"api_range = {said!r}", "two whole numbers are needed, lowest and highest, like (1, 1)")
        return False
    low, high = span
    who = _described(candidate.discovered)
    if low > API_VERSION:
        candidate.fault(
            f"{who} needs plugin API {low} or newer",
            f"it is too new for this pvc-core, which speaks API {API_VERSION}; upgrade pvc-core or take an older one",
        )
    elif high < API_VERSION:
        candidate.fault(
            f"{who} knows the plugin API up to {high} only",
            f"it is too old for this pvc-core, which speaks API {API_VERSION}: upgrade the plugin",
        )
    return not candidate.faults


def _class_faults(candidate: Candidate) -> None:
    cls = candidate.cls
    assert cls is not None
    if getattr(cls, "name", None) != candidate.section.name:
        candidate.fault(
            f"class {cls.__name__} has name = {getattr(cls, 'name', None)!r}",
            f"its name must be that of its entry point, {candidate.section.name!r}",
        )
    for sentence in [*override_faults(cls, Plugin), *_written_hook_faults(cls)]:
        candidate.fault(sentence, "the plugin does not fit this pvc-core; tell its author")


def _written_hook_faults(cls: type) -> Iterator[str]:
    """Of every class in the plugin's own module: driver hooks are built later, but their text is here already."""
    module = sys.modules.get(cls.__module__)
    for member in vars(module).values() if module else ():
        if inspect.isclass(member) and member.__module__ == cls.__module__:
            yield from hook_faults(member)


def _config(candidate: Candidate) -> dict[str, Any] | None:
    cls, section = candidate.cls, candidate.section
    schema_class = getattr(cls, "config_schema", None)
    if not (inspect.isclass(schema_class) and issubclass(schema_class, Schema)):
        candidate.fault(f"config_schema = {schema_class!r}", "a marshmallow Schema class is needed, empty if need be")
        return None
    result = _guarded(
        candidate,
        "its config_schema failed on these settings",
        lambda: load_part(schema_class(), dict(section.raw), section.document, ("plugins", section.name)),
    )
    if result is None:
        return None
    config, faults = result
    candidate.faults += faults
    return None if faults else {**config, **_below_run(schema_class(), section)}


def _below_run(schema: Schema, section: PluginSection) -> dict[str, str]:
    """The places of its own that follow paths.run, where pvc.yaml names no other."""
    places = {name: field_.metadata.get("below_run") for name, field_ in schema.load_fields.items()}
    return {name: str(section.run / below) for name, below in places.items() if below and name not in section.raw}


def _ask(candidate: Candidate, plugin: Plugin) -> None:
    """Everything a plugin says of itself, each question on its own, so that all bad answers are heard."""
    for role, (contract, capabilities) in _HALVES.items():
        half = _guarded(candidate, f"its {role} half could not be built", partial(getattr, plugin, role))
        if half is not None:
            candidate.halves[role] = half
            _half_faults(candidate, role, half, contract, capabilities)
    hooks = _guarded(candidate, "definition_hooks() failed", plugin.definition_hooks)
    if hooks is not None:
        candidate.definition_hooks = hooks
        _definition_hook_faults(candidate, hooks)
    actions = _guarded(candidate, "its actions could not be listed", lambda: tuple(plugin.actions)) or ()
    for sentence in action_faults(actions):
        candidate.fault(
            sentence, "an Action has a name, a help, where (node or primary), a Schema class and a deadline"
        )
    candidate.actions = actions


def _half_faults(candidate: Candidate, role: str, half: object, contract: type, capabilities: type) -> None:
    if not isinstance(half, contract):
        candidate.fault(
            f"its {role} half is an object of type {type(half).__name__}", f"a {contract.__name__} is needed"
        )
        return
    if not isinstance(getattr(half, "capabilities", None), capabilities):
        candidate.fault(f"its {role} half has no capabilities", f"a {capabilities.__name__} is needed there")
    for name in ("pool_options", "network_options"):
        options = getattr(half, name, Schema)
        if not (inspect.isclass(options) and issubclass(options, Schema)):
            candidate.fault(f"{name} = {options!r}", "a marshmallow Schema class is needed")
    for sentence in override_faults(type(half), contract):
        candidate.fault(sentence, "the plugin does not fit this pvc-core; tell its author")


def _definition_hook_faults(candidate: Candidate, hooks: object) -> None:
    for sentence in hook_faults(hooks):
        candidate.fault(sentence, "the plugin does not fit this pvc-core; tell its author")
    if others := sorted(set(implemented_hooks(hooks)) - {"pvc_check_vm_define"}):
        candidate.fault(
            f"definition_hooks() has {', '.join(others)}",
            "only pvc_check_vm_define belongs there; others to Drivers.hooks",
        )


def action_faults(actions: Sequence[object]) -> Iterator[str]:
    """A sentence for each action that could not be offered."""
    names: set[str] = set()
    for action in actions:
        if not isinstance(action, Action):
            yield f"an object of type {type(action).__name__} is among its actions"
            continue
        yield from _one_action(action)
        if action.name in names:
            yield f"two actions are called {action.name!r}"
        names.add(action.name)


def _one_action(action: Any) -> Iterator[str]:
    try:
        checked_name(action.name, "action")
    except (PvcError, TypeError) as error:
        yield f"an action has a bad name: {error}"
    if action.where not in ("node", "primary"):
        yield f"action {action.name!r} has where = {action.where!r}"
    if not (inspect.isclass(action.schema) and issubclass(action.schema, Schema)):
        yield f"the schema of action {action.name!r} is no Schema class"
    if not isinstance(action.deadline_s, int | float) or not action.deadline_s > 0:
        yield f"action {action.name!r} has deadline_s = {action.deadline_s!r}"
    if not isinstance(action.help, str) or not action.help.strip():
        yield f"action {action.name!r} has no help"


def _guarded(candidate: Candidate, what: str, call: Callable[[], Any]) -> Any:
    """The border to foreign code: whatever it raises becomes a fault of that plugin."""
    try:
        return call()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # not ours to know what a stranger's code raises
        words = str(error) if isinstance(error, PvcError) else last_line(error)
        candidate.fault(f"{_described(candidate.discovered)}: {what}: {words}", "mend its settings, or tell its author")
        return None
