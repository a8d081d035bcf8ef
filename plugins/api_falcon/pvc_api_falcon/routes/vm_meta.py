"""What PVC keeps about a VM beside its definition: meta data and tags."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.fields import Names, choice, flag, text, whole
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.routes.vm import PRIORITIES, meta_from
from pvc_api_falcon.wire.vm import MetaBody, TagsBody, meta_body, tag_body
from pvc_core.model.vm import MigrationMethod, Selector

USER_DATA_MAX = 16_384
"""EC2's own limit; every node keeps it in memory."""


class MetaIn(Schema):
    limit = Names()
    selector = choice("selector", tuple(Selector))
    priority = whole(*PRIORITIES)
    autostart = flag(None)
    profile = text()
    user_data = text(longest=USER_DATA_MAX)
    migration_method = choice("migration_method", tuple(MigrationMethod))
    migration_max_downtime = whole(1, 600_000)


class TagIn(Schema):
    action = choice("action", ("add", "remove"), required=True)
    tag = text(required=True)
    protected = flag()


def show_meta(call: Call) -> Answer:
    return data(meta_body(call.services.vms.get(call.names["vm"])))


def set_meta(call: Call) -> Answer:
    meta = meta_from(call.args)
    if not meta.changes():
        raise BadParameters(
            {name: "nothing to change was given" for name in ("meta",)}, help="limit, selector, autostart, ..."
        )
    vm = call.services.vms.set_meta(call.names["vm"], meta, by=call.by)
    return said(f"The meta data of VM {vm.wanted.name} is changed.")


def show_tags(call: Call) -> Answer:
    vm = call.services.vms.get(call.names["vm"])
    tags = [tag_body(tag) for tag in vm.wanted.tags]
    return data({"name": vm.wanted.name, "tags": tags, "status": vm.sentence})


def set_tag(call: Call) -> Answer:
    vm, tag = call.names["vm"], call.args["tag"]
    if call.args["action"] == "add":
        call.services.vms.add_tag(vm, tag, by=call.by, protected=call.args["protected"])
        return said(f"VM {vm} has the tag {tag}.")
    call.services.vms.remove_tag(vm, tag, by=call.by)
    return said(f"VM {vm} has the tag {tag} no longer.")


ROUTES = (
    Route(
        method="GET", path="/vm/{vm}/meta", does=show_meta, gives=MetaBody,
        help="Where it may run and how it is moved.",
    ),
    Route(method="POST", path="/vm/{vm}/meta", does=set_meta, takes=MetaIn, help="Change what is given of it."),
    Route(method="GET", path="/vm/{vm}/tags", does=show_tags, gives=TagsBody, help="Its tags."),
    Route(method="POST", path="/vm/{vm}/tags", does=set_tag, takes=TagIn, help="Add or remove one tag."),
)  # fmt: skip
