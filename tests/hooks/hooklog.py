"""A log that remembers, for tests of what is told once."""

from __future__ import annotations

from typing import Any


class Log:
    """Remembers (event, plugin, hook)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields["plugin"], fields.get("hook", "")))

    info = warning
