"""Backup and restore of what is wanted, and beginning anew: /backup, /restore, /initialize."""

from __future__ import annotations

from typing import Any

import msgspec
from marshmallow import Schema, ValidationError, fields

from pvc_api_falcon.fields import Names, flag, sure, text
from pvc_api_falcon.params import MISSING
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.cluster import BackupBody
from pvc_core.units import MIB

BACKUP_MAX_BYTES = 256 * MIB


class BackupIn(Schema):
    passphrase = text(required=True)


class ClusterData(fields.Field):
    """The file's content: as text, or as an object of a JSON body."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(value) if isinstance(value, str) else value
        except msgspec.MsgspecError as error:
            raise ValidationError(f"is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise ValidationError("is no JSON object")
        return found


class RestoreIn(Schema):
    sure = sure()
    cluster_data = ClusterData(required=True, error_messages={"required": MISSING})
    passphrase = text()
    without = Names(load_default=list)


class InitializeIn(Schema):
    sure = sure()
    overwrite = flag()
    without = Names(load_default=list)


def read_backup(call: Call) -> Answer:
    return data(call.services.backups.backup(by=call.by, passphrase=call.args.get("passphrase") or ""))


def restore(call: Call) -> Answer:
    given = call.args
    task = call.services.backups.restore(
        given["cluster_data"], by=call.by, passphrase=given.get("passphrase") or "", without=given["without"]
    )
    return said(task.status)


def initialize(call: Call) -> Answer:
    given = call.args
    sentence = call.services.backups.initialize(by=call.by, overwrite=given["overwrite"], without=given["without"])
    return said(sentence)


ROUTES = (
    Route(
        method="GET", path="/backup", does=read_backup, asks=True, gives=BackupBody,
        help="What is wanted, as it was at one moment, without secrets.",
    ),
    Route(
        method="POST", path="/backup", does=read_backup, takes=BackupIn, gives=BackupBody,
        help="The same with its secrets, sealed by a passphrase.",
    ),
    Route(
        method="POST", path="/restore", does=restore, takes=RestoreIn, body_limit_bytes=BACKUP_MAX_BYTES,
        help="Make what is wanted be a backup's; every node must answer and every guest be known.",
    ),
    Route(
        method="POST", path="/initialize", does=initialize, takes=InitializeIn,
        help="With overwrite, forget every VM, pool and volume (not their bytes); no guest may run.",
    ),
)  # fmt: skip
