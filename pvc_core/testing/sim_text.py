# SPDX-License-Identifier: LGPL-3.0-or-later
"""A scenario as YAML: read with every mistake named, and written as it is read. What one is: sim_scenario.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import yaml

from pvc_core.errors import Invalid
from pvc_core.policy.suspicion import Patience
from pvc_core.testing.sim_actions import ACTIONS
from pvc_core.testing.sim_ha import Setting
from pvc_core.testing.sim_scenario import Scenario, Step

NODES_MAX = 50
SPECIAL = ("@primary", "@free", "@here")
LISTS = ("vms", "expect", "refuse", "letters")


def load(text: str) -> Scenario:
    """Raises Invalid: where, what is wrong, and what may stand there."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"it is no YAML: {_one_line(error)}") from None
    data = _mapping(data, "a scenario", {one.name for one in fields(Scenario)})
    if not isinstance(data.get("name"), str):
        raise Invalid("a scenario has a name", help="name: what happens, in a sentence")
    setting = _setting(data.pop("setting", {}))
    lists: dict[str, Any] = {key: tuple(map(str, _list(data.pop(key), key))) for key in LISTS if key in data}
    for pattern in (*lists.get("expect", ()), *lists.get("refuse", ())):
        _pattern(pattern)
    vms = lists.get("vms", Scenario(name="").vms)
    nodes = [f"hv{number}" for number in range(1, setting.nodes + 1)]
    steps: list[Step] = []
    for number, one in enumerate(_list(data.pop("steps", []), "steps"), start=1):
        steps.append(_step(one, f"step {number}", nodes, vms, steps[-1].at if steps else 0.0))
    for key, kind in (("seed", int), ("quiet", (int, float)), ("starts", int), ("known_limit", str)):
        if key in data and not isinstance(data[key], kind):
            raise Invalid(f"{key} is {data[key]!r}, which is not {'a text' if kind is str else 'a number'}")
    for vm in _mapping(data.get("where", {}), "where"):
        _known(vm, vms, "where", "VM")
    return Scenario(steps=tuple(steps), setting=setting, **lists, **data)


def dump(scenario: Scenario) -> str:
    """As `load` reads it."""
    data: dict[str, Any] = {"name": scenario.name, "seed": scenario.seed, "vms": list(scenario.vms)}
    default = asdict(Setting())
    data["setting"] = {key: _plain(value) for key, value in asdict(scenario.setting).items() if value != default[key]}
    data["steps"] = [step.plain() for step in scenario.steps]
    data["quiet"] = scenario.quiet
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _setting(given: Any) -> Setting:
    data = _mapping(given, "setting", {one.name for one in fields(Setting)})
    default = Setting()
    for key, value in data.items():
        if key not in ("patience", "rates"):
            _same_kind(value, getattr(default, key), f"setting: {key}")
    if "patience" in data:
        patience = _mapping(data["patience"], "setting: patience", {one.name for one in fields(Patience)})
        for key, value in patience.items():
            _same_kind(value, getattr(default.patience, key), f"setting: patience: {key}")
        data["patience"] = Patience(**patience)
    if "rates" in data:
        data["rates"] = tuple(float(rate) for rate in _list(data["rates"], "setting: rates"))
    setting = Setting(**data)
    if not 1 <= setting.nodes <= NODES_MAX:
        raise Invalid(f"setting: nodes is {setting.nodes}", help=f"from 1 to {NODES_MAX}")
    if setting.proof not in ("one", "all"):
        raise Invalid(f"setting: proof is {setting.proof!r}", help="one or all")
    return setting


def _step(given: Any, where: str, nodes: Sequence[str], vms: Sequence[str], before_s: float) -> Step:
    data = _mapping(given, where)
    moments = {key: data.pop(key) for key in ("once", "before") if key in data}
    if len(moments) + ("at" in data) > 1:
        raise Invalid(
            f"{where}: it happens at a time, once something was said, or before something",
            help="one of at, once, before",
        )
    for moment, pattern in moments.items():
        if not isinstance(pattern, str) or not pattern:
            raise Invalid(f"{where}: {moment} is {pattern!r}", help="a regular expression")
        _pattern(pattern)
    at, what = data.pop("at", before_s if moments else 0.0), data.pop("do", None)
    if what not in ACTIONS:
        raise Invalid(
            f"{where}: {what!r} is nothing that can happen", help=f"choose among: {', '.join(sorted(ACTIONS))}"
        )
    if isinstance(at, bool) or not isinstance(at, int | float) or at < 0:
        raise Invalid(f"{where}: at is {at!r}", help="seconds after all VMs run")
    takes = dict(list(inspect.signature(ACTIONS[what]).parameters.items())[1:])
    if unknown := sorted(map(str, set(data) - set(takes))):
        raise Invalid(
            f"{where}: {what} takes no {', '.join(unknown)}", help=f"it takes: {', '.join(takes) or 'nothing'}"
        )
    if missing := [name for name, one in takes.items() if one.default is one.empty and name not in data]:
        raise Invalid(f"{where}: {what} needs {', '.join(missing)}")
    for key in ("node", "to", "on"):
        if key in takes and isinstance(data.get(key), str) and data[key]:
            _known(data[key], (*nodes, *SPECIAL, *(f"@{vm}" for vm in vms)), where, "node")
    if "vm" in takes:
        _known(data["vm"], vms, where, "VM")
    return Step(at=float(at), do=what, args=data, **moments)


def _known(name: Any, among: Sequence[str], where: str, what: str) -> None:
    if name not in among:
        raise Invalid(f"{where}: there is no {what} {name!r}", help=f"there are: {', '.join(among)}")


def _mapping(data: Any, where: str, known: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise Invalid(f"{where} is a mapping of names to values, not {data!r:.60}")
    if known is not None and (unknown := sorted(map(str, set(data) - known))):
        raise Invalid(f"{where} has no {', '.join(unknown)}", help=f"it may have: {', '.join(sorted(known))}")
    return dict(data)


def _list(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise Invalid(f"{where} is a list, not {data!r:.60}")
    return data


def _same_kind(value: Any, like: Any, where: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    wanted = int if isinstance(like, int) and not isinstance(like, bool) else type(like)
    if not (number if isinstance(like, float) else type(value) is wanted):
        raise Invalid(f"{where} is {value!r}", help=f"like {like!r}")


def _pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise Invalid(f"{text!r} is no regular expression: {error}") from None


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{what}, line {mark.line + 1}" if mark is not None else str(what)
