"""A broken pvc.yaml on a node with guests: keep them, say who is here and why, touch nothing (design section 6)."""

from __future__ import annotations

from pathlib import Path

from pvc_core.config import Config, ConfigError, Fault, LastGood, read
from pvc_core.contracts.compute import ComputeDriver
from pvc_core.errors import PvcError
from pvc_core.loader import Loaded, load_all, load_plugins


def instead(file: Path, node: str | None, error: ConfigError) -> tuple[Config, Loaded, str]:
    """The last good configuration, what loads of it, and the reason. Raises `error` when there is none."""
    found = read(file, node=node)
    try:
        config = LastGood(found.paths.state).restore(node=node)
    except PvcError:
        raise error from None
    if config is None:
        raise error
    loaded = load_plugins(config, tolerant=True)
    first = str(error).splitlines()[0]
    return config, loaded, first


def needed(compute: ComputeDriver) -> bool:
    """Whether guests run here. When that cannot be found out, they may."""
    try:
        return bool(compute.list_guests(deadline_s=10.0))
    except PvcError:
        return True


def faults(file: Path, node: str | None) -> tuple[Fault, ...]:
    """What is wrong, for a node without guests, which then refuses to start."""
    try:
        load_all(file, node=node)
    except ConfigError as error:
        return tuple(error.faults)
    return ()
