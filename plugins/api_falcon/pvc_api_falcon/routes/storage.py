"""Storage as a whole. "ceph" is the wire's word; these answer for the pools of every driver."""

from __future__ import annotations

import time

from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.common import Message
from pvc_api_falcon.wire.storage import StorageTextBody, overview, utilization
from pvc_core.model.storage import StorageReport


def show_storage(call: Call) -> Answer:
    return said("Storage: pools, volumes and snapshots are below /storage/ceph, whatever their driver.")


def show_status(call: Call) -> Answer:
    own = [_dated(report, report.status) for report in call.services.storage.reports() if report.status]
    return _text(call, "status", "\n\n".join(own) or overview(call.services.storage.pools()))


def show_utilization(call: Call) -> Answer:
    own = [_dated(report, report.utilization) for report in call.services.storage.reports() if report.utilization]
    return _text(call, "utilization", "\n\n".join(own) or utilization(call.services.storage.pools()))


def _dated(report: StorageReport, text: str) -> str:
    """Old figures begin with how old they are and why."""
    if not report.silent:
        return text
    then = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.at_s))
    return f"  OLD: as of {then}; {report.silent}\n{text}"


def _text(call: Call, kind: str, text: str) -> Answer:
    return data({"type": kind, "primary_node": call.services.cluster.primary, "ceph_data": text})


ROUTES = (
    Route(method="GET", path="/storage", does=show_storage, gives=Message, help="Says where storage is found."),
    Route(method="GET", path="/storage/ceph", does=show_storage, gives=Message, help="The same."),
    Route(
        method="GET", path="/storage/ceph/status", does=show_status, gives=StorageTextBody,
        help="Pools as text for people.",
    ),
    Route(
        method="GET", path="/storage/ceph/utilization", does=show_utilization, gives=StorageTextBody,
        help="How full pools are, as text.",
    ),
)  # fmt: skip
