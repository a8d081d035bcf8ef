"""One fault of pvc.yaml and the error that carries them all. Finding them is the business of the neighbouring files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pvc_core.errors import PvcError

_SHOWN_MAX = 60
_SOURCE_MAX = 120
_SECRET = re.compile(
    r"((?:pass(?!\w*_file)|secret(?!\w*_file)|token(?!\w*_file)|api_key)\w*[\"']?\s*:).*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong at one place. `line` and `column` count from 1; 0 when the file as a whole is meant.

    `key` is the path of keys ("cluster.coordinators.1"), `found` says what stands there (or is wrong with it),
    `allowed` what may or what helps, in words.
    """

    file: str
    line: int = 0
    column: int = 0
    key: str = ""
    found: str
    allowed: str
    source: str = ""
    """The line of the file, secrets hidden."""

    @property
    def message(self) -> str:
        return f"{self.found}; {self.allowed}"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        head = f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"
        return f"{head}\n    | {self.source}" if self.source else head


class ConfigError(PvcError):
    """pvc.yaml, or a plugin it names, cannot be used. Holds every fault, sorted by line, and prints them all."""

    code = "config"

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = in_order(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """By place, each once."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column, fault.key)))


def show(value: object) -> str:
    """A value as an operator would recognise it, on one line, without control characters, cut if long."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 4]}...{text[-1]}"


def dotted(path: Iterable[str | int]) -> str:
    """cluster.coordinators.1; a key with anything unusual in it is quoted."""
    return ".".join(part if re.fullmatch(r"[\w-]{1,60}", part) else show(part) for part in map(str, path))


def hidden_secrets(line: str) -> str:
    """A line of the file, fit to be printed: what follows a key that sounds like a secret is left out."""
    shown = _SECRET.sub(r"\1 ...", line.rstrip())
    return shown if len(shown) <= _SOURCE_MAX else shown[:_SOURCE_MAX] + "..."
