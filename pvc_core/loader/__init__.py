"""Names in pvc.yaml -> live plugins, and the hooks they listen to. Drivers are built by daemon/build_drivers.py."""

from pvc_core.loader.discover import Distribution
from pvc_core.loader.drivers import driver_faults
from pvc_core.loader.hooks import Hooks
from pvc_core.loader.registry import Loaded, load_all, load_plugins

__all__ = ["Distribution", "Hooks", "Loaded", "driver_faults", "load_all", "load_plugins"]
