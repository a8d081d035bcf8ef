"""Pools of any driver: `driver` says which, `option=KEY=VALUE` is the driver's own."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import Pairs, choice, sure, text, whole
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.storage import PoolBody, pool_body

PGS_MAX = 65_536


class ListIn(Schema):
    limit = text()


class MakeIn(Schema):
    """`pgs` and `replcfg` mean something to Ceph only, so only its driver insists on them; 0 `pgs`: Ceph's choice."""

    pgs = whole(0, PGS_MAX, load_default=1)
    replcfg = text(load_default="")
    tier = choice("tier", ("hdd", "ssd", "nvme", "default"), load_default="default")
    driver = text()
    option = Pairs(load_default=dict)


class AddIn(MakeIn):
    pool = text(required=True)


class SetIn(Schema):
    pgs = whole(0, PGS_MAX, required=True)


class RemoveIn(Schema):
    sure = sure()


def list_pools(call: Call) -> Answer:
    return data([pool_body(pool) for pool in call.services.storage.pools(call.args.get("limit"))])


def show_pool(call: Call) -> Answer:
    return data([pool_body(call.services.storage.pool(call.names["pool"]))])


def add_pool(call: Call) -> Answer:
    args = call.args
    name = args.get("pool") or call.names["pool"]
    call.services.storage.add_pool(
        name, by=call.by, driver=args.get("driver") or None, options=args["option"], pgs=args["pgs"],
        replcfg=args["replcfg"], tier=args["tier"],
    )  # fmt: skip
    return said(f"Pool {name} is made.")


def set_pool(call: Call) -> Answer:
    pool = call.services.storage.set_pool_pgs(call.names["pool"], call.args["pgs"], by=call.by)
    how_many = f"{pool.pool.pgs} placement groups" if pool.pool.pgs else "as many placement groups as Ceph thinks right"
    return said(f"Pool {pool.pool.name} has {how_many}.")


def remove_pool(call: Call) -> Answer:
    call.services.storage.remove_pool(call.names["pool"], by=call.by)
    return said(f"Pool {call.names['pool']} is removed.")


ONE = "/storage/ceph/pool/{pool}"

ROUTES = (
    Route(method="GET", path="/storage/ceph/pool", does=list_pools, takes=ListIn, gives=list[PoolBody], help="Pools."),
    Route(method="POST", path="/storage/ceph/pool", does=add_pool, takes=AddIn, help="Make a pool."),
    Route(method="GET", path=ONE, does=show_pool, gives=list[PoolBody], help="One pool, as a list of one."),
    Route(method="POST", path=ONE, does=add_pool, takes=MakeIn, missing=404, help="Make a pool of that name."),
    Route(method="PUT", path=ONE, does=set_pool, takes=SetIn, missing=404, help="Another number of placement groups."),
    Route(method="DELETE", path=ONE, does=remove_pool, takes=RemoveIn, missing=404, help="Destroy it and all in it."),
)
