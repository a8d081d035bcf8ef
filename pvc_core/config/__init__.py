"""Find, read and check pvc.yaml.

Knows the core's own keys; each plugin's section is checked by loader/ with its schema.
"""

from pvc_core.config.faults import ConfigError, Fault
from pvc_core.config.last_good import LastGood
from pvc_core.config.read import Reading, check, load, read
from pvc_core.config.sections import (
    Cluster,
    Config,
    DefaultPool,
    EmbeddedStore,
    Fencing,
    HostNetwork,
    Intervals,
    Paths,
    PluginSection,
    Use,
    ZookeeperStore,
)

__all__ = [
    "Cluster",
    "Config",
    "ConfigError",
    "DefaultPool",
    "EmbeddedStore",
    "Fault",
    "Fencing",
    "HostNetwork",
    "Intervals",
    "LastGood",
    "Paths",
    "PluginSection",
    "Reading",
    "Use",
    "ZookeeperStore",
    "check",
    "load",
    "read",
]
