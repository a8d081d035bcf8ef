"""Whether what an author wrote can be called as the contracts and hook specifications will call it. Pure inspection.

pluggy alone names one fault at a time and does not see a missing argument; an abstract class sees only missing names.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from pvc_core.hookspecs import Hooks as Specs

_MARK = "pvc_impl"
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def hook_arguments() -> dict[str, tuple[str, ...]]:
    """Every hook's name and its arguments, as specified."""
    return {
        name: tuple(inspect.signature(member).parameters)[1:]
        for name, member in vars(Specs).items()
        if name.startswith("pvc_")
    }


def implemented_hooks(holder: object) -> dict[str, Callable[..., Any]]:
    """The functions of an object or class that carry @hookimpl, by hook name."""
    found = {}
    for name in dir(holder):
        function = inspect.getattr_static(holder, name, None)
        function = function.__func__ if isinstance(function, staticmethod | classmethod) else function
        options = getattr(function, _MARK, None)
        if inspect.isroutine(function) and isinstance(options, dict):
            found[options.get("specname") or name] = getattr(holder, name)
    return found


def hook_faults(holder: object) -> Iterator[str]:
    """A sentence for each hook implementation that could not be called."""
    known = hook_arguments()
    for name, function in implemented_hooks(holder).items():
        yield from _one_hook(name, function, known, bound=not inspect.isclass(holder))


def override_faults(cls: type, base: type) -> Iterator[str]:
    """A sentence for each method of `base` that `cls` overrides with a signature the core cannot call."""
    for name, specified in vars(base).items():
        if name.startswith("_") or not inspect.isfunction(specified):
            continue
        written = inspect.getattr_static(cls, name, specified)
        if written is not specified and inspect.isfunction(written):
            problem = _not_callable_as(written, specified)
            if problem:
                yield f"{cls.__name__}.{name}{_show(written)} {problem}; the contract is {name}{_show(specified)}"


def _one_hook(
    name: str, function: Callable[..., Any], known: dict[str, tuple[str, ...]], *, bound: bool
) -> Iterator[str]:
    if name not in known:
        close = difflib.get_close_matches(name, list(known), n=1)
        yield f"there is no hook {name}" + (f"; did you mean {close[0]}?" if close else "; docs/hooks.md lists them")
        return
    parameters = list(inspect.signature(function).parameters.values())
    taken = parameters if bound else parameters[1:]
    specified = f"{name}({', '.join(known[name])})"
    extra = [p.name for p in taken if p.kind in POSITIONAL and p.name not in known[name]]
    if extra:
        yield f"the hook {name} takes {', '.join(extra)}, which it is never given; specified is {specified}"
    if any(p.default is not p.empty or p.kind not in POSITIONAL for p in taken):
        yield f"the hook {name} must take plain arguments without defaults, as many as it needs of {specified}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield f"the hook {name} is async; hooks are plain functions, called from worker threads"
    options = getattr(function, _MARK, {})
    if options.get("wrapper") or options.get("hookwrapper"):
        yield f"the hook {name} is a wrapper; plugins are asked one at a time, there is nothing to wrap"


def _not_callable_as(written: Callable[..., Any], specified: Callable[..., Any]) -> str:
    """What hinders calling `written` as `specified` is called: positionals by place or by name, the rest by name."""
    signature = inspect.signature(written)
    wanted = list(inspect.signature(specified).parameters.values())
    by_place = [p for p in wanted if p.kind in POSITIONAL]
    by_name = {p.name: None for p in wanted if p.kind is p.KEYWORD_ONLY}
    if inspect.iscoroutinefunction(written):
        return "is async, and the core calls it from plain threads"
    try:
        signature.bind(*(None for _ in by_place), **by_name)
        signature.bind(None, **{p.name: None for p in by_place[1:]}, **by_name)
    except TypeError as error:
        return f"cannot be called: {error}"
    return ""


def _show(function: Callable[..., Any]) -> str:
    names: list[str] = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not any(name.startswith("*") for name in names):
            names.append("*")
        names.append(str(parameter.replace(annotation=parameter.empty, default=parameter.empty)))
    return f"({', '.join(names)})"
