"""The parts of one incarnation's guard, made here and passed in. What runs them, and for how long, is main.py's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pvc_core.clock import Clock
from pvc_core.daemon.once import Once
from pvc_core.errors import Permanent
from pvc_core.guard import incarnation, published
from pvc_core.guard.agreement import Agreement
from pvc_core.guard.answers import Answers, goes_by
from pvc_core.guard.asking import Asker
from pvc_core.guard.client import SOCKET
from pvc_core.guard.datagram import key_from
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.ending import Ending
from pvc_core.guard.facts import Facts, read_facts
from pvc_core.guard.freezer import Freezer
from pvc_core.guard.heartbeat import Heart
from pvc_core.guard.holding import Holding
from pvc_core.guard.listening import Listener
from pvc_core.guard.neighbours import Neighbours
from pvc_core.guard.nics import Nics
from pvc_core.guard.opening import opener, password
from pvc_core.guard.permits import Permits
from pvc_core.guard.processes import Processes
from pvc_core.guard.promises import Promises
from pvc_core.guard.pulse import Pulse, beat_deadline_s
from pvc_core.guard.replies import Replies
from pvc_core.guard.reset import reset_machine
from pvc_core.guard.selffence import SelfFence
from pvc_core.guard.settings import Settings
from pvc_core.guard.watch import Watch
from pvc_core.guard.watchdog import Watchdog
from pvc_core.peer import PeerServer
from pvc_core.store.base import Store

FREEZE_S = 1.0
"""K: in which guests stand still or are gone. Fixed: whoever waits for it counts with it."""

_log = logging.getLogger("pvcguard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a guard has to do with beside its own directory; in a simulation all of it is pretence."""

    life: str
    processes: Processes
    facts: Callable[[], Facts]
    open_store: Callable[[], Store]
    asker: Callable[[], Asker | None]
    key: Callable[[], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    life: str
    permits: Permits
    replies: Replies
    fence: SelfFence
    watch: Watch
    pulse: Pulse
    holding: Holding
    listener: Listener
    watchdog: Watchdog | None
    server: PeerServer


def build(settings: Settings, clock: Clock, hide: Callable[[str], None]) -> Body:
    """Raises Permanent when this node's directory cannot be used."""
    return build_on(outside(settings, clock, hide), settings, clock)


def outside(settings: Settings, clock: Clock, hide: Callable[[str], None]) -> Outside:
    """This machine. Raises Permanent."""
    key, nics = Key(settings, hide), Nics()
    return Outside(
        life=incarnation.ensure(settings.run),
        processes=Processes(),
        facts=lambda: read_facts(clock.boottime_s(), settings.run, nics),
        open_store=opener(settings, call_deadline_s=beat_deadline_s(settings.heartbeat_s), hide=hide),
        asker=lambda: key.asker(settings, clock),
        key=key.bytes,
    )


def build_on(world: Outside, settings: Settings, clock: Clock) -> Body:
    """Nothing runs yet. Raises Permanent."""
    once, life, processes = Once(_log, clock), world.life, world.processes
    deadline = published.restored(settings.run, life, settings.self_fence_s)
    permits = _permits(settings.run, clock, deadline)
    freezer = Freezer(settings.run, processes, clock)
    reset = reset_machine if settings.reset else None
    fence = SelfFence(deadline, freezer, Ending(processes, permits), once, freeze_s=FREEZE_S, reset=reset)
    answers = Answers(
        settings.node,
        life,
        deadline,
        permits,
        clock,
        lambda: [guest.uuid for guest in freezer.frozen],
        goes_by(settings.coordinators, settings),
    )
    promises = _promises(settings, life, clock, deadline)
    neighbours = Neighbours(settings.run, [name for name in settings.coordinators if name != settings.node])
    agreement = Agreement(settings.node, life, promises)
    watchdog = _watchdog(settings)
    replies = Replies(
        settings.node,
        life,
        deadline=deadline,
        promises=promises,
        clock=clock,
        silent_s=_silent_s(settings),
        ended=incarnation.ended(settings.run),
    )
    return Body(
        life=life,
        permits=permits,
        replies=replies,
        fence=fence,
        watch=Watch(deadline, permits, fence, clock, once, settings.run, watchdog),
        watchdog=watchdog,
        pulse=Pulse(
            settings,
            _heart(settings, world, clock, deadline, watchdog),
            incarnation=life,
            deadline=deadline,
            clock=clock,
            once=once,
            open_store=world.open_store,
            heard=lambda store: _look_around(settings, store, agreement, neighbours),
        ),
        holding=Holding(
            node=settings.node,
            incarnation=life,
            coordinators=settings.coordinators,
            deadline=deadline,
            promises=promises,
            neighbours=neighbours,
            asker=world.asker,
            clock=clock,
            once=once,
            silent_s=2 * settings.heartbeat_s,
            every_s=settings.heartbeat_s,
        ),
        listener=Listener(
            settings.node,
            world.key,
            () if settings.alone else settings.addresses.values(),
            settings.guard_port,
            answer=replies.answer,
            clock=clock,
            once=once,
        ),
        server=PeerServer(settings.run / SOCKET, answers.handlers(), mode=0o600, max_connections=32, name="pvcguard"),
    )


class Key:
    """The key of the datagrams, once the node has its secret. Read by whoever needs it first, then kept."""

    def __init__(self, settings: Settings, hide: Callable[[str], None]) -> None:
        self._settings = settings
        self._hide = hide
        self._key: bytes | None = None

    def bytes(self) -> bytes | None:
        if self._key is None:
            try:
                secret = password(self._settings.secrets)
            except Permanent:
                return None  # told by the heartbeat, which needs it too
            self._hide(secret)
            self._key = key_from(secret)
        return self._key

    def asker(self, settings: Settings, clock: Clock) -> Asker | None:
        key = self.bytes()
        return None if key is None else Asker(settings.node, key, clock, port=settings.guard_port)


def _look_around(settings: Settings, store: Store, agreement: Agreement, neighbours: Neighbours) -> None:
    if settings.alone:
        return
    if settings.node in settings.coordinators:
        for life in agreement.step(store):
            _log.warning("agreed that %s is given up", life)
    neighbours.look(store)


def _watchdog(settings: Settings) -> Watchdog | None:
    """One that cannot be used is told, and promised to nobody: the node goes on without."""
    if settings.watchdog is None:
        return None
    try:
        found = Watchdog(*settings.watchdog)
    except Permanent as error:
        _log.error("there is no watchdog: %s", error)
        return None
    _log.info("the watchdog %s resets this machine when it is not fed for %d s", settings.watchdog[0], found.timeout_s)
    return found


def _heart(settings: Settings, world: Outside, clock: Clock, deadline: Deadline, watchdog: Watchdog | None) -> Heart:
    return Heart(
        settings.node,
        world.life,
        limit_s=settings.self_fence_s,
        clock=clock,
        deadline=deadline,
        facts=world.facts,
        addresses=settings.addresses,
        watchdog_s=lambda: watchdog.timeout_s if watchdog else 0.0,
    )


def _promises(settings: Settings, life: str, clock: Clock, deadline: Deadline) -> Promises:
    return Promises(
        settings.run,
        life,
        coordinator=settings.node in settings.coordinators,
        promise_s=settings.promise_s,
        silent_s=_silent_s(settings),
        clock=clock,
        deadline=deadline,
    )


def _silent_s(settings: Settings) -> float:
    """2h + d: two heartbeats have failed for certain."""
    return 2 * settings.heartbeat_s + beat_deadline_s(settings.heartbeat_s)


def _permits(run: Path, clock: Clock, deadline: Deadline) -> Permits:
    try:
        return Permits(run, clock, deadline)
    except OSError as error:
        raise Permanent(f"cannot keep launch permits in {run}: {error}", help="is pvcguard run as root?") from error
