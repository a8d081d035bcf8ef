"""All services of one cluster. `connect` of pvc_core/library.py opens them without HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from pvc_core.cluster.heard import Heard
from pvc_core.services.acls import AclService
from pvc_core.services.audit import AuditService
from pvc_core.services.backups import BackupService
from pvc_core.services.check import CheckService
from pvc_core.services.cluster import ClusterService
from pvc_core.services.desk import Desk
from pvc_core.services.events import EventLog
from pvc_core.services.faults import FaultService
from pvc_core.services.fencing import FenceService
from pvc_core.services.hardware import HardwareService
from pvc_core.services.keys import KeyService
from pvc_core.services.leases import LeaseService
from pvc_core.services.metrics import MetricsService
from pvc_core.services.networks import NetworkService
from pvc_core.services.nodes import NodeService
from pvc_core.services.plugins import PluginService
from pvc_core.services.rebalance import RebalanceService
from pvc_core.services.storage import StorageService
from pvc_core.services.tasks import TaskService
from pvc_core.services.vms import VmService
from pvc_core.services.why import WhyService


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    desk: Desk
    vms: VmService
    hardware: HardwareService
    nodes: NodeService
    storage: StorageService
    networks: NetworkService
    leases: LeaseService
    acls: AclService
    tasks: TaskService
    cluster: ClusterService
    backups: BackupService
    check: CheckService
    why: WhyService
    plugins: PluginService
    keys: KeyService
    rebalance: RebalanceService
    fencing: FenceService
    faults: FaultService
    audit: AuditService
    metrics: MetricsService
    events: EventLog
    close: Callable[[], None] = field(default=lambda: None)

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def services_on(
    desk: Desk,
    *,
    cluster_name: str,
    coordinators: tuple[str, ...],
    upstream_floating: str = "",
    close: Callable[[], None] = lambda: None,
    heard: Heard | None = None,
    dead_after_s: float = 5.0,
    node: str = "",
) -> Services:
    """Every service on one desk; `node` is where it stands, by default the first coordinator."""
    tasks = TaskService(desk)
    vms = VmService(desk, tasks)
    nodes = NodeService(desk, coordinators, heard, dead_after_s)
    cluster = ClusterService(desk, cluster_name, upstream_floating)
    return Services(
        desk=desk,
        vms=vms,
        hardware=HardwareService(desk, vms),
        nodes=nodes,
        why=WhyService(desk, nodes),
        storage=StorageService(desk, tasks),
        networks=NetworkService(desk),
        leases=LeaseService(desk),
        acls=AclService(desk),
        tasks=tasks,
        cluster=cluster,
        check=CheckService(desk, cluster, coordinators),
        backups=BackupService(desk, tasks, cluster_name, coordinators),
        plugins=PluginService(desk, tasks),
        keys=KeyService(desk.repository, desk.keeper, desk.clock, settle=desk.settle_keys),
        rebalance=RebalanceService(desk, tasks),
        fencing=FenceService(desk, coordinators),
        faults=FaultService(desk),
        events=EventLog(desk),
        audit=AuditService(desk, node or coordinators[0]),
        metrics=MetricsService(desk, node or coordinators[0]),
        close=close,
    )
