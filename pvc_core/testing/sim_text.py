# SPDX-License-Identifier: LGPL-3.0-or-later
"""A scenario as YAML: read with every mistake named, and written as it is read. What one is: sim_scenario.py."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from pvc_core.errors import Invalid
from pvc_core.policy.suspicion import Patience
from pvc_core.testing.sim_actions import ACTIONS
from pvc_core.testing.sim_ha import Setting
from pvc_core.testing.sim_scenario import Scenario, Step

NODES_MAX = 50
LONGEST_S = 30 * 86400
SPECIAL = ("@primary", "@free", "@here")
LISTS = ("vms", "expect", "refuse", "letters")
VM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def load(text: str) -> Scenario:
    """Raises Invalid: where, what is wrong, and what may stand there."""
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # not only YAMLError: what looks like a date or a number and is none, and very deep nesting
        raise Invalid(f"it is no YAML: {_one_line(error)}") from None
    data = _mapping(data, "a scenario", {one.name for one in fields(Scenario)})
    if not isinstance(data.get("name"), str):
        raise Invalid("a scenario has a name", help="name: what happens, in a sentence")
    setting = _setting(data.pop("setting", {}))
    lists: dict[str, Any] = {key: tuple(map(str, _list(data.pop(key), key))) for key in LISTS if key in data}
    for pattern in (*lists.get("expect", ()), *lists.get("refuse", ())):
        _pattern(pattern)
    vms = lists.get("vms", Scenario(name="").vms)
    if bad := [vm for vm in vms if not VM_NAME.fullmatch(vm) or vms.count(vm) > 1]:
        raise Invalid(f"vms: {bad[0]!r}", help="names of letters, digits and _.-, each once")
    nodes = [f"hv{number}" for number in range(1, setting.nodes + 1)]
    steps: list[Step] = []
    for number, one in enumerate(_list(data.pop("steps", []), "steps"), start=1):
        steps.append(_step(one, f"step {number}", nodes, vms, steps[-1].at if steps else 0.0))
    for key, kind in (("seed", int), ("quiet", (int, float)), ("starts", int), ("known_limit", str)):
        if key in data and (isinstance(data[key], bool) or not isinstance(data[key], kind)):
            raise Invalid(f"{key} is {data[key]!r}, which is not {'a text' if kind is str else 'a number'}")
    if not 0 <= data.get("quiet", 0) <= LONGEST_S:
        raise Invalid(
            f"quiet is {data['quiet']}", help=f"seconds without faults at the end, 0 for none, at most {LONGEST_S}"
        )
    for vm, node in _mapping(data.get("where", {}), "where").items():
        _known(vm, vms, "where", "VM")
        _known(node, ("", *nodes), "where", "node") if node else None
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
        rates = _list(data["rates"], "setting: rates")
        for rate in rates:
            _fits(rate, float, "setting: rates has")
        data["rates"] = tuple(map(float, rates))
    setting = Setting(**data)
    if not 1 <= setting.nodes <= NODES_MAX:
        raise Invalid(f"setting: nodes is {setting.nodes}", help=f"from 1 to {NODES_MAX}")
    if setting.coordinators not in (1, 3, 5) or setting.coordinators > setting.nodes:
        raise Invalid(f"setting: coordinators is {setting.coordinators}", help="1, 3 or 5 of the nodes")
    if setting.proof not in ("one", "all"):
        raise Invalid(f"setting: proof is {setting.proof!r}", help="one or all")
    return setting


def _step(given: Any, where: str, nodes: Sequence[str], vms: Sequence[str], before_s: float) -> Step:
    data = _mapping(given, where)
    if True in data:  # YAML reads an "on" without quotation marks so
        data["on"] = data.pop(True)
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
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= LONGEST_S:
        raise Invalid(f"{where}: at is {at!r}", help=f"seconds after all VMs run, at most {LONGEST_S}")
    takes = dict(list(inspect.signature(ACTIONS[what]).parameters.items())[1:])
    if unknown := sorted(map(str, set(data) - set(takes))):
        raise Invalid(
            f"{where}: {what} takes no {', '.join(unknown)}", help=f"it takes: {', '.join(takes) or 'nothing'}"
        )
    if missing := [name for name, one in takes.items() if one.default is one.empty and name not in data]:
        raise Invalid(f"{where}: {what} needs {', '.join(missing)}")
    hints = get_type_hints(ACTIONS[what])
    for key, value in data.items():
        _fits(value, hints[key], f"{where}: {key} is")
        if key in ("node", "to", "on") and isinstance(value, str) and value:
            meant = (*nodes, *SPECIAL, *(f"@{vm}" for vm in vms)) if key == "node" else nodes
            _known(value, meant, where, "node")
    others = data.get("others", "all")
    for other in () if others == "all" else others.split():
        _known(other, nodes, where, "node")
    if "vm" in takes:
        _known(data["vm"], vms, where, "VM")
    return Step(at=float(at), do=what, args=data, **moments)


def _fits(value: Any, hint: Any, what: str) -> None:
    """A value of an action's argument, by its annotation."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise Invalid(f"{what} {value!r}", help=f"one of {', '.join(get_args(hint))}")
        return
    kinds = get_args(hint) or (hint,)
    is_so = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
    if isinstance(value, bool):
        is_so = bool in kinds
    elif isinstance(value, int | float):
        is_so = is_so and 0 <= value < math.inf
    if is_so:
        return
    asked = {str: "a text", bool: "true or false", float: "a number, not below 0", int: "a whole number, not below 0"}
    raise Invalid(f"{what} {value!r}", help=" or ".join(asked[kind] for kind in kinds if kind is not NoneType))


def _known(name: Any, among: Sequence[str], where: str, what: str) -> None:
    if name not in among:
        raise Invalid(f"{where}: there is no {what} {name!r}", help=f"there are: {', '.join(among)}")


def _mapping(data: Any, where: str, known: set[str] | None = None) -> dict[Any, Any]:
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
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    wanted = int if isinstance(like, int) and not isinstance(like, bool) else type(like)
    if not (number if isinstance(like, float) else type(value) is wanted and (number or wanted is not int)):
        raise Invalid(f"{where} is {value!r}", help=f"like {like!r}")


def _pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise Invalid(f"{text!r} is no regular expression: {error}") from None


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{what}, line {mark.line + 1}" if mark is not None else str(what)
