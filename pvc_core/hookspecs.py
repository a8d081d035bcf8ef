# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every hook, as a pluggy specification. No logic; loader/hooks.py calls them, one plugin at a time.

Three families, told apart by name. Notify (`pvc_vm_started`): past tense, on the node that did it, in order per
object, at most once, a failure is isolated and logged. Check (`pvc_check_vm_start`): may raise Refused, all reasons
are joined; two seconds; crashed or late is no objection and shows in health; never asked in recovery. Collect
(`pvc_collect_health`): results per plugin. A hook never carries correctness. Arguments have no defaults (pluggy 1.6
would drop them); an implementation may take fewer arguments than stand here, so adding one is safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pluggy

from pvc_core.model.check import CheckLine
from pvc_core.model.node import HealthSeen
from pvc_core.model.storage import Volume
from pvc_core.model.vm import Description, VmWanted

hookspec = pluggy.HookspecMarker("pvc")
hookimpl = pluggy.HookimplMarker("pvc")


class Hooks:
    """docs/hooks.md shows each with its real signature; tests/hooks has a test named after each."""

    @hookspec
    def pvc_node_ready(self, node: str) -> None:
        """`node` (this one) takes guests from now on."""

    @hookspec
    def pvc_node_flushed(self, node: str) -> None:
        """The last guest has left `node` (this one) and none will come."""

    @hookspec
    def pvc_node_lost(self, node: str, why: str) -> None:
        """`node` is given up for dead by a majority of coordinators; on the primary. Its guests may still execute."""

    @hookspec
    def pvc_node_fenced(self, node: str, why: str) -> None:
        """It is proved that `node` does no more harm; on the primary. Its guests start elsewhere from now on."""

    @hookspec
    def pvc_node_returned(self, node: str) -> None:
        """`node` (this one) was given up, and is back in a new life."""

    @hookspec
    def pvc_vm_defined(self, vm: VmWanted) -> None:
        """A new VM is known; on the primary."""

    @hookspec
    def pvc_vm_changed(self, vm: VmWanted) -> None:
        """Its definition or metadata changed; on the primary."""

    @hookspec
    def pvc_vm_started(self, vm: VmWanted) -> None:
        """Its guest runs here."""

    @hookspec
    def pvc_vm_stopped(self, vm: VmWanted, reason: str) -> None:
        """Its guest was seen gone here; `reason` is the hypervisor's word."""

    @hookspec
    def pvc_vm_migrated(self, vm: VmWanted, source: str) -> None:
        """Its running guest has come here from node `source`, with its memory."""

    @hookspec
    def pvc_vm_failed(self, vm: VmWanted, reason: str) -> None:
        """It cannot be started here and will not be tried again until someone asks."""

    @hookspec
    def pvc_vm_removed(self, vm: VmWanted) -> None:
        """It is forgotten; on the primary."""

    @hookspec
    def pvc_volume_created(self, volume: Volume) -> None: ...

    @hookspec
    def pvc_volume_resized(self, volume: Volume, old_size_bytes: int) -> None: ...

    @hookspec
    def pvc_volume_removed(self, volume: Volume) -> None: ...

    @hookspec
    def pvc_check_vm_define(self, vm: VmWanted, description: Description) -> None:
        """Raise Refused to object to this definition. Asked in pvcapid: pure, no driver at hand."""

    @hookspec
    def pvc_check_vm_start(self, vm: VmWanted, description: Description) -> None:
        """Raise Refused to object to this start on this node. Not asked in recovery."""

    @hookspec
    def pvc_collect_health(self) -> Sequence[HealthSeen]:
        """This plugin's findings on this node now; empty when all is well."""

    @hookspec
    def pvc_collect_check(self, peers: Mapping[str, str]) -> Sequence[CheckLine]:
        """Lines for `pvc cluster check`, found on this node now. `peers`: address on the cluster network by node."""

    @hookspec
    def pvc_collect_metrics(self) -> Sequence[tuple[str, dict[str, str], float]]:
        """Samples (name, labels, value) of this node; names begin with pvc_ and the plugin's name."""
