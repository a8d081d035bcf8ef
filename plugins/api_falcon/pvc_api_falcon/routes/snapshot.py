"""Snapshots of volumes."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import text
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.storage import SnapshotBody, snapshot_body


class ListIn(Schema):
    pool = text()
    volume = text()
    limit = text()


class AddIn(Schema):
    pool = text(required=True)
    volume = text(required=True)
    snapshot = text(required=True)


class RenameIn(Schema):
    new_name = text(required=True)


def list_snapshots(call: Call) -> Answer:
    found = call.services.storage.snapshots(**call.args)
    return data([snapshot_body(volume, snapshot) for volume, snapshot in found])


def show_snapshot(call: Call) -> Answer:
    return data([snapshot_body(*call.services.storage.snapshot(*_ref(call)))])


def add_snapshot(call: Call) -> Answer:
    args = {**call.names, **call.args}
    volume, snapshot = call.services.storage.add_snapshot(args["pool"], args["volume"], args["snapshot"], by=call.by)
    return said(f"Snapshot {snapshot.name} of volume {volume.ref} is taken.")


def rename_snapshot(call: Call) -> Answer:
    volume, snapshot = call.services.storage.rename_snapshot(*_ref(call), call.args["new_name"], by=call.by)
    return said(f"Snapshot {call.names['snapshot']} of volume {volume.ref} is called {snapshot.name} now.")


def rollback_snapshot(call: Call) -> Answer:
    call.services.storage.rollback_snapshot(*_ref(call), by=call.by)
    return said(f"Volume {call.names['pool']}/{call.names['volume']} is as it was in {call.names['snapshot']}.")


def remove_snapshot(call: Call) -> Answer:
    call.services.storage.remove_snapshot(*_ref(call), by=call.by)
    return said(f"Snapshot {call.names['snapshot']} is removed.")


def _ref(call: Call) -> tuple[str, str, str]:
    return call.names["pool"], call.names["volume"], call.names["snapshot"]


ALL, ONE = "/storage/ceph/snapshot", "/storage/ceph/snapshot/{pool}/{volume}/{snapshot}"

ROUTES = (
    Route(method="GET", path=ALL, does=list_snapshots, takes=ListIn, gives=list[SnapshotBody], help="Snapshots."),
    Route(method="POST", path=ALL, does=add_snapshot, takes=AddIn, help="Take a snapshot."),
    Route(method="GET", path=ONE, does=show_snapshot, gives=list[SnapshotBody], help="One snapshot, as a list of one."),
    Route(method="POST", path=ONE, does=add_snapshot, missing=404, help="Take a snapshot of that name."),
    Route(method="PUT", path=ONE, does=rename_snapshot, takes=RenameIn, missing=404, help="Another name."),
    Route(method="DELETE", path=ONE, does=remove_snapshot, missing=404, help="Remove it."),
    Route(
        method="POST", path=f"{ONE}/rollback", does=rollback_snapshot, missing=404,
        help="The volume's content is the snapshot's again; no guest may use it.",
    ),
)  # fmt: skip
