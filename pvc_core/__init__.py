"""The microkernel of PVC. docs/architecture.md says which room is for what."""

from collections.abc import Mapping

__version__ = "2.0.0a1"

CONFIG_FILE = "/etc/pvc/pvc.yaml"


def config_file(environ: Mapping[str, str]) -> str:
    """Where every daemon, and the library, looks when it is not told by --config."""
    return environ.get("PVC_CONFIG_FILE") or CONFIG_FILE
