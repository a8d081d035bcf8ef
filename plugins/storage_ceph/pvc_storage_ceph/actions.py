"""What only this driver can do, as actions: OSDs, their DB devices, Ceph's flags, a benchmark. Pure; who does them is
osds.py and benchmark.py.
"""

from __future__ import annotations

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from pvc_core.contracts.actions import Action
from pvc_core.schema.fields import Size

FLAGS = (
    "noout", "noin", "noup", "nodown", "norebalance", "norecover", "nobackfill", "noscrub", "nodeep-scrub", "pause",
)  # fmt: skip
_DEVICE = validate.Regexp(
    r"/dev/[A-Za-z0-9/_.:-]+|detect:[^:]+:[^:]+:\d+",
    error="{input!r} is neither a device like /dev/sdb nor of the form detect:NAME:SIZE:NUMBER",
)
_DAY_S, _HOUR_S = 86_400.0, 3600.0


class _Db(Schema):
    """An OSD's database on a faster device: in the volume group that `osddb` made, of this size or share."""

    ext_db_ratio = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=1))
    ext_db_size = Size()

    @validates_schema
    def _one_of(self, data: dict[str, object], **_more: object) -> None:
        if data.get("ext_db_ratio") and data.get("ext_db_size"):
            raise ValidationError({"ext_db_ratio": ["give either ext_db_ratio or ext_db_size"]})


class AddIn(_Db):
    device = fields.String(required=True, validate=_DEVICE)
    weight = fields.Float(load_default=None, allow_none=True, validate=validate.Range(min=0))
    osd_count = fields.Integer(load_default=1, validate=validate.Range(1, 16))


class OneIn(Schema):
    osd = fields.Integer(required=True, validate=validate.Range(min=0))


class ReplaceIn(_Db):
    osd = fields.Integer(required=True, validate=validate.Range(min=0))
    new_device = fields.String(required=True, validate=_DEVICE)
    old_device = fields.String(load_default="")
    weight = fields.Float(load_default=None, allow_none=True, validate=validate.Range(min=0))


class RefreshIn(OneIn):
    device = fields.String(required=True, validate=_DEVICE)


class RemoveIn(OneIn):
    force = fields.Boolean(load_default=False)


class DeviceIn(Schema):
    device = fields.String(required=True, validate=_DEVICE)


class FlagIn(Schema):
    flag = fields.String(required=True, validate=validate.OneOf(FLAGS, error=f"must be one of {', '.join(FLAGS)}"))


class BenchmarkIn(Schema):
    pool = fields.String(required=True)
    name = fields.String(load_default="")
    seconds = fields.Integer(load_default=10, validate=validate.Range(1, 600))


ACTIONS = (
    Action(name="osd_add", help="Make OSDs of a disk.", where="node", schema=AddIn, deadline_s=_HOUR_S),
    Action(name="osd_replace", help="An OSD on a new disk.", where="node", schema=ReplaceIn, deadline_s=_DAY_S),
    Action(name="osd_refresh", help="An OSD whose disk came here.", where="node", schema=RefreshIn, deadline_s=600.0),
    Action(name="osd_remove", help="Drain and remove an OSD.", where="node", schema=RemoveIn, deadline_s=_DAY_S),
    Action(name="osd_db", help="A volume group for OSDs' databases.", where="node", schema=DeviceIn, deadline_s=600.0),
    Action(name="osd_in", help="Ceph keeps data on this OSD.", where="primary", schema=OneIn),
    Action(name="osd_out", help="Ceph takes its data off this OSD.", where="primary", schema=OneIn),
    Action(name="flag_set", help="Set a flag of the whole cluster.", where="primary", schema=FlagIn),
    Action(name="flag_unset", help="Take it away again.", where="primary", schema=FlagIn),
    Action(name="benchmark", help="Measure a pool with fio.", where="primary", schema=BenchmarkIn, deadline_s=_HOUR_S),
)
