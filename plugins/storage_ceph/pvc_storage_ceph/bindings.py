"""The modules rados and rbd, which no package index has: Debian's, also from within a virtualenv that cannot see them.

Only these two are taken from Debian's directory, by their path, so that nothing else there comes into our way.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from pvc_core.errors import Permanent

_DEBIAN = Path("/usr/lib/python3/dist-packages")


def load() -> tuple[Any, Any]:
    """(rados, rbd). Raises Permanent saying what to install."""
    return _module("rados"), _module("rbd")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        pass
    for suffix in EXTENSION_SUFFIXES:
        path = _DEBIAN / f"{name}{suffix}"
        if path.exists():
            return _loaded(name, path)
    raise Permanent(
        f"storage_ceph needs Python's module {name}, and there is none for {sys.executable}",
        help="install the Debian packages python3-rados and python3-rbd; they go with Debian's own python3",
    )


def _loaded(name: str, path: Path) -> Any:
    loader = ExtensionFileLoader(name, str(path))
    spec = spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module
