"""Somebody sits at a console while the API restarts: `pvc vm console` connects again by itself, and typing goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.lab.sitting import Sitting

from .fake_compute import definition
from .rig import Rig, running

PVC = str(Path(sys.prefix) / "bin/pvc")
LEAVE = b"\x1d"


def test_the_api_restarts_while_somebody_types(rig: Rig, tmp_path: Path) -> None:
    with running(rig, tmp_path) as api:
        with api.client() as client:
            client.post("/vm", data={"xml": definition("again"), "node": "hv1"}).raise_for_status()
            client.post("/vm/again/state", data={"state": "start", "wait": "true"}).raise_for_status()
        environ = {**os.environ, "PVC_API_URL": api.url, "PVC_API_KEY": api.key, "TERM": "xterm"}
        sitting = Sitting([PVC, "vm", "console", "again"], environ)
        sitting.until(b"tick 1")
        sitting.press(b"before")
        sitting.until(b"[before]")
        port = api.frontend.port
    sitting.until(b"connecting again")
    with running(rig, tmp_path, port=port):
        sitting.until(b"connected again")
        sitting.press(b"after")
        sitting.until(b"[after]")
        sitting.press(LEAVE)
        sitting.until(b"Left the console")
        assert sitting.ended() == 0 and sitting.cooked
