"""Volumes: make, resize, rename, clone, remove; images in (upload) and out (export)."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.fields import SIZE_MAX_BYTES, choice, flag, size, text, whole
from pvc_api_falcon.route import BYTES, Answer, Call, Route, Streamed, data, said, started
from pvc_api_falcon.wire.storage import TakenBody, VolumeBody, volume_body
from pvc_core.model.task import Task

IMAGE_FORMATS = ("raw", "vmdk", "qcow2", "qed", "vdi", "vpc")


def checksum() -> Any:
    form = validate.Regexp(r"(?i)[0-9a-f]{64}|", error="must be a SHA-256 in 64 hexadecimal digits")
    return fields.String(load_default="", validate=form)


class ListIn(Schema):
    limit = text()
    pool = text()


class MakeIn(Schema):
    size = size(required=True)
    force = flag()


class AddIn(MakeIn):
    pool = text(required=True)
    volume = text(required=True)


class ChangeIn(Schema):
    new_size = size()
    new_name = text()
    force = flag()


class CloneIn(Schema):
    new_volume = text(required=True)
    force = flag()
    thin = flag()


class UploadIn(Schema):
    image_format = choice("image_format", IMAGE_FORMATS, required=True)
    file_size = whole(0, SIZE_MAX_BYTES)
    sha256 = checksum()


class ExportIn(Schema):
    """`diff` is the version of the format: what changed from snapshot `since` to `snapshot`."""

    snapshot = text(load_default="")
    since = text(load_default="")
    diff = whole(1, 2)


class ImportIn(Schema):
    snapshot = text(required=True)
    since = text(load_default="")
    file_size = whole(0, SIZE_MAX_BYTES)
    sha256 = checksum()


def list_volumes(call: Call) -> Answer:
    found = call.services.storage.volumes(pool=call.args.get("pool"), limit=call.args.get("limit"))
    return data([volume_body(volume) for volume in found])


def show_volume(call: Call) -> Answer:
    return data([volume_body(call.services.storage.volume(*_ref(call)))])


def add_volume(call: Call) -> Answer:
    args = {**call.names, **call.args}
    volume = call.services.storage.add_volume(
        args["pool"], args["volume"], args["size"], by=call.by, force=args["force"]
    )
    return said(f"Volume {volume.volume.ref} is made.")


def change_volume(call: Call) -> Answer:
    new_size: int = call.args.get("new_size", 0)
    new_name: str = call.args.get("new_name", "")
    if bool(new_size) == bool(new_name):
        raise BadParameters(
            {"new_size": "give either new_size or new_name", "new_name": "give either new_size or new_name"}
        )
    if new_name:
        volume = call.services.storage.rename_volume(*_ref(call), new_name, by=call.by)
        return said(f"Volume {'/'.join(_ref(call))} is called {volume.volume.ref} now.")
    volume = call.services.storage.resize_volume(*_ref(call), new_size, by=call.by, force=call.args["force"])
    return said(f"Volume {volume.volume.ref} has its new size.")


def remove_volume(call: Call) -> Answer:
    call.services.storage.remove_volume(*_ref(call), by=call.by)
    return said(f"Volume {'/'.join(_ref(call))} is removed.")


def scan_volume(call: Call) -> Answer:
    volume = call.services.storage.scan_volume(*_ref(call), by=call.by)
    return said(f"Volume {volume.volume.ref} is known as it is.")


def clone_volume(call: Call) -> Answer:
    thin = call.args["thin"]
    new = call.services.storage.clone_volume(
        *_ref(call), call.args["new_volume"], by=call.by, force=call.args["force"], thin=thin
    )
    return said(f"Volume {'/'.join(_ref(call))} is {'cloned thinly' if thin else 'copied'} to {new.volume.ref}.")


def flatten_volume(call: Call) -> Answer:
    return started(call.services.storage.flatten_volume(*_ref(call), by=call.by), call.services.cluster.primary)


def upload(call: Call) -> Answer:
    task = call.services.storage.upload(
        *_ref(call), call.args["image_format"], _size(call), call.upload, by=call.by, sha256=call.args["sha256"]
    )
    return _taken(task, f"The image is in volume {'/'.join(_ref(call))}.")


def apply_diff(call: Call) -> Answer:
    args = call.args
    task = call.services.storage.apply_diff(
        *_ref(call), args["snapshot"], args["since"], _size(call), call.upload, by=call.by, sha256=args["sha256"]
    )
    return _taken(task, f"Volume {'/'.join(_ref(call))} is at snapshot {args['snapshot']}.")


def _size(call: Call) -> int | None:
    announced: int | None = call.args.get("file_size")
    return call.upload_bytes if announced is None else announced


def _taken(task: Task, sentence: str) -> Answer:
    return data({"message": sentence, "task_id": task.id, **task.result})


def export(call: Call) -> Streamed:
    diff = call.args.get("diff") or (1 if call.args["since"] else 0)
    flow = call.services.storage.export(
        *_ref(call), snapshot=call.args["snapshot"], since=call.args["since"], diff=diff
    )
    name = f"{call.names['pool']}-{call.names['volume']}.{'diff' if diff else 'raw'}"
    return Streamed(flow, BYTES, {"Content-Disposition": f'attachment; filename="{name}"'}, whole=True)


def _ref(call: Call) -> tuple[str, str]:
    return call.names["pool"], call.names["volume"]


ALL, ONE = "/storage/ceph/volume", "/storage/ceph/volume/{pool}/{volume}"

ROUTES = (
    Route(method="GET", path=ALL, does=list_volumes, takes=ListIn, gives=list[VolumeBody], help="Volumes."),
    Route(method="POST", path=ALL, does=add_volume, takes=AddIn, help="Make an empty volume."),
    Route(method="GET", path=ONE, does=show_volume, gives=list[VolumeBody], help="One volume, as a list of one."),
    Route(method="POST", path=ONE, does=add_volume, takes=MakeIn, missing=404, help="Make a volume of that name."),
    Route(method="PUT", path=ONE, does=change_volume, takes=ChangeIn, missing=404, help="Another size or name."),
    Route(method="DELETE", path=ONE, does=remove_volume, missing=404, help="Destroy it and its snapshots."),
    Route(
        method="POST", path=f"{ONE}/scan", does=scan_volume, missing=404,
        help="Look at it again, or take over one made outside.",
    ),
    Route(
        method="POST", path=f"{ONE}/clone", does=clone_volume, takes=CloneIn, missing=404,
        help="A full copy, or thin.",
    ),
    Route(
        method="POST", path=f"{ONE}/flatten", does=flatten_volume, missing=404, task=True,
        help="A thin clone shares nothing any more.",
    ),
    Route(
        method="POST", path=f"{ONE}/upload", does=upload, takes=UploadIn, missing=404, upload=True, gives=TakenBody,
        help="Replace its content by an image: the first file of a multipart form, or the body itself.",
    ),
    Route(
        method="POST", path=f"{ONE}/import", does=apply_diff, takes=ImportIn, missing=404, upload=True, gives=TakenBody,
        help="Bring it from snapshot `since` to what a diff leads to, and call that `snapshot`.",
    ),
    Route(
        method="GET", path=f"{ONE}/export", does=export, takes=ExportIn, asks=True, content_type=BYTES,
        help="Its content, or a snapshot's, as a raw image; or a diff.",
    ),
)  # fmt: skip
