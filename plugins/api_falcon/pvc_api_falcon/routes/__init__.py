"""Every route, one file per noun. docs/api.md shows the same table; a test holds them equal."""

from __future__ import annotations

from pvc_api_falcon.route import Route
from pvc_api_falcon.routes import (
    acl,
    audit,
    backup,
    cluster,
    doc,
    event,
    fault,
    key,
    lease,
    login,
    metrics,
    network,
    node,
    osd,
    pending,
    plugin,
    pool,
    snapshot,
    sriov,
    storage,
    task,
    vm,
    vm_line,
    vm_meta,
    vm_state,
    volume,
)

THERE: tuple[Route, ...] = (
    *cluster.ROUTES,
    *fault.ROUTES,
    *backup.ROUTES,
    *node.ROUTES,
    *vm.ROUTES,
    *vm_meta.ROUTES,
    *vm_state.ROUTES,
    *vm_line.ROUTES,
    *storage.ROUTES,
    *osd.ROUTES,
    *pool.ROUTES,
    *volume.ROUTES,
    *snapshot.ROUTES,
    *task.ROUTES,
    *plugin.ROUTES,
    *network.ROUTES,
    *lease.ROUTES,
    *sriov.ROUTES,
    *acl.ROUTES,
    *login.ROUTES,
    *key.ROUTES,
    *audit.ROUTES,
    *metrics.ROUTES,
    *event.ROUTES,
    *doc.doc_routes(lambda: THERE),
)

ROUTES: tuple[Route, ...] = (*THERE, *pending.ROUTES)
