"""What only this driver can do, as actions: telling a node's functions, and setting one. Pure; driver.py does them."""

from __future__ import annotations

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from pvc_core.contracts.actions import Action
from pvc_net_sriov.words import LINK_STATES, QOS_MAX, RATE_MAX, VID_MAX


class ListIn(Schema):
    """Nothing is to be said."""


class SetIn(Schema):
    """Of one virtual function; what is left out stays as it is."""

    vf = fields.String(required=True)
    vlan_id = fields.Integer(validate=validate.Range(0, VID_MAX))
    vlan_qos = fields.Integer(validate=validate.Range(0, QOS_MAX))
    tx_rate_min = fields.Integer(validate=validate.Range(0, RATE_MAX))
    tx_rate_max = fields.Integer(validate=validate.Range(0, RATE_MAX))
    link_state = fields.String(validate=validate.OneOf(LINK_STATES))
    spoof_check = fields.Boolean()
    trust = fields.Boolean()
    query_rss = fields.Boolean()

    @validates_schema
    def _makes_sense(self, data: dict[str, object], **_more: object) -> None:
        if len(data) < 2:
            raise ValidationError("say what shall be set: vlan_id, spoof_check, trust, ...")
        low, high = data.get("tx_rate_min"), data.get("tx_rate_max")
        if isinstance(low, int) and isinstance(high, int) and 0 < high < low:
            raise ValidationError({"tx_rate_min": [f"{low} is more than tx_rate_max, {high}"]})


ACTIONS = (
    Action(
        name="sriov_list", where="node", schema=ListIn, deadline_s=15.0,
        help="The physical and virtual functions of a node, and which are used.",
    ),
    Action(
        name="sriov_set", where="node", schema=SetIn, deadline_s=30.0,
        help="VLAN, rates, link state, spoof check and trust of a virtual function; it keeps them.",
    ),
)  # fmt: skip
