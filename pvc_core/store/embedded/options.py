"""Where pvcstored listens and what it keeps: from pvc.yaml's store.embedded and paths, overruled by the command line.

Reads these sections and nothing else, so that a fault elsewhere in pvc.yaml does not keep the store down; checking the
file is pvc_core/config's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pvc_core.errors import Invalid

DEFAULT_PORT = 2181
DEFAULT_STATE = Path("/var/lib/pvc")
DEFAULT_SECRETS = Path("/etc/pvc/secrets")
FILE = "store.db"
"""In the directory `store.embedded.path`, which is `store` below paths.state if it is not given."""
NO_SECRETS = "none"


@dataclass(frozen=True, slots=True)
class Options:
    """`secrets` is None when nobody is asked for a password."""

    host: str
    port: int
    path: Path
    secrets: Path | None


def read_options(
    config: Path,
    *,
    host: str | None = None,
    port: int | None = None,
    path: Path | None = None,
    secrets: str | None = None,
) -> Options:
    """What is given, else what `config` says (it need not exist), else the defaults. Raises Invalid."""
    section, paths = _sections(config)
    where = _path(paths.get("secrets", DEFAULT_SECRETS)) if secrets is None else secrets
    directory = _path(section.get("path", _path(paths.get("state", DEFAULT_STATE)) / "store"))
    return Options(
        host=_loopback(host or "127.0.0.1"),
        port=_port(section.get("port", DEFAULT_PORT) if port is None else port),
        path=directory / FILE if path is None else _path(path),
        secrets=None if where == NO_SECRETS else Path(where),
    )


def _sections(config: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """store.embedded and paths."""
    try:
        text = config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {config}: {getattr(error, 'strerror', None) or error}") from error
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # not only YAMLError: what looks like a date or a number and is none, and very deep nesting
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise Invalid(
            f"{config}{line} is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}"
        ) from error
    whole = document if isinstance(document, dict) else {}
    store, paths = whole.get("store"), whole.get("paths")
    if isinstance(store, dict) and "zookeeper" in store:
        raise Invalid(
            f"{config} keeps the store in ZooKeeper, not in pvcstored", help="do not start pvcstored on this node"
        )
    section = store.get("embedded") if isinstance(store, dict) else None
    if section is not None and not isinstance(section, dict):
        raise Invalid(
            f"{config}: store.embedded is {section!r}", help="write for example: store: {embedded: {port: 2181}}"
        )
    return section or {}, paths if isinstance(paths, dict) else {}


def _loopback(host: str) -> str:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise Invalid(f"{host!r} is not an address", help="listen on 127.0.0.1") from None
    if not address.is_loopback:
        raise Invalid(
            f"{host} is not a loopback address, and pvcstored speaks without encryption",
            help="listen on 127.0.0.1; for several nodes use ZooKeeper",
        )
    return str(address)


def _port(port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise Invalid(f"{port!r} is not a port", help="give a number from 1 to 65535")
    return port


def _path(path: object) -> Path:
    if not isinstance(path, str | Path) or not Path(path).is_absolute():
        raise Invalid(f"{str(path)!r} is not an absolute path", help=f"for example {DEFAULT_STATE}/store")
    return Path(path)
