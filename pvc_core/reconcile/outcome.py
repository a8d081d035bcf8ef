"""What a step answers: a sentence an operator would read, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sentence` is the log line, what `pvc vm why` shows and what a test asserts.

    `again_in_s`: look again after that many seconds; None: when something changes, or at the next resync.
    """

    sentence: str
    again_in_s: float | None = None
