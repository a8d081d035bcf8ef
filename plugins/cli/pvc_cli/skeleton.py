"""Make a plugin's skeleton from a template: a working plugin whose name is replaced in paths and texts.

A template lies in skeletons/<kind>/ and is called <kind>_example everywhere, so that it can be run and tested as it is.
"""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pvc_cli.errors import CliError

LEFT_OUT = ("__pycache__", ".pytest_cache", "build", "dist")


def make(kind: str, name: str, target: Path) -> Path:
    """Write the skeleton of the plugin `name` into `target`, which must not exist or be empty; answers `target`."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > 60:
        raise CliError(
            f'"{name}" is no name for a plugin.',
            help=f"lower-case letters, digits and _, for example {kind}_{kind[:3]}1",
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CliError(f"{target} is there already and is not empty; nothing was written.", help="give another DIR")
    copy(files("pvc_cli") / "skeletons" / kind, target, words(kind, name))
    return target


def words(kind: str, name: str) -> dict[str, str]:
    """What is replaced by what: the name as in Python, as a distribution, as a class."""
    example = f"{kind}_example"
    return {
        example: name,
        example.replace("_", "-"): name.replace("_", "-"),
        camel(example): camel(name),
    }


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def copy(source: Traversable, target: Path, replacements: dict[str, str]) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            if entry.name not in LEFT_OUT and not entry.name.endswith((".pyc", ".egg-info")):
                copy(entry, target / replaced(entry.name, replacements), replacements)
    else:
        target.write_text(replaced(source.read_text(encoding="utf-8"), replacements), encoding="utf-8")


def replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text
