"""pvcguard: reads what it needs of pvc.yaml, takes its place on this node, beats and watches until told to stop.

Exit codes: 0 stopped by a signal, 2 it could not begin (one sentence on stderr).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pvc_core import config_file
from pvc_core.clock import Clock, SystemClock
from pvc_core.daemon.lines import PatientHandler, setup_lines
from pvc_core.daemon.notify import notify
from pvc_core.errors import Permanent, PvcError
from pvc_core.guard import incarnation
from pvc_core.guard.body import Body, build
from pvc_core.guard.memory import hold_on, small_stacks
from pvc_core.guard.selffence import SelfFence
from pvc_core.guard.settings import DEFAULT_STATE, Settings, read_settings
from pvc_core.model.fence import Proof, ProofKind
from pvc_core.model.verdict import KeptProof
from pvc_core.peer.local import Lock

_log = logging.getLogger("pvcguard")
_PATIENCE_S = 10.0
"""For the heartbeat's thread to end: a call of the store's and its closing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the guard; returns the exit code."""
    given = _parser().parse_args(arguments)
    small_stacks()
    try:
        settings, broken = read_settings(given.config, node=given.node, state=given.state)
        lock = _take_place(settings.run)
    except PvcError as error:
        sys.stderr.write(f"pvcguard: {error}\n")
        return 2
    handler = PatientHandler(sys.stderr)
    formatter = setup_lines({"node": settings.node}, handlers=[handler])
    try:
        hold_on()
        if broken:
            _log.error("pvc.yaml cannot be used, going on with the last configuration that worked: %s", broken)
        stop = _stop_on_signals()
        while _guard(settings, SystemClock(), formatter.hide, stop):
            _begin_anew(settings.run)
    except PvcError as error:
        _log.error("pvcguard cannot begin: %s", error)
        return 2
    finally:
        lock.release()
        handler.close()
    return 0


def _take_place(run: Path) -> Lock:
    """Before anything is read or written below `run`: another guard may be using it. Raises Refused, Permanent."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        return Lock(run / "guard.lock", name="pvcguard")
    except OSError as error:
        raise Permanent(f"cannot work in {run}: {error.strerror}", help="is pvcguard run as root?") from error


def _begin_anew(run: Path) -> None:
    """This incarnation is over; the next begins as after a boot, knowing which generations were permitted before."""
    _log.warning("all guests are gone: this node begins anew")
    try:
        incarnation.end(run)
    except OSError as error:
        raise Permanent(f"cannot begin anew in {run}: {error.strerror}") from error


def _guard(settings: Settings, clock: Clock, hide: Callable[[str], None], told: threading.Event) -> bool:
    """One incarnation; returns when `told` by a signal (False), or when it was given up and all its guests are gone
    (True).
    """
    body = build(settings, clock, hide)
    stop = threading.Event()
    body.server.start()
    beating = threading.Thread(target=body.pulse.run, args=(stop,), name="pulse", daemon=True)
    others = [
        threading.Thread(target=body.listener.run, args=(stop,), name="listen", daemon=True),
        threading.Thread(target=body.holding.run, args=(stop,), name="hold", daemon=True),
    ]
    for thread in (beating, *others):
        thread.start()
    notify("READY=1", os.environ)
    _log.info("guarding this node, incarnation %s", body.life)
    body.watch.run(told)
    over = body.fence.over
    body.pulse.last_words = last_words(settings.node, body.life, body.fence, clock) if over else None
    stop.set()
    body.server.stop()
    beating.join(_PATIENCE_S)
    _let_go_of(body, over)
    for thread in others:
        thread.join(_PATIENCE_S)
    if over and beating.is_alive():
        raise Permanent("the heartbeat of the incarnation that is over does not end", help="pvcguard is started anew")
    if not over:
        _log.info("stopped")
    return over


def _let_go_of(body: Body, over: bool) -> None:
    """The watchdog, unless guests are left that should stand still, or others may yet count on its bite."""
    if body.watchdog is None:
        return
    if over or (body.fence.safe and not body.pulse.armed):
        body.watchdog.disarm()
    else:
        _log.error("pvcguard stops and leaves the watchdog armed: it resets this machine unless the guard is back soon")


def last_words(node: str, life: str, fence: SelfFence, clock: Clock) -> KeptProof:
    """The node's own word (B5): rung 0."""
    proof = Proof(
        kind=ProofKind.OFF,
        node=node,
        incarnation=life,
        rung="word",
        seen="no process of a guest is left",
        how=f"pvcguard ended {fence.killed} and saw in /proc that none is there",
    )
    return KeptProof(proof=proof, by=node, term=0, at_s=clock.wall_s())


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pvcguard", description="Heartbeat, self-fencing deadline and launch permits of this node."
    )
    config = config_file(os.environ)
    parser.add_argument("--config", type=Path, default=Path(config), help="pvc.yaml (%(default)s)")
    parser.add_argument("--node", help="this node's name (default: the host name)")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(DEFAULT_STATE),
        help="where the last good configuration lies, for when pvc.yaml cannot be read (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
