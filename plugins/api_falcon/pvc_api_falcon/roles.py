"""Who may do what: the least role of every route, and definitions that only an admin may give.

Looking needs read-only, changing needs operator; what stands in ADMIN changes who may do what, takes things from the
cluster for good, vouches for what nobody can check, or hands the host to whoever asks.
"""

from __future__ import annotations

from pvc_api_falcon.errors import Forbidden
from pvc_api_falcon.route import Call, Route
from pvc_core.model.vm import Description

READ_ONLY, OPERATOR, ROLE_ADMIN = "read-only", "operator", "admin"
RANKS = {READ_ONLY: 0, OPERATOR: 1, ROLE_ADMIN: 2}

ADMIN: frozenset[tuple[str, str]] = frozenset(
    {
        ("GET", "/audit"),
        ("GET", "/backup"),
        ("POST", "/backup"),
        ("POST", "/restore"),
        ("POST", "/initialize"),
        ("GET", "/key"),
        ("POST", "/key"),
        ("GET", "/key/{key}"),
        ("DELETE", "/key/{key}"),
        ("DELETE", "/node/{node}"),
        ("POST", "/node/{node}/fence"),
        ("POST", "/plugin/{plugin}/{action}"),
        ("POST", "/storage/ceph/pool"),
        ("POST", "/storage/ceph/pool/{pool}"),
        ("DELETE", "/storage/ceph/pool/{pool}"),
        ("POST", "/storage/ceph/option"),
        ("POST", "/storage/ceph/osddb"),
        ("POST", "/storage/ceph/osd"),
        ("POST", "/storage/ceph/osd/{osdid}"),
        ("PUT", "/storage/ceph/osd/{osdid}"),
        ("DELETE", "/storage/ceph/osd/{osdid}"),
        ("PUT", "/sriov/vf/{node}/{vf}"),
    }
)


ALSO_LOOKING: frozenset[tuple[str, str]] = frozenset(
    {("POST", "/vm/{vm}/console/ticket"), ("POST", "/vm/{vm}/vnc/ticket")}
)
"""POSTs that change nothing: what they give a read-only key lets it look, not type (routes/vm_line.py)."""


def least_role(route: Route) -> str:
    """The role that is enough for it; "" for one that needs no key."""
    if route.open:
        return ""
    if (route.method, route.path) in ADMIN:
        return ROLE_ADMIN
    looks = route.method in ("GET", "HEAD") or (route.method, route.path) in ALSO_LOOKING
    return READ_ONLY if looks else OPERATOR


def check_role(name: str, role: str, route: Route) -> None:
    """Raises Forbidden. A role this version does not know may do nothing."""
    least = least_role(route)
    if least and RANKS.get(role, -1) < RANKS[least]:
        raise Forbidden(
            f"key {name} has role {role}, so {route.method} {route.path} is not allowed",
            help=f"use a key with role {least}{' or admin' if least == OPERATOR else ''}",
        )


def check_reach(call: Call, definition: str) -> None:
    """A definition or device that reaches outside pools and networks needs an admin, unless the VM had it before.

    Raises Forbidden naming all that is new; Invalid for a text that is none.
    """
    if call.role == ROLE_ADMIN:
        return
    compute = call.services.desk.compute
    _refuse(call, compute.describe(definition), _before(call))


def check_device(call: Call, device: str) -> None:
    """The same for one device of a running guest."""
    if call.role == ROLE_ADMIN:
        return
    desk = call.services.desk
    old = desk.need_vm(call.names["vm"]).value.definition
    _refuse(call, desk.compute.describe(desk.compute.with_device(old, device)), desk.compute.describe(old).reaches)


def _before(call: Call) -> tuple[str, ...]:
    kept = call.services.desk.view.vm(call.names["vm"]) if "vm" in call.names else None
    return call.services.desk.compute.describe(kept.value.definition).reaches if kept else ()


def _refuse(call: Call, new: Description, before: tuple[str, ...]) -> None:
    found = [words for words in new.reaches if words not in before]
    if found:
        raise Forbidden(
            f"VM {new.name} would reach outside pools and networks: {'; '.join(found)}. Key {call.by} has role "
            f"{call.role}, and that needs role admin",
            help="leave it out, or ask an admin",
        )
