"""Networks for guests: `nettype` is a word of use.networks, `option=KEY=VALUE` is the driver's own."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema

from pvc_api_falcon.fields import Names, Pairs, flag, text, whole
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.network import NetworkBody, network_body
from pvc_core.errors import NotFound
from pvc_core.services.networks import NetworkWords

VNI_MAX = 16_777_215
MTU_MAX = 65_535


class ListIn(Schema):
    limit = text()


class WordsIn(Schema):
    """An mtu of 0 is as large as the hosts allow; an empty text takes a thing away."""

    mtu = whole(0, MTU_MAX)
    domain = text()
    name_servers = Names()
    ip4_network = text()
    ip4_gateway = text()
    ip6_network = text()
    ip6_gateway = text()
    dhcp4 = flag(None)
    dhcp4_start = text()
    dhcp4_end = text()
    option = Pairs(load_default=None)


class MakeIn(WordsIn):
    description = text(required=True)
    nettype = text(required=True)


class AddIn(MakeIn):
    vni = whole(1, VNI_MAX, required=True)


class ChangeIn(WordsIn):
    description = text()


def list_networks(call: Call) -> Answer:
    return data([network_body(one) for one in call.services.networks.list(call.args.get("limit"))])


def show_network(call: Call) -> Answer:
    return data([network_body(call.services.networks.show(call.names["vni"]))])


def add_network(call: Call) -> Answer:
    vni = call.args["vni"] if "vni" in call.args else _number(call.names["vni"])
    made = call.services.networks.add(vni, call.args["nettype"], _words(call.args), by=call.by)
    return said(f"Network {made.network.ref} is made; nodes set it up.")


def modify_network(call: Call) -> Answer:
    changed = call.services.networks.modify(call.names["vni"], _words(call.args), by=call.by)
    return said(f"Network {changed.network.ref} is changed; nodes follow.")


def remove_network(call: Call) -> Answer:
    return said(call.services.networks.remove(call.names["vni"], by=call.by))


def _number(word: str) -> int:
    """In the path. Raises NotFound: there can be no such network."""
    if not word.isdecimal() or not 1 <= int(word) <= VNI_MAX:
        raise NotFound(f"{word!r} is no VNI", help=f"a VNI is a number between 1 and {VNI_MAX}")
    return int(word)


def _words(args: Any) -> NetworkWords:
    given = args.get
    return NetworkWords(
        name=given("description"),
        mtu=given("mtu"),
        domain=given("domain"),
        name_servers=given("name_servers"),
        ip4={
            "network": given("ip4_network"), "gateway": given("ip4_gateway"), "dhcp": given("dhcp4"),
            "dhcp_start": given("dhcp4_start"), "dhcp_end": given("dhcp4_end"),
        },
        ip6={"network": given("ip6_network"), "gateway": given("ip6_gateway")},
        options=given("option"),
    )  # fmt: skip


ONE = "/network/{vni}"

ROUTES = (
    Route(
        method="GET", path="/network", does=list_networks, takes=ListIn, gives=list[NetworkBody],
        help="Networks for guests.",
    ),
    Route(method="POST", path="/network", does=add_network, takes=AddIn, help="Make a network."),
    Route(
        method="GET", path=ONE, does=show_network, gives=list[NetworkBody],
        help="One network by VNI or description, as a list of one.",
    ),
    Route(method="POST", path=ONE, does=add_network, takes=MakeIn, help="Make a network of that VNI."),
    Route(method="PUT", path=ONE, does=modify_network, takes=ChangeIn, missing=404, help="Change a network in place."),
    Route(method="DELETE", path=ONE, does=remove_network, help="Remove it; refused while a VM has a card on it."),
)  # fmt: skip
