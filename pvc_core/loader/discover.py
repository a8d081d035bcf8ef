"""Finds and imports the classes behind entry points in group "pvc.plugins". The only importer of stevedore.

Classes only: nothing is built here, and whether a class is a good plugin is registry.py's question.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass

from stevedore import NamedExtensionManager

GROUP = "pvc.plugins"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What pip installed the plugin as."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """One name's outcome: `target` is what the entry point names, or `error` says why there is none.

    `distributions` are all that offer the name: none means not installed, two that nobody can say which is meant.
    """

    name: str
    distributions: tuple[Distribution, ...] = ()
    target: object = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """`installed` are all names any distribution offers, asked for or not."""

    found: dict[str, Discovered]
    installed: tuple[str, ...]


def discover(names: Iterable[str]) -> Discovery:
    """Import what the entry points of these names point at, and nothing else.

    Raises nothing a plugin's import may raise.
    """
    points = list(importlib.metadata.entry_points(group=GROUP))
    found = {name: _one(name, [point for point in points if point.name == name]) for name in names}
    return Discovery(found=found, installed=tuple(sorted({point.name for point in points})))


def last_line(error: BaseException) -> str:
    """An exception as one line for an operator: kind and text, no traceback."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def _one(name: str, points: list[importlib.metadata.EntryPoint]) -> Discovered:
    distributions = tuple(_distribution(point) for point in points)
    if len(points) != 1:
        return Discovered(name=name, distributions=distributions)
    failures: list[BaseException] = []
    try:
        manager = _OneName(name, points, failures)
    except (SystemExit, AssertionError) as error:  # stevedore lets these through; a plugin must not end the daemon
        return Discovered(name=name, distributions=distributions, error=last_line(error))
    if failures:
        return Discovered(name=name, distributions=distributions, error=last_line(failures[0]))
    return Discovered(name=name, distributions=distributions, target=manager[name].plugin)


class _OneName(NamedExtensionManager):
    """stevedore for one name, with a list of entry points read a moment ago.

    stevedore's own list comes from a cache on disk whose times are too coarse to see an upgrade a minute old, leaves
    out a second distribution that offers the same class, and does not know the distributions. It also logs and swallows
    failures unless it is given somewhere to put them.
    """

    def __init__(self, name: str, points: list[importlib.metadata.EntryPoint], failures: list[BaseException]) -> None:
        self._points = points
        super().__init__(
            GROUP,
            names=[name],
            on_load_failure_callback=lambda manager, point, error: failures.append(error),
            on_missing_entrypoints_callback=None,
        )

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        return self._points


def _distribution(point: importlib.metadata.EntryPoint) -> Distribution:
    if point.dist is None:
        return Distribution(name="unknown", version="")
    return Distribution(name=point.dist.metadata["Name"] or "unknown", version=point.dist.version or "")
