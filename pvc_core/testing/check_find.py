# SPDX-License-Identifier: LGPL-3.0-or-later
"""The plugin that check.py is asked about, installed or in a directory, and what importing it drags in."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pvc_core.loader.discover import GROUP

_HEAVY = ("libvirt", "rados", "rbd", "pyroute2", "kazoo", "nftables")
_PROBE = """
import importlib, json, sys, threading
sys.path[:0] = json.loads(sys.argv[1])
import pvc_core.contracts
module, _, attribute = sys.argv[2].partition(":")
error = ""
try:
    target = importlib.import_module(module)
    for part in attribute.split("."):
        target = getattr(target, part)
except BaseException as raised:
    error = f"{type(raised).__name__}: {raised}"
print("\\n" + json.dumps([error, sorted({name.split(".")[0] for name in sys.modules}), threading.active_count()]))
"""
_LIMIT_S = 10.0


class NothingFound(Exception):
    """The sentence to say."""


@dataclass(frozen=True)
class Found:
    """One entry point. `source` says where it comes from, `paths` what must stand in sys.path for it."""

    name: str
    target: str
    source: str
    paths: tuple[str, ...] = ()

    def load(self) -> object:
        """Raises whatever its import raises; impurities() has tried that in another process."""
        for path in self.paths:
            if path not in sys.path:
                sys.path.insert(0, path)
        return importlib.metadata.EntryPoint(self.name, self.target, GROUP).load()


def find(name_or_path: str) -> list[Found]:
    """All plugins that this names. Raises NothingFound with the reason."""
    if "/" in name_or_path or Path(name_or_path, "setup.cfg").exists() or Path(name_or_path, "pyproject.toml").exists():
        return _in_directory(Path(name_or_path).resolve())
    points = [point for point in importlib.metadata.entry_points(group=GROUP) if point.name == name_or_path]
    if not points:
        installed = ", ".join(sorted(importlib.metadata.entry_points(group=GROUP).names)) or "none"
        raise NothingFound(
            f'no plugin "{name_or_path}" is installed (installed are: {installed}); give a name or a directory'
        )
    if len(points) > 1:
        offers = ", ".join(str(point.dist.name) if point.dist else "?" for point in points)
        raise NothingFound(f'"{name_or_path}" is offered by {offers}; uninstall the ones that are not meant')
    dist = points[0].dist
    return [Found(points[0].name, points[0].value, f"{dist.name} {dist.version}" if dist else "installed")]


def impurities(found: Found) -> Iterable[str]:
    """Why importing the plugin's module, in a process of its own, is not cheap and pure."""
    command = [sys.executable, "-c", _PROBE, json.dumps([*found.paths]), found.target]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        error, modules, threads = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        yield f"it did not end within {_LIMIT_S:g} s"
        return
    except (ValueError, IndexError):
        yield f"it ended the process with code {done.returncode}: {done.stderr.strip()[-200:]}"
        return
    if error:
        yield error
    for heavy in sorted(set(_HEAVY) & set(modules)):
        yield f"it imports {heavy}; do that in build_drivers"
    if threads > 1:
        yield f"it started {threads - 1} threads"


def _in_directory(path: Path) -> list[Found]:
    points = {**_from_setup_cfg(path / "setup.cfg"), **_from_pyproject(path / "pyproject.toml")}
    if not points:
        raise NothingFound(f'{path} has no entry point in group "{GROUP}", neither in setup.cfg nor in pyproject.toml')
    paths = tuple(str(one) for one in (path / "src", path) if one.is_dir())
    return [Found(name, target, str(path), paths) for name, target in sorted(points.items())]


def _from_setup_cfg(path: Path) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    lines = parser.get("options.entry_points", GROUP, fallback="").splitlines()
    pairs = (line.split("#")[0].partition("=") for line in lines)
    return {name.strip(): target.strip() for name, equals, target in pairs if equals}


def _from_pyproject(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}).get("entry-points", {}).get(GROUP, {})
    return {str(name): str(target) for name, target in table.items()}
