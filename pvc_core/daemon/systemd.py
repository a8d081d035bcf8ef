"""The machine's services, as `pvcnoded`'s commands and its watch over plugins' units change and see them: systemctl(1).

Where no systemd runs (sd_booted(3)) nothing is started, and the person is told what to do instead.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pvc_core.errors import Permanent, Retry

BOOTED = Path("/run/systemd/system")
DEADLINE_S = 90.0
DAEMONS = ("pvcguard", "pvcnoded", "pvcapid")


def runs() -> bool:
    return BOOTED.is_dir()


def do(*words: str, deadline_s: float = DEADLINE_S) -> None:
    """`systemctl WORDS`. Raises Permanent with what it said, Retry when it takes too long."""
    _run(words, deadline_s)


def states(units: Sequence[str], *, deadline_s: float = 10.0) -> dict[str, str]:
    """unit -> "active", "activating", "failed", "inactive", or "not-found". Raises Permanent, Retry."""
    said = _run(("show", "--property=Id,LoadState,ActiveState", *units), deadline_s)
    blocks = [_pairs(block) for block in said.strip().split("\n\n")]
    found = {block["Id"]: block for block in blocks if "Id" in block}
    return {unit: _state(found.get(unit, {})) for unit in units}


def _state(block: Mapping[str, str]) -> str:
    return "not-found" if block.get("LoadState", "not-found") == "not-found" else block.get("ActiveState", "inactive")


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _run(words: Sequence[str], deadline_s: float) -> str:
    what = f"systemctl {' '.join(words)}"
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=deadline_s, check=False)
    except subprocess.TimeoutExpired:
        raise Retry(f"`{what}` has not ended after {deadline_s:g} s", help="look at the unit's log") from None
    except OSError as error:
        raise Permanent(f"`{what}` cannot be run: {error.strerror}", help="is it a machine with systemd?") from None
    if done.returncode:
        raise Permanent(f"`{what}` failed: {done.stderr.strip() or done.stdout.strip()}", help="see its log")
    return done.stdout
