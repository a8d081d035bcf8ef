"""One log line per event, from the standard library alone: pvcguard pays for nothing else. structlog's side is logs.py.

2026-01-01T00:00:00.000Z info node=hv1 object=vm/db1 task=1a2b3c4d the VM is running pid=1234
"""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

FIELDS = "fields"
"""Name of the log record's attribute that holds key=value: log.info("text", extra={"fields": {"pid": 1}})."""

_FIRST = ("node", "plugin", "object", "task")
_FRAMES = 8
_QUEUED_LINES = 1000
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)} | {
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
}
# Nothing repeated before the word: on long text that would be quadratic.
_SECRET = r"(?:password|passwd|secret|token|api[-_]?key|private[-_]?key|authorization)"
_SECRET_NAME = re.compile(rf"{_SECRET}$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    rf"({_SECRET}[\"']?\s*[=:]\s*)(?:(?:bearer|basic)\s+)?(\"[^\"]*\"|'[^']*'|[^\s,;&}}]+)", re.IGNORECASE
)
_HIDDEN = "***"


class LineFormatter(logging.Formatter):
    """`bound` stands on every line (node=hv1).

    Values of fields named like a secret, and what hide() was told, never do.
    """

    def __init__(self, bound: Mapping[str, Any]) -> None:
        super().__init__()
        self._bound = dict(bound)
        self._secrets: tuple[str, ...] = ()

    def hide(self, secret: str) -> None:
        """From now on `secret` is replaced wherever it stands in a line."""
        if len(secret) >= 6:  # a shorter one would blank out half of the log
            self._secrets = (*self._secrets, secret)

    def format(self, record: logging.LogRecord) -> str:
        fields = self._bound | getattr(record, FIELDS, {}) | _failure(record)
        if not record.name.startswith(("pvc", "root")):
            fields["logger"] = record.name
        first = [_pair(name, fields.pop(name)) for name in _FIRST if fields.get(name)]
        words = [_time(record.created), record.levelname.lower(), *first, _redacted(record.getMessage())]
        line = " ".join([*words, *(_pair(name, value) for name, value in fields.items())])
        for secret in self._secrets:
            line = line.replace(secret, _HIDDEN)
        return line.translate(_CONTROLS)


class PatientHandler(logging.Handler):
    """Writes from a thread of its own, so that whoever logs never waits for the reader of stderr.

    When the reader does not keep up, lines are dropped and their number is told.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue(_QUEUED_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._queue.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Give the thread a moment to write what is queued."""
        try:
            self._queue.put_nowait(None)
            self._thread.join(1.0)
        except queue.Full:
            pass  # nobody reads, so nobody misses the rest
        super().close()

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            note = f"({dropped} log lines were dropped: nobody read them)\n" if dropped else ""
            try:
                self._stream.write(f"{note}{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                continue  # the reader is gone; the next one may be there again


def setup_lines(
    bound: Mapping[str, Any],
    *,
    level: str = "info",
    handlers: Sequence[logging.Handler] | None = None,
) -> LineFormatter:
    """Send every logger of this process through `handlers` (default: stderr) as lines. Called once, by a main()."""
    formatter = LineFormatter(bound)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    for handler in handlers or [logging.StreamHandler(sys.stderr)]:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(level.upper())
    return formatter


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _pair(name: str, value: object) -> str:
    if _SECRET_NAME.search(name):
        return f"{name}={_HIDDEN}"
    text = _redacted(str(value))
    return f"{name}={json.dumps(text, ensure_ascii=False) if _needs_quotes(text) else text}"


def _needs_quotes(text: str) -> bool:
    return not text or any(character in ' "=\\' or ord(character) < 0x20 for character in text)


def _redacted(text: str) -> str:
    return _SECRET_TEXT.sub(rf"\g<1>{_HIDDEN}", text)


def _failure(record: logging.LogRecord) -> dict[str, str]:
    """An exception on the one line: what it was, and where, the innermost place first."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}:{frame.name}" for frame in reversed(frames)]
    return {"error": f"{type(error).__name__}: {error}", "trace": " < ".join(places)}
