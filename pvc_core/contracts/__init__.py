# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a plugin author implements. Grows additively; every change stands in docs/contracts/CHANGES.md."""

from pvc_core.contracts.actions import Action
from pvc_core.contracts.compute import ComputeCapabilities, ComputeDefinitions, ComputeDriver, GuestEvent, RenderRequest
from pvc_core.contracts.fence import Allowed, FenceCapabilities, FenceDefinitions, FenceDriver
from pvc_core.contracts.frontend import Frontend
from pvc_core.contracts.network import NetworkCapabilities, NetworkDefinitions, NetworkDriver
from pvc_core.contracts.plugin import API_VERSION, Drivers, Plugin, PluginContext
from pvc_core.contracts.storage import StorageCapabilities, StorageDefinitions, StorageDriver, Upload
from pvc_core.contracts.targets import (
    Block,
    Bridge,
    DiskSource,
    File,
    Hostdev,
    Iscsi,
    Macvtap,
    Nbd,
    NicTarget,
    Rbd,
    VhostUser,
)
from pvc_core.contracts.where import on_node, once

__all__ = [
    "API_VERSION",
    "Action",
    "Allowed",
    "Block",
    "Bridge",
    "ComputeCapabilities",
    "ComputeDefinitions",
    "ComputeDriver",
    "DiskSource",
    "Drivers",
    "FenceCapabilities",
    "FenceDefinitions",
    "FenceDriver",
    "File",
    "Frontend",
    "GuestEvent",
    "Hostdev",
    "Iscsi",
    "Macvtap",
    "Nbd",
    "NetworkCapabilities",
    "NetworkDefinitions",
    "NetworkDriver",
    "NicTarget",
    "Plugin",
    "PluginContext",
    "Rbd",
    "RenderRequest",
    "StorageCapabilities",
    "StorageDefinitions",
    "StorageDriver",
    "Upload",
    "VhostUser",
    "on_node",
    "once",
]
