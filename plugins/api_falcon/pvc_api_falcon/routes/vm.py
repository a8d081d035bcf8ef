"""VMs: list, show, define, modify, rename, remove. Their states are in vm_state.py, tags and the like in vm_meta.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.fields import Names, Several, choice, flag, long_text, text, whole
from pvc_api_falcon.roles import check_reach
from pvc_api_falcon.route import Answer, Call, Route, said
from pvc_api_falcon.wire.vm import VmBody, vm_etag
from pvc_core.model.vm import MigrationMethod, Selector, Tag
from pvc_core.services.vms import VmFilter, VmMeta

STATES = (
    "start", "restart", "shutdown", "stop", "disable", "fail", "migrate", "migrate-live", "unmigrate", "provision",
    "import", "restore", "mirror", "delete",
)  # fmt: skip


PRIORITIES = -1000, 1000


class ListIn(Schema):
    limit = text()
    node = text()
    state = choice("state", STATES)
    tag = text()
    negate = flag()


class DefineIn(Schema):
    xml = long_text(required=True)
    limit = Names()
    node = text()
    selector = choice("selector", tuple(Selector))
    priority = whole(*PRIORITIES)
    autostart = flag(None)
    migration_method = choice("migration_method", tuple(MigrationMethod))
    migration_max_downtime = whole(1, 600_000)
    user_tags = Several(load_default=list)
    protected_tags = Several(load_default=list)


class ModifyIn(Schema):
    xml = long_text(required=True)
    restart = flag()


class RenameIn(Schema):
    new_name = text(required=True)


class RemoveIn(Schema):
    delete_disks = flag()


def list_vms(call: Call) -> Answer:
    return Answer(body=call.vm_bodies.many(VmFilter(**call.args)))


def show_vm(call: Call) -> Answer:
    vm = call.services.vms.get(call.names["vm"])
    return Answer(body=b"[" + call.vm_bodies.one(vm) + b"]", headers={"ETag": vm_etag(vm)})


def define_vm(call: Call) -> Answer:
    args = call.args
    check_reach(call, args["xml"])
    tags = [Tag(name=name) for name in args["user_tags"]]
    tags += [Tag(name=name, protected=True) for name in args["protected_tags"]]
    vm = call.services.vms.define(
        args["xml"], by=call.by, node=args.get("node") or None, meta=meta_from(args), tags=tuple(tags)
    )
    answer = said(f"VM {vm.wanted.name} is defined; its UUID is {vm.wanted.uuid}.")
    return Answer(body=answer.body, headers={"ETag": vm_etag(vm)})


def define_named_vm(call: Call) -> Answer:
    name = call.names["vm"]
    described = call.services.desk.compute.describe(call.args["xml"])
    if name not in (described.name, described.uuid):
        raise BadParameters({"xml": f"defines VM {described.name!r}, but the path says {name!r}"})
    return define_vm(call)


def modify_vm(call: Call) -> Answer:
    vm = call.services.vms.get(call.names["vm"])
    check_reach(call, call.args["xml"])
    restart = call.args["restart"]
    new = call.services.vms.modify(vm.wanted.uuid, call.args["xml"], by=call.by, restart=restart)
    when = "now, by a restart" if call.args["restart"] else "with its next start"
    answer = said(f"VM {new.wanted.name} is modified; a running guest gets it {when}.")
    return Answer(body=answer.body, headers={"ETag": vm_etag(new)})


def rename_vm(call: Call) -> Answer:
    old = call.names["vm"]
    vm = call.services.vms.rename(old, call.args["new_name"], by=call.by)
    return said(f"VM {old} is called {vm.wanted.name} now.")


def remove_vm(call: Call) -> Answer:
    delete_disks = call.args["delete_disks"]
    call.services.vms.remove(call.names["vm"], by=call.by, delete_disks=delete_disks)
    return said(f"VM {call.names['vm']} is removed{' with its volumes' if delete_disks else ''}.")


def meta_from(given: Mapping[str, Any]) -> VmMeta:
    """What is given of a VM's meta data; what is not stays as it is."""
    selector, method = given.get("selector"), given.get("migration_method")
    return VmMeta(
        node_limit=tuple(given["limit"]) if "limit" in given else None,
        node_selector=Selector(selector) if selector else None,
        priority=given.get("priority"),
        autostart=given.get("autostart"),
        migration_method=MigrationMethod(method) if method else None,
        migration_max_downtime_ms=given.get("migration_max_downtime"),
        profile=given.get("profile"),
        user_data=given.get("user_data"),
    )


ROUTES = (
    Route(
        method="GET", path="/vm", does=list_vms, takes=ListIn, gives=list[VmBody],
        help="VMs; negate turns node, tag and state round.",
    ),
    Route(
        method="POST", path="/vm", does=define_vm, takes=DefineIn, tells_version=True,
        help="Define a VM from its XML; it is off.",
    ),
    Route(
        method="GET", path="/vm/{vm}", does=show_vm, gives=list[VmBody],
        help="One VM, by name or UUID, as a list of one; with an ETag.",
    ),
    Route(
        method="POST", path="/vm/{vm}", does=define_named_vm, takes=DefineIn, tells_version=True,
        help="Define a VM of that name.",
    ),
    Route(
        method="PUT", path="/vm/{vm}", does=modify_vm, takes=ModifyIn, missing=404, tells_version=True,
        help="Another definition; If-Match with the ETag that was read guards against lost updates.",
    ),
    Route(method="DELETE", path="/vm/{vm}", does=remove_vm, takes=RemoveIn, help="Off at once, then forgotten."),
    Route(method="POST", path="/vm/{vm}/rename", does=rename_vm, takes=RenameIn, help="Another name, while it is off."),
)  # fmt: skip
