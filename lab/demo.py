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
FIRST_WORDS = "PVC demo guest: starting"
LOG_LINES = 1000


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
        boot = _start(api)
        _step("Its console")
        _show_console(api, boot)
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


def _start(api: Api) -> int:
    """Start the guest where it does not run; return which of the boots on its console log is the one that counts."""
    boots = guests.console(api, GUEST.name, lines=LOG_LINES).count(FIRST_WORDS)
    if guests.vm_state(api, GUEST.name) == "start":
        _say("runs already")
        return max(1, boots)
    _say(f"start {GUEST.name}")
    api.post(f"/vm/{GUEST.name}/state", state="start", wait="true")  # it has a console once it lives on a node
    return boots + 1


def _show_console(api: Api, boot: int) -> None:
    """Print the console from the `boot`th boot on, as it grows, until login prompt and address stand there."""
    path, end = f"/vm/{GUEST.name}/console", time.monotonic() + guests.BOOT_S
    log, shown = "", 0
    for piece in api.follow(path, deadline_s=guests.BOOT_S, lines=LOG_LINES, follow="true"):
        log += piece.replace("\r", "")
        lines = "".join(f"{FIRST_WORDS}{text}" for text in log.split(FIRST_WORDS)[boot:]).split("\n")
        for line in filter(str.strip, lines[shown:-1]):
            print(f"   | {line}", flush=True)
        shown = len(lines) - 1
        if any(guests.LOGIN in line for line in lines) and any(line.startswith("eth0: 1") for line in lines):
            return
        if time.monotonic() > end:
            raise LabError(f"no login on the console of {GUEST.name} after {guests.BOOT_S:.0f} s")


def _tell(plan: Plan, api: Api, took_s: float) -> None:
    cli = f"{PROGRAM} pvc --name {LAB}"
    print(
        f"""
PVC runs a real guest ({took_s:.0f} s). Go on with:

  {cli} vm list                 what runs
  {cli} vm info demo            all about it, and why it is as it is
  {cli} vm log -f demo          its console, live (Ctrl-C ends it)
  {cli} vm console demo         sit at it: log in as root, password pvc (Ctrl-] ends it)
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
