"""The demo: from nothing to the login of a real virtual machine, step by step, and what to try next. Its lab is
called `demo`.
"""

from __future__ import annotations

import os
import sys
import time

from lab import LabError, guests, up
from lab.api import Api
from lab.state import Lab, Plan

LAB = "demo"
GUEST = guests.Wish(name="demo", flavour="demo")
PROGRAM = "script/lab"


def main() -> int:
    started = time.monotonic()
    try:
        if os.geteuid() != 0:
            raise LabError("the demo needs root: it makes network namespaces and runs libvirt; use sudo script/demo")
        lab = Lab(LAB)
        _step("A one-node cluster, in namespaces of its own: nothing of this machine is touched")
        plan = up.bring_up(lab, Plan(name=LAB, nodes=["hv1"]), _say)
        api = up.api_of(lab)
        _step("A virtual machine: a volume with a small Debian kernel on it, a definition, start")
        guests.ensure_volume(api, GUEST, say=_say)
        guests.ensure_defined(api, GUEST, say=_say)
        _start(api)
        _step("Its console")
        _show_console(api)
        _tell(plan, api, time.monotonic() - started)
    except LabError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ndemo: interrupted; script/demo goes on where it was, script/lab down --name demo removes all of it",
            file=sys.stderr,
        )
        return 1
    return 0


def _start(api: Api) -> None:
    if guests.vm_state(api, GUEST.name) == "start":
        _say("runs already")
        return
    _say(f"start {GUEST.name}")
    api.post(f"/vm/{GUEST.name}/state", state="start")


def _show_console(api: Api) -> None:
    """Print the console as it grows, until the login prompt and the guest's address stand there."""
    end = time.monotonic() + guests.BOOT_S
    seen, line = "", ""
    for piece in api.follow(f"/vm/{GUEST.name}/console", deadline_s=guests.BOOT_S, lines=1000, follow="true"):
        seen += piece
        *whole, line = (line + piece.replace("\r", "")).split("\n")
        for text in filter(str.strip, whole):
            print(f"   | {text}", flush=True)
        if guests.LOGIN in seen and "eth0:" in seen:
            break
        if time.monotonic() > end:
            break
    guests.await_console(api, GUEST.name, guests.LOGIN, deadline_s=5)
    print(f"   | {line}")


def _tell(plan: Plan, api: Api, took_s: float) -> None:
    cli = f"{PROGRAM} pvc --name {LAB}"
    print(
        f"""
PVC runs a real guest, {took_s:.0f} s after the start. Go on with:

  {cli} vm list                 what runs
  {cli} vm info demo            all about it, and why it is as it is
  {cli} vm log -f demo          its console, live (Ctrl-C ends it)
  {PROGRAM} exec --name {LAB} hv1 virsh console demo
                                        log in as root, password pvc (Ctrl-] ends it)
  {cli} vm shutdown demo        and start, stop, restart...
  {PROGRAM} guest --name {LAB} second     one more guest
  {PROGRAM} kill --name {LAB} hv1 pvcnoded
                                        kill the node daemon: the guest does not notice

The HTTP API: {api.url}
  eval "$({PROGRAM} env --name {LAB})"    # sets PVC_API_URL and PVC_API_KEY
  curl -s -H "X-Api-Key: $PVC_API_KEY" $PVC_API_URL/vm

Remove all of it:  {PROGRAM} down --name {LAB}"""
    )


def _step(line: str) -> None:
    print(f"\n== {line}", flush=True)


def _say(line: str) -> None:
    print(f"   {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
