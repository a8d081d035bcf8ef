"""DHCP leases and reservations of a network. `{mac}` may also be the address or the host name."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import flag, text
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.network import LeaseBody
from pvc_core.services.leases import LeasePicture

ALL, ONE = "/network/{vni}/lease", "/network/{vni}/lease/{mac}"


class ListIn(Schema):
    limit = text()
    static = flag(False)


class OneIn(Schema):
    ipaddress = text(required=True)
    hostname = text()


class AddIn(OneIn):
    macaddress = text(required=True)


def list_leases(call: Call) -> Answer:
    found = call.services.leases.list(call.names["vni"], call.args.get("limit"), static=bool(call.args.get("static")))
    return data([lease_body(one) for one in found])


def show_lease(call: Call) -> Answer:
    return data(lease_body(call.services.leases.show(call.names["vni"], call.names["mac"])))


def add_lease(call: Call) -> Answer:
    made = call.services.leases.reserve(
        call.names["vni"],
        mac=call.args["macaddress"] if "macaddress" in call.args else call.names["mac"],
        address=call.args["ipaddress"],
        hostname=call.args.get("hostname") or "",
        by=call.by,
    )
    return said(f"{made.address} is reserved for {made.mac}.")


def remove_lease(call: Call) -> Answer:
    return said(call.services.leases.release(call.names["vni"], call.names["mac"], by=call.by))


def lease_body(lease: LeasePicture) -> LeaseBody:
    return {
        "hostname": lease.hostname,
        "ip4_address": lease.address,
        "mac_address": lease.mac,
        "timestamp": "static" if lease.expires_s is None else str(lease.expires_s),
    }


ROUTES = (
    Route(
        method="GET", path=ALL, does=list_leases, takes=ListIn, gives=list[LeaseBody],
        help="Leases and reservations of a network.",
    ),
    Route(method="POST", path=ALL, does=add_lease, takes=AddIn, missing=404, help="Reserve an address for a MAC."),
    Route(
        method="GET", path=ONE, does=show_lease, gives=LeaseBody, help="One of them, by MAC, address or host name."
    ),
    Route(method="POST", path=ONE, does=add_lease, takes=OneIn, missing=404, help="Reserve an address for that MAC."),
    Route(method="DELETE", path=ONE, does=remove_lease, missing=404, help="Take a reservation back, or end a lease."),
)  # fmt: skip
