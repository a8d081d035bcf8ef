"""Names in pvc.yaml -> live plugins, and the hooks they listen to. Builds no driver: that is daemon/build.py's."""

from pvc_core.loader.discover import Distribution
from pvc_core.loader.registry import Loaded, load_all, load_plugins

__all__ = ["Distribution", "Loaded", "load_all", "load_plugins"]
