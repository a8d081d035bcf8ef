"""Reads the units in deploy/ (systemd.unit(5), systemd.service(5)): as much as the lab's init acts on.

A word it does not know is an error, not ignored: otherwise the lab would silently run something else than what ships.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import LabError

# Words that only a real systemd can honour or that say nothing about running; the lab reads over them.
READ_OVER = {
    ("Unit", "Documentation"),
    ("Unit", "Before"),  # units of the distribution's; its stand-ins in lab/units say After=
    ("Service", "RemainAfterExit"),  # a oneshot that went well counts as active in any case
    ("Unit", "StartLimitIntervalSec"),  # the lab's init never gives a unit up, which is what 0 says
    ("Install", "WantedBy"),
    ("Install", "Alias"),
}
TYPES = ("simple", "notify", "oneshot")
RESTARTS = ("no", "on-failure", "always")


@dataclass(frozen=True)
class Command:
    """One ExecStart= or ExecStartPre= line. `may_fail`: it was written with a leading '-'."""

    argv: tuple[str, ...]
    may_fail: bool = False

    def expanded(self, env: Mapping[str, str]) -> list[str]:
        """Return the words with ${NAME} replaced from `env`, by nothing where there is no such name (as systemd
        does).
        """
        return [re.sub(r"\$\{(\w+)\}", lambda found: env.get(found[1], ""), word) for word in self.argv]


@dataclass
class Unit:
    """One service as its file describes it. Times are seconds."""

    name: str
    description: str = ""
    after: list[str] = field(default_factory=list)
    wants: list[str] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    type: str = "simple"
    exec_start: Command = Command(())
    exec_start_pre: list[Command] = field(default_factory=list)
    exec_stop: list[Command] = field(default_factory=list)
    restart: str = "no"
    restart_s: float = 0.1
    timeout_start_s: float = 90.0
    timeout_stop_s: float = 90.0
    user: str = "root"
    group: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    runtime_directory: list[str] = field(default_factory=list)
    state_directory: list[str] = field(default_factory=list)
    credentials: dict[str, str] = field(default_factory=dict)


def read_unit(path: Path) -> Unit:
    """Return the unit in `path`. Raises LabError naming file and line."""
    unit = Unit(name=path.name)
    section = ""
    for number, line in _lines(path.read_text()):
        where = f"{path.name}, line {number}"
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, sign, value = line.partition("=")
        if not sign or not section:
            raise LabError(f"{where}: {line!r} is not KEY=value in a section")
        _set(unit, section, key.strip(), value.strip(), where)
    if not unit.exec_start.argv:
        raise LabError(f"{path.name}: there is no ExecStart=")
    return unit


def _lines(text: str) -> list[tuple[int, str]]:
    """Return (number, line) without comments and blank lines; a backslash at the end joins a line with the next."""
    out: list[tuple[int, str]] = []
    joined, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not joined and (not line or line[0] in "#;"):
            continue
        first = first if joined else number
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        out.append((first, joined + line))
        joined = ""
    return out


def _set(unit: Unit, section: str, key: str, value: str, where: str) -> None:
    if (section, key) in READ_OVER:
        return
    setter = _SETTERS.get((section, key))
    if setter is None:
        raise LabError(
            f"{where}: the lab's init does not know {key}= in [{section}]; add it to lab/unitfile.py or leave it out"
        )
    try:
        setter(unit, value)
    except ValueError as error:
        raise LabError(f"{where}: {key}={value}: {error}") from None


def seconds(value: str) -> float:
    """Return a time as systemd.time(7) writes it: "5", "500ms", "1min", "1min 30s". Raises ValueError."""
    if value == "infinity":
        return math.inf
    total = 0.0
    for word in value.split():
        found = re.fullmatch(r"([\d.]+)(ms|s|sec|min|m|h)?", word)
        if not found:
            raise ValueError("not a time like 5s, 500ms or 1min")
        total += float(found[1]) * {"ms": 0.001, "min": 60, "m": 60, "h": 3600}.get(found[2] or "s", 1)
    return total


def _command(value: str) -> Command:
    words = shlex.split(value.lstrip("-"))
    if not words:
        raise ValueError("there is no command")
    if words[0][0] in "+!@:":
        raise ValueError("of the prefixes only '-' is known")
    return Command(tuple(words), may_fail=value.startswith("-"))


def _one_of(allowed: tuple[str, ...], value: str) -> str:
    if value not in allowed:
        raise ValueError(f"allowed are {', '.join(allowed)}")
    return value


def _pairs(value: str, sign: str) -> dict[str, str]:
    pairs = {}
    for word in shlex.split(value):
        name, found, text = word.partition(sign)
        if not found:
            raise ValueError(f"{word!r} is not NAME{sign}VALUE")
        pairs[name] = text
    return pairs


_SETTERS: dict[tuple[str, str], Callable[[Unit, str], object]] = {
    ("Unit", "Description"): lambda unit, value: setattr(unit, "description", value),
    ("Unit", "After"): lambda unit, value: unit.after.extend(value.split()),
    ("Unit", "Wants"): lambda unit, value: unit.wants.extend(value.split()),
    ("Unit", "Requires"): lambda unit, value: unit.requires.extend(value.split()),
    ("Service", "Type"): lambda unit, value: setattr(unit, "type", _one_of(TYPES, value)),
    ("Service", "ExecStart"): lambda unit, value: setattr(unit, "exec_start", _command(value)),
    ("Service", "ExecStartPre"): lambda unit, value: unit.exec_start_pre.append(_command(value)),
    ("Service", "ExecStop"): lambda unit, value: unit.exec_stop.append(_command(value)),
    ("Service", "Restart"): lambda unit, value: setattr(unit, "restart", _one_of(RESTARTS, value)),
    ("Service", "RestartSec"): lambda unit, value: setattr(unit, "restart_s", seconds(value)),
    ("Service", "TimeoutStartSec"): lambda unit, value: setattr(unit, "timeout_start_s", seconds(value)),
    ("Service", "TimeoutStopSec"): lambda unit, value: setattr(unit, "timeout_stop_s", seconds(value)),
    ("Service", "User"): lambda unit, value: setattr(unit, "user", value),
    ("Service", "Group"): lambda unit, value: setattr(unit, "group", value),
    ("Service", "Environment"): lambda unit, value: unit.environment.update(_pairs(value, "=")),
    ("Service", "RuntimeDirectory"): lambda unit, value: unit.runtime_directory.extend(value.split()),
    ("Service", "StateDirectory"): lambda unit, value: unit.state_directory.extend(value.split()),
    ("Service", "LoadCredential"): lambda unit, value: unit.credentials.update(_pairs(value, ":")),
    # The lab has no control groups: it can only do what KillMode=process says, so every unit must say it.
    ("Service", "KillMode"): lambda unit, value: _one_of(("process",), value),
}
