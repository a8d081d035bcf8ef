"""A node's daemon state as people see it: what its daemon put on record last, and what its heartbeat says since.

The words are PVC's (init, run, shutdown, stop, dead, fenced). Shown only: who is condemned is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

from pvc_core.errors import Refused
from pvc_core.model.node import DaemonState, Heartbeat, NodeSeen
from pvc_core.model.verdict import Vouch, life_id
from pvc_core.model.view import ClusterView

QUIET_S = 10.0
"""pvcnoded reports to the guard every 2 s, and a machine under load may be late."""


def judged(
    seen: NodeSeen,
    beat: Heartbeat | None,
    *,
    silent_s: float,
    dead_after_s: float,
    claims: bool,
    maintenance: bool = False,
) -> NodeSeen:
    """The record with the state and the sentence that fit now.

    `silent_s`: how long the heartbeat has not moved; `claims`: it may run guests.
    """
    if seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
        return seen  # there is a verdict, whose words say more than the silence does
    if silent_s > dead_after_s and seen.left:
        return replace(seen, sentence="it was shut down on purpose; it is off, or on its way back")
    if silent_s > dead_after_s:
        if seen.daemon_state is DaemonState.STOP and not claims:
            return replace(seen, sentence="it is off, or away: its daemon was stopped and no VM is there")
        if beat is not None and silent_s < beat.back_in_s:
            sentence = f"its guard was stopped in order {silent_s:.0f} s ago and means to be back; guests run on"
            return replace(seen, daemon_state=DaemonState.STOP, sentence=sentence)
        waits = "; nobody is given up while there is maintenance" if maintenance else ""
        return replace(seen, daemon_state=DaemonState.DEAD, sentence=f"not heard for {silent_s:.0f} s{waits}")
    if beat is None or seen.daemon_state is not DaemonState.RUN:
        return seen
    if seen.incarnation and beat.incarnation != seen.incarnation:
        return replace(seen, daemon_state=DaemonState.INIT, sentence="it has booted, and its pvcnoded is starting")
    if beat.told_s is not None and beat.told_s > QUIET_S:
        sentence = f"its pvcnoded has said nothing for {beat.told_s:.0f} s; guests run on, nothing new happens there"
        return replace(seen, daemon_state=DaemonState.STOP, sentence=sentence)
    return seen


def demand_lost(seen: NodeSeen) -> None:
    """Raises Refused while nobody needs a person's word that this node is off. `seen` is `judged`."""
    if seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
        return
    if seen.daemon_state is DaemonState.STOP:  # not always heard: its guard may mean to be back
        raise Refused(
            f"node {seen.name} is not lost: {seen.sentence or 'its pvcnoded is stopped'}",
            help=f"`pvc node why {seen.name}` tells when it is",
        )
    raise Refused(f"node {seen.name} is heard: it is in state {seen.daemon_state}", help="switch it off first")


def awaited(view: ClusterView, word: Vouch) -> str:
    """What a person's word waits for before it lets any guest go, "" when it counts at once."""
    if life_id(word.node, word.incarnation) in view.verdicts:
        return ""
    if view.maintenance:
        return f"Node {word.node} is not given up, for there is maintenance: it counts when that is over"
    return f"It counts as soon as node {word.node} is given up"
