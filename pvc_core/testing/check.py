# SPDX-License-Identifier: LGPL-3.0-or-later
"""Does a plugin keep its contract, as far as reading tells? `python -m pvc_core.testing.check NAME_OR_PATH [KEY=...]`

Needs no cluster and no store. What can only be found out by running a driver is asked by its conformance suite.
Prints one line per question; the exit code is 0 when every answer is right, 1 when one is not, 2 when there is nothing
to ask. KEY=VALUE are settings of the plugin's section of pvc.yaml, for plugins that have no defaults for all of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO, cast

import yaml
from marshmallow import Schema, ValidationError

from pvc_core.contracts import (
    API_VERSION,
    ComputeCapabilities,
    ComputeDefinitions,
    ComputeDriver,
    Drivers,
    FenceCapabilities,
    FenceDefinitions,
    FenceDriver,
    Plugin,
    StorageCapabilities,
    StorageDefinitions,
    StorageDriver,
)
from pvc_core.errors import PvcError
from pvc_core.loader.signatures import hook_faults, override_faults
from pvc_core.loader.validate import action_faults, api_range
from pvc_core.testing.check_find import Found, NothingFound, find, impurities
from pvc_core.testing.context import FakeContext

_HALVES: dict[str, tuple[type, type, type]] = {
    "compute": (ComputeDefinitions, ComputeCapabilities, ComputeDriver),
    "storage": (StorageDefinitions, StorageCapabilities, StorageDriver),
    "fence": (FenceDefinitions, FenceCapabilities, FenceDriver),
}


@dataclass
class Answers:
    """What was asked and what came of it, told as it goes."""

    out: TextIO
    faults: int = 0

    def tell(self, question: str, faults: Iterable[str]) -> bool:
        """True when there are none."""
        found = list(faults)
        self.faults += len(found)
        if not found:
            self.out.write(f"ok        {question}\n")
        for fault in found:
            self.out.write(f"FAULT     {question}: {fault}\n")
        return not found

    def left_out(self, question: str, why: str) -> None:
        self.out.write(f"left out  {question}: {why}\n")


def main(argv: list[str], out: TextIO = sys.stdout) -> int:
    """The command; returns its exit code."""
    if not argv or argv[0].startswith("-") or any("=" not in setting for setting in argv[1:]):
        out.write("usage: python -m pvc_core.testing.check NAME_OR_PATH [KEY=VALUE...]\n")
        return 2
    try:
        found = find(argv[0])
    except NothingFound as nothing:
        out.write(f"{nothing}\n")
        return 2
    settings = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in argv[1:])}
    faults = sum(_check(one, settings, out) for one in found)
    out.write(f"{faults} faults\n" if faults else "this plugin keeps its contract, as far as reading tells\n")
    return 1 if faults else 0


def _check(found: Found, settings: Mapping[str, Any], out: TextIO) -> int:
    out.write(f"{found.name} ({found.target}, {found.source})\n")
    answers = Answers(out)
    if not answers.tell("importing it is cheap and pure", impurities(found)):
        return answers.faults
    cls = found.load()
    if answers.tell("its entry point names a Plugin", _class_faults(cls)):
        _check_class(found, cast(type[Plugin], cls), settings, answers)
    return answers.faults


def _check_class(found: Found, cls: type[Plugin], settings: Mapping[str, Any], answers: Answers) -> None:
    answers.tell("its name is that of its entry point", _name_faults(found.name, cls))
    answers.tell(f"its api_range contains {API_VERSION}", _range_faults(cls))
    answers.tell("its methods can be called as the contract says", override_faults(cls, Plugin))
    if not answers.tell("its config_schema is a marshmallow Schema", _schema_faults(cls)):
        return
    try:
        config = cls.config_schema().load(dict(settings))
    except ValidationError as error:
        if not settings and set(error.normalized_messages()) <= _required(cls.config_schema):
            needs = ", ".join(sorted(_required(cls.config_schema)))
            answers.left_out("its two halves", f"it has no defaults for {needs}; give them as KEY=VALUE")
        else:
            answers.tell("its settings load", [str(error)])
        return
    plugin = _built(answers, "it is built from its settings", lambda: cls(config))
    if plugin:
        _check_definitions(plugin, answers)
        _check_drivers(plugin, config, answers)


def _check_definitions(plugin: Plugin, answers: Answers) -> None:
    for role, (contract, capabilities, _driver) in _HALVES.items():
        half = getattr(plugin, role)
        if half is not None:
            answers.tell(f"its {role} definitions are well-formed", _half_faults(half, contract, capabilities))
    hooks = plugin.definition_hooks()
    if hooks is not None:
        answers.tell("its pure hooks exist and can be called", hook_faults(hooks))
    if plugin.actions:
        answers.tell("its actions are well-formed", action_faults(plugin.actions))


def _check_drivers(plugin: Plugin, config: Mapping[str, Any], answers: Answers) -> None:
    """By building them, which opens no connection; a machine that lacks what they need leaves this out."""
    try:
        drivers = plugin.build_drivers(FakeContext(config))
    except PvcError as error:
        answers.left_out("its drivers", f"they cannot be built on this machine: {error}")
        return
    except Exception as error:  # noqa: BLE001  # not ours to know what a stranger's code raises
        answers.tell("its drivers are built", [f"{type(error).__name__}: {error}"])
        return
    for role, (_definitions, _capabilities, contract) in _HALVES.items():
        if getattr(plugin, role) is not None or getattr(drivers, role) is not None:
            answers.tell(f"its {role} halves fit each other", _pair_faults(plugin, drivers, role, contract))
    if drivers.hooks is not None:
        answers.tell("its hooks exist and can be called", hook_faults(drivers.hooks))
    answers.tell("each action has its call", _call_faults(plugin, drivers))
    if drivers.stop:
        _built(answers, "it stops", drivers.stop)


def _class_faults(cls: object) -> Iterable[str]:
    if not (inspect.isclass(cls) and issubclass(cls, Plugin)):
        yield f"it names {cls!r}; a subclass of pvc_core.contracts.Plugin is needed"
    elif inspect.isabstract(cls):
        yield f"{cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}"


def _name_faults(name: str, cls: type[Plugin]) -> Iterable[str]:
    if getattr(cls, "name", None) != name:
        yield f'the class says {getattr(cls, "name", None)!r}, the entry point "{name}"'


def _range_faults(cls: type[Plugin]) -> Iterable[str]:
    span = api_range(cls)
    if not span:
        yield f"{cls.api_range!r} is no range; two whole numbers are needed, like (1, 1)"
    elif not span[0] <= API_VERSION <= span[1]:
        yield f"it is {span[0]} to {span[1]}"


def _schema_faults(cls: type[Plugin]) -> Iterable[str]:
    schema = getattr(cls, "config_schema", None)
    if not (inspect.isclass(schema) and issubclass(schema, Schema)):
        yield f"it is {schema!r}"


def _required(schema: type[Schema]) -> set[str]:
    return {name for name, one in schema().load_fields.items() if one.required}


def _half_faults(half: object, contract: type, capabilities: type) -> Iterable[str]:
    if not isinstance(half, contract):
        yield f"a {contract.__name__} is needed, not a {type(half).__name__}"
        return
    if not isinstance(getattr(half, "capabilities", None), capabilities):
        yield f"its capabilities must be a {capabilities.__name__}"
    options = getattr(half, "pool_options", Schema)
    if not (inspect.isclass(options) and issubclass(options, Schema)):
        yield f"its pool_options must be a marshmallow Schema class, not {options!r}"
    yield from override_faults(type(half), contract)


def _pair_faults(plugin: Plugin, drivers: Drivers, role: str, contract: type) -> Iterable[str]:
    half, driver = getattr(plugin, role), getattr(drivers, role)
    if (half is None) != (driver is None):
        yield (
            f"there are {role} definitions without a driver"
            if half
            else f"there is a {role} driver without definitions"
        )
    if driver is not None and not isinstance(driver, contract):
        yield f"a {contract.__name__} is needed, not a {type(driver).__name__}"
    elif driver is not None:
        yield from override_faults(type(driver), contract)


def _call_faults(plugin: Plugin, drivers: Drivers) -> Iterable[str]:
    declared = {action.name for action in plugin.actions}
    for name in sorted(declared ^ set(drivers.actions)):
        yield f'"{name}" is declared, but Drivers.actions lacks it' if name in declared else f'"{name}" is not declared'


def _built(answers: Answers, question: str, make: Callable[[], Any]) -> Any:
    try:
        made = make()
    except Exception as error:  # noqa: BLE001  # not ours to know what a stranger's code raises
        answers.tell(question, [f"{type(error).__name__}: {error}"])
        return None
    answers.tell(question, [])
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
