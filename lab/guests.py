"""Makes guests in a lab as any user of PVC would: a volume with the demo guest's image, a definition, start; all
through the HTTP API.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab import LabError
from lab.api import Api, ApiError
from lab.guest_image import guest_image
from lab.guest_xml import UPSTREAM, guest_xml
from lab.state import CACHE

LOGIN = "login:"
BOOT_S = 120.0  # ten times what it takes on an idle machine: the tests' machines are not idle
Say = Callable[[str], object]


@dataclass(frozen=True)
class Wish:
    """What guest is wanted. `network`: a VNI, or "" for the upstream bridge. `flavour`: see guest_image.py; `cloud`
    runs `user_data`.
    """

    name: str
    node: str = ""
    network: str = ""
    pool: str = "vms"
    flavour: str = "tick"
    user_data: str = ""

    @property
    def volume(self) -> str:
        return f"{self.name}-root"

    @property
    def bridge(self) -> str:
        return f"vmbr{self.network}" if self.network else UPSTREAM


def make_guest(api: Api, wish: Wish, *, say: Say = print) -> str:
    """Make the guest's volume and definition where missing, start it; return its console once it shows a login.

    Raises LabError with the API's sentence, or when there is no login after BOOT_S.
    """
    begin_guest(api, wish, say=say)
    return await_console(api, wish.name, LOGIN)


def begin_guest(api: Api, wish: Wish, *, say: Say = print) -> None:
    """As make_guest, but it is not waited for."""
    ensure_volume(api, wish, say=say)
    ensure_defined(api, wish, say=say)
    if vm_state(api, wish.name) != "start":
        say(f"start {wish.name}")
        api.post(f"/vm/{wish.name}/state", state="start")


def ensure_volume(api: Api, wish: Wish, *, say: Say = print) -> None:
    """Make the guest's volume from the demo guest's image. A volume of that name is taken as it is: it is whole,
    because it gets its name last. What an attempt before left over, whose answer got lost, is made anew.
    """
    if _is_there(api, _path(wish, wish.volume)):
        return
    image = guest_image(CACHE, wish.flavour)
    size_bytes = image.stat().st_size
    say(f"volume {wish.pool}/{wish.volume}: {size_bytes >> 20} MiB, uploading the image")
    coming = f"{wish.volume}.coming"
    if _is_there(api, _path(wish, coming)):
        api.delete(_path(wish, coming))
    api.post("/storage/ceph/volume", volume=coming, pool=wish.pool, size=f"{size_bytes >> 20}M")
    api.upload(f"{_path(wish, coming)}/upload", image, image_format="raw", file_size=size_bytes)
    api.call("PUT", _path(wish, coming), {"new_name": wish.volume})


def ensure_defined(api: Api, wish: Wish, *, say: Say = print) -> None:
    if _is_there(api, f"/vm/{wish.name}"):
        return
    say(f"define {wish.name}")
    words = {"xml": guest_xml(wish.name, pool=wish.pool, volume=wish.volume, bridge=wish.bridge)}
    where = {"node": wish.node} if wish.node else {}
    api.call(
        "POST", "/vm", {}, form={**words, **where, "selector": "mem", "autostart": "false", "migration_method": "live"}
    )
    if wish.user_data:
        api.call("POST", f"/vm/{wish.name}/meta", {}, form={"user_data": wish.user_data})


def vm_state(api: Api, name: str) -> str:
    """Return the VM's state as GET /vm/NAME/state shows it."""
    answer = api.get(f"/vm/{name}/state")
    state: str = answer["state"]
    return state


def console(api: Api, name: str, lines: int = 200) -> str:
    """Return the last lines of the VM's console log."""
    answer = api.get(f"/vm/{name}/console", lines=lines)
    data = answer["data"]
    return data if isinstance(data, str) else "\n".join(data)


def await_console(api: Api, name: str, text: str, *, deadline_s: float = BOOT_S) -> str:
    """Return the console log once `text` is on it. Raises LabError with its end and what PVC says of the VM."""
    end, log = time.monotonic() + deadline_s, ""
    while True:
        try:
            log = console(api, name)
        except LabError as error:
            if time.monotonic() > end or (isinstance(error, ApiError) and error.status < 500):
                raise
            # else nobody answered at this moment: the primary may be moving while the guest boots
        if text in log:
            return log
        if time.monotonic() > end:
            vms = api.get(f"/vm/{name}")
            said = vms[0]["status"] if vms else "there is no such VM"
            raise LabError(
                f"no {text!r} on the console of {name} after {deadline_s:.0f} s; PVC says: {said}; "
                f"the console ends: {log[-500:]!r}"
            )
        time.sleep(0.2)


def _path(wish: Wish, volume: str) -> str:
    return f"/storage/ceph/volume/{wish.pool}/{volume}"


def _is_there(api: Api, path: str) -> bool:
    try:
        return bool(api.get(path))
    except ApiError as error:
        if error.status == 404:
            return False
        raise
