"""Moments at which a test holds a real daemon still, to let something else happen just then. Only where PVC_HOLD names
a directory, which the lab's nodes have and a packaged unit never sets; anywhere else a moment is nothing.

`DIR/STEP` there holds whoever comes to STEP, who says so by making `DIR/STEP.held`, until it is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pvc_core.reconcile.ground import nobody_waits

VARIABLE = "PVC_HOLD"
LOOK_S, LONGEST_S = 0.01, 600.0


def moments(environ: Mapping[str, str]) -> Callable[[str], None]:
    """What is to be called with the name of each step."""
    place = environ.get(VARIABLE)
    return Holding(Path(place)).at if place else nobody_waits


class Holding:
    def __init__(self, place: Path) -> None:
        self._place = place

    def at(self, step: str) -> None:
        """Returns at once when nobody holds this step."""
        hold, end_s = self._place / step, time.monotonic() + LONGEST_S
        if not hold.exists():
            return
        (self._place / f"{step}.held").touch()
        while hold.exists() and time.monotonic() < end_s:
            time.sleep(LOOK_S)
