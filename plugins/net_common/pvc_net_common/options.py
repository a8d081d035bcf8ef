# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a network may choose about its guests' frames, as `option=key=value`; plugins that filter inherit the schema."""

from __future__ import annotations

import re

from marshmallow import Schema, ValidationError, fields, validate

from pvc_core.model.network import Network

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _check_macs(text: str) -> None:
    for mac in _listed(text):
        if not _MAC.fullmatch(mac):
            raise ValidationError(f"{mac!r} is no MAC like 52:54:00:12:34:56")


class FilterOptions(Schema):
    anti_spoofing = fields.String(
        validate=validate.OneOf(("on", "off")),
        metadata={"description": "off: guests may send with any MAC and address [on]"},
    )
    trusted = fields.String(
        validate=_check_macs,
        metadata={"description": "NICs that may send with any MAC and address: MACs with commas between"},
    )


def is_trusted(network: Network, mac: str) -> bool:
    """Whether what this NIC sends is not looked at."""
    return network.options.get("anti_spoofing") == "off" or mac.lower() in _listed(network.options.get("trusted", ""))


def _listed(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]
