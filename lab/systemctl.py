"""systemctl(1) inside a lab node, as far as PVC and docs/installing.md use it. Asks the node's first process.

A word it does not know is an error: what works here must work on a real machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from lab import LabError, control

ACTIVE = {"waiting": "activating", "starting": "activating", "active": "active", "stopped": "inactive",
          "failed": "failed"}  # fmt: skip
"""The lab's words -> systemd's ActiveState."""
CHANGES = ("start", "stop", "restart", "try-restart", "enable", "disable")
QUESTIONS = ("is-active", "is-enabled", "show")


def main() -> int:
    options = _parser().parse_intermixed_args()
    try:
        if options.what == "daemon-reload":
            return 0
        units = [unit if unit.endswith(".service") else f"{unit}.service" for unit in options.units]
        if options.what in QUESTIONS:
            return _tell(options, units)
        _change(options, units)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="systemctl")
    parser.add_argument("--now", action="store_true")
    parser.add_argument("--quiet", "-q", action="store_true")
    parser.add_argument("--property", "-p", default="Id,LoadState,ActiveState,MainPID,Result")
    parser.add_argument("what", choices=[*CHANGES, *QUESTIONS, "daemon-reload"])
    parser.add_argument("units", nargs="*")
    return parser


def _change(options: argparse.Namespace, units: Sequence[str]) -> None:
    """Several are started side by side, as systemd does: each waits for those it comes after."""
    if options.what in ("enable", "disable"):
        control.ask_here("enable", units=units, on=options.what == "enable")
    if (options.what == "disable" and options.now) or options.what == "stop":
        control.ask_here("stop_all", units=units)
    elif (options.what == "enable" and options.now) or options.what == "start":
        control.ask_here("start_all", units=units)
    elif options.what in ("restart", "try-restart"):
        running = [item["unit"] for item in _shown(units) if item["state"] != "stopped"]
        control.ask_here("restart_all", units=units if options.what == "restart" else running)


def _tell(options: argparse.Namespace, units: Sequence[str]) -> int:
    shown = _shown(units)
    if options.what == "show":
        print("\n".join(_properties(item, options.property.split(",")) for item in shown))
        return 0
    right = [ACTIVE[item["state"]] == "active" if options.what == "is-active" else item["enabled"] for item in shown]
    if not options.quiet:
        for item in shown:
            print(ACTIVE[item["state"]] if options.what == "is-active" else _enabled(item))
    return 0 if right and all(right) else 3


def _shown(units: Sequence[str]) -> list[dict[str, Any]]:
    known = {item["unit"]: item for item in control.ask_here("show")}
    absent = {"state": "stopped", "enabled": False, "pid": 0, "why": "", "absent": True}
    return [known.get(unit, {"unit": unit, **absent}) for unit in units]


def _enabled(item: dict[str, Any]) -> str:
    return "enabled" if item["enabled"] else "disabled"


def _properties(item: dict[str, Any], names: Sequence[str]) -> str:
    words = {
        "Id": item["unit"],
        "LoadState": "not-found" if item.get("absent") else "loaded",
        "ActiveState": ACTIVE[item["state"]],
        "UnitFileState": _enabled(item),
        "MainPID": str(item["pid"]),
        "Result": item["why"] or "success",
    }
    return "".join(f"{name}={words[name]}\n" for name in names if name in words)


if __name__ == "__main__":
    sys.exit(main())
