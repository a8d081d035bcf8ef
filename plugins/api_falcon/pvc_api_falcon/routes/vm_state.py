"""What a VM shall do, where it lives, what its console says, and devices of a running guest."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema

from pvc_api_falcon.fields import choice, flag, lines, long_text, text
from pvc_api_falcon.roles import check_device
from pvc_api_falcon.route import Answer, Call, Route, Streamed, data, started
from pvc_api_falcon.wire.vm import PlaceBody, StateBody, TextBody, VmTold
from pvc_core.services.pictures import VmPicture


class StateIn(Schema):
    state = choice("state", ("start", "shutdown", "stop", "restart", "disable"), required=True)
    force = flag()
    wait = flag()


class MoveIn(Schema):
    action = choice("action", ("migrate", "unmigrate", "move"), required=True)
    node = text()
    force = flag()
    wait = flag()
    force_live = flag()


class ConsoleIn(Schema):
    lines = lines()
    follow = flag()


class DeviceIn(Schema):
    xml = long_text(required=True)


def show_state(call: Call) -> Answer:
    vm = call.services.vms.get(call.names["vm"])
    return data({"name": vm.wanted.name, "state": vm.state, "status": vm.sentence, "asked": vm.wanted.asked})


def set_state(call: Call) -> Answer:
    vms, vm, wait, force = call.services.vms, call.names["vm"], call.args["wait"], call.args["force"]
    match call.args["state"]:
        case "start":
            return _told(vms.start(vm, by=call.by, wait=wait), "runs" if wait else "will be started")
        case "shutdown":
            return _told(vms.shutdown(vm, by=call.by, wait=wait), "has shut down" if wait else "is asked to shut down")
        case "stop":
            return _told(vms.stop(vm, by=call.by, wait=wait), "is off" if wait else "will be switched off")
        case "restart":
            return _told(vms.restart(vm, by=call.by, wait=wait), "has restarted" if wait else "will be restarted")
    return _told(vms.disable(vm, by=call.by, force=force, wait=wait), "is disabled")


def _told(vm: VmPicture, what: str) -> Answer:
    return data({"message": f"VM {vm.wanted.name} {what}.", "state": vm.state, "status": vm.sentence})


def show_place(call: Call) -> Answer:
    vm = call.services.vms.get(call.names["vm"])
    return data(
        {
            "name": vm.wanted.name, "node": vm.node, "last_node": vm.last_node, "status": vm.sentence,
            "asked": vm.wanted.asked, "answered": vm.answered, "not_moved": vm.not_moved,
        }
    )  # fmt: skip


def move(call: Call) -> Answer:
    vms, vm, args = call.services.vms, call.names["vm"], call.args
    how: dict[str, Any] = {"by": call.by, "live_only": args["force_live"], "wait": args["wait"]}
    node = args.get("node") or None
    match args["action"]:
        case "migrate":
            picture = vms.migrate(vm, node=node, force=args["force"], **how)
        case "unmigrate":
            picture = vms.unmigrate(vm, **how)
        case _:
            picture = vms.move(vm, node=node, **how)
    goes = picture.wanted.target or picture.node
    return _told(picture, f"lives on {picture.node}" if picture.node == goes else f"will move to {goes}")


def flush_locks(call: Call) -> Answer:
    return started(call.services.vms.flush_locks(call.names["vm"], by=call.by), call.services.cluster.primary)


def show_console(call: Call) -> Answer | Streamed:
    vms, vm, count = call.services.vms, call.names["vm"], call.args["lines"]
    if call.args["follow"]:
        return Streamed(vms.follow_console(vm, count))
    return data({"name": vms.get(vm).wanted.name, "data": vms.console(vm, count)})


def attach(call: Call) -> Answer:
    check_device(call, call.args["xml"])
    task = call.services.vms.attach_device(call.names["vm"], call.args["xml"], by=call.by)
    return started(task, call.services.cluster.primary)


def detach(call: Call) -> Answer:
    task = call.services.vms.detach_device(call.names["vm"], call.args["xml"], by=call.by)
    return started(task, call.services.cluster.primary)


DEVICE = "/vm/{vm}/device"

ROUTES = (
    Route(method="GET", path="/vm/{vm}/state", does=show_state, gives=StateBody, help="Its state."),
    Route(
        method="POST", path="/vm/{vm}/state", does=set_state, takes=StateIn, gives=VmTold,
        help="start, shutdown, stop, restart, disable; wait=true answers when it is; force disables without asking.",
    ),
    Route(method="GET", path="/vm/{vm}/node", does=show_place, gives=PlaceBody, help="Where it lives."),
    Route(
        method="POST", path="/vm/{vm}/node", does=move, takes=MoveIn, gives=VmTold,
        help="move it for good, migrate it for a while, unmigrate it; wait=true answers when it lives there.",
    ),
    Route(method="POST", path="/vm/{vm}/locks", does=flush_locks, task=True, help="Break locks a dead guest left."),
    Route(
        method="GET", path="/vm/{vm}/console", does=show_console, takes=ConsoleIn, asks=True, gives=TextBody,
        help="The last lines of its serial console; follow=true streams what comes after them.",
    ),
    Route(method="POST", path=DEVICE, does=attach, takes=DeviceIn, task=True, help="A device into a running guest."),
    Route(method="DELETE", path=DEVICE, does=detach, takes=DeviceIn, task=True, help="A device out of it."),
)  # fmt: skip
