"""What only storage made of OSDs has: thin names for actions of whichever plugin can do them (routes/plugin.py)."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from pvc_api_falcon.fields import choice, flag, sure, text, whole
from pvc_api_falcon.route import Answer, Call, Route, data, said, started
from pvc_api_falcon.wire.storage import BenchmarkBody, OsdBody, OsdStateBody
from pvc_core.errors import Invalid, Refused
from pvc_core.model.task import Task


class ListIn(Schema):
    limit = text()


class Db(Schema):
    ext_db_ratio = fields.Float()
    ext_db_size = text()


class AddIn(Db):
    node = text(required=True)
    device = text(required=True)
    weight = fields.Float(required=True)
    osd_count = whole(1, 16, load_default=1)


class ReplaceIn(Db):
    new_device = text(required=True)
    old_device = text()
    weight = fields.Float()
    sure = sure()


class RefreshIn(Schema):
    device = text(required=True)
    node = text()


class RemoveIn(Schema):
    force = flag()
    sure = sure()


class DbIn(Schema):
    node = text(required=True)
    device = text(required=True)


class StateIn(Schema):
    state = choice("state", ("in", "out"), required=True)


class OptionIn(Schema):
    option = text(required=True)
    action = choice("action", ("set", "unset"), required=True)


class BenchmarkListIn(Schema):
    job = text()


class BenchmarkIn(Schema):
    pool = text(required=True)
    name = text()


def list_osds(call: Call) -> Answer:
    return data(call.services.storage.osds(call.args.get("limit")))


def show_osd(call: Call) -> Answer:
    return data([call.services.storage.osd(call.names["osdid"])])


def add_osd(call: Call) -> Answer:
    args = dict(call.args)
    return _started(call, "osd_add", "osd.add", args, str(args.pop("node")))


def replace_osd(call: Call) -> Answer:
    args = {name: value for name, value in call.args.items() if name != "sure"}
    return _started(call, "osd_replace", "osd.replace", {"osd": _number(call), **args}, _node(call))


def refresh_osd(call: Call) -> Answer:
    """On the node where Ceph last saw the OSD, unless `node` names the one that has the disk now."""
    args = {"osd": _number(call), "device": call.args["device"]}
    return _started(call, "osd_refresh", "osd.refresh", args, call.args.get("node") or _node(call))


def remove_osd(call: Call) -> Answer:
    args = {"osd": _number(call), "force": call.args["force"]}
    return _started(call, "osd_remove", "osd.remove", args, _node(call))


def add_db(call: Call) -> Answer:
    return _started(call, "osd_db", "osd.add_db_vg", {"device": call.args["device"]}, call.args["node"])


def show_state(call: Call) -> Answer:
    osd = call.services.storage.osd(call.names["osdid"])
    return data({"id": osd["id"], "in": osd["stats"]["in"], "up": osd["stats"]["up"]})


def set_state(call: Call) -> Answer:
    number, state = _number(call), call.args["state"]
    _done(call, f"osd_{state}", {"osd": number})
    wanted = (str(number), int(state == "in"))
    call.services.storage.await_report(
        lambda report: wanted in {(str(osd["id"]), osd["stats"]["in"]) for osd in report.osds}
    )
    return said(f"OSD {number} is {state}.")


def set_option(call: Call) -> Answer:
    option, how = call.args["option"], call.args["action"]
    _done(call, f"flag_{how}", {"flag": option})
    call.services.storage.await_report(lambda report: (option in report.flags) == (how == "set"))
    return said(f"{option} is {how}.")


def list_benchmarks(call: Call) -> Answer:
    wanted = call.args.get("job")
    found = [one for report in call.services.storage.reports() for one in report.benchmarks]
    bodies = [{"id": str(number), **one} for number, one in enumerate(found, 1)]
    return data([one for one in bodies if wanted in (None, "", one["job"])])


def run_benchmark(call: Call) -> Answer:
    call.services.storage.pool(call.args["pool"])
    return _started(call, "benchmark", "storage.benchmark", dict(call.args), None)


def _number(call: Call) -> int:
    try:
        return int(call.names["osdid"])
    except ValueError:
        raise Invalid(f"{call.names['osdid']!r} is no OSD's number", fields={"osdid": "must be a number"}) from None


def _node(call: Call) -> str:
    """Where the OSD is."""
    osd = call.services.storage.osd(call.names["osdid"])
    if not osd["node"]:
        raise Refused(f"it is not known on which node OSD {osd['id']} is", help="`pvc plugin run` takes a node=")
    return str(osd["node"])


def _run(call: Call, action: str, args: dict[str, Any], node: str | None) -> Task:
    plugin = call.services.plugins.who_can(action)
    return call.services.plugins.run(plugin, action, args, node=node, by=call.by)


def _started(call: Call, action: str, name: str, args: dict[str, Any], node: str | None) -> Answer:
    return started(_run(call, action, args, node), call.services.cluster.primary, name=name)


def _done(call: Call, action: str, args: dict[str, Any]) -> None:
    call.services.tasks.done(_run(call, action, args, None))


OSDS, ONE = "/storage/ceph/osd", "/storage/ceph/osd/{osdid}"
BENCHMARK = "/storage/ceph/benchmark"

ROUTES = (
    Route(
        method="GET", path=BENCHMARK, does=list_benchmarks, takes=BenchmarkListIn, gives=list[BenchmarkBody],
        help="What was measured.",
    ),
    Route(method="POST", path=BENCHMARK, does=run_benchmark, takes=BenchmarkIn, task=True, help="Measure a pool."),
    Route(
        method="POST", path="/storage/ceph/option", does=set_option, takes=OptionIn,
        help="Set or unset a flag of the whole of Ceph, like noout.",
    ),
    Route(
        method="POST", path="/storage/ceph/osddb", does=add_db, takes=DbIn, task=True,
        help="A volume group for OSDs' databases.",
    ),
    Route(method="GET", path=OSDS, does=list_osds, takes=ListIn, gives=list[OsdBody], help="OSDs."),
    Route(method="POST", path=OSDS, does=add_osd, takes=AddIn, task=True, help="Make OSDs of a disk of a node."),
    Route(method="GET", path=ONE, does=show_osd, gives=list[OsdBody], help="One OSD, as a list of one."),
    Route(
        method="POST", path=ONE, does=replace_osd, takes=ReplaceIn, missing=404, task=True,
        help="The same OSD on another disk.",
    ),
    Route(
        method="PUT", path=ONE, does=refresh_osd, takes=RefreshIn, missing=404, task=True,
        help="Start an OSD whose disk was moved.",
    ),
    Route(
        method="DELETE", path=ONE, does=remove_osd, takes=RemoveIn, missing=404, task=True,
        help="Drain it, then destroy it.",
    ),
    Route(
        method="GET", path=f"{ONE}/state", does=show_state, gives=OsdStateBody, help="Whether it is up and in."
    ),
    Route(method="POST", path=f"{ONE}/state", does=set_state, takes=StateIn, missing=404, help="In or out."),
)  # fmt: skip
