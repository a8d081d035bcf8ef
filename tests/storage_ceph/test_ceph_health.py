"""Health asks Ceph without keeping the node waiting: hooks have two seconds, Ceph's first answer takes longer."""

from __future__ import annotations

import threading
import time
from typing import Any

from pvc_core.errors import Retry
from pvc_storage_ceph.health import Health

WELL: dict[str, Any] = {"health": {"checks": {}}}
ILL = {"health": {"checks": {"OSD_DOWN": {"summary": {"message": "1 osds down"}}}}}


def test_a_slow_answer_is_shown_when_it_comes_and_the_last_one_until_then() -> None:
    go, answers = threading.Event(), [ILL, WELL]

    def status() -> dict[str, Any]:
        assert go.wait(60)
        return answers.pop(0)

    health = Health(status, patience_s=0.05)
    begun = time.monotonic()
    assert health.pvc_collect_health() == health.pvc_collect_health() == []
    assert time.monotonic() - begun < 30, "it did not wait for Ceph"
    go.set()
    while not (said := health.pvc_collect_health()):
        assert time.monotonic() - begun < 60
    assert [one.message for one in said] == ["Ceph: 1 osds down (OSD_DOWN)"]
    while health.pvc_collect_health():
        assert time.monotonic() - begun < 60, "the question after it is asked anew"


def test_ceph_that_cannot_be_asked_costs_points_on_every_node() -> None:
    def status() -> dict[str, Any]:
        raise Retry("no monitor answered")

    (said,) = Health(status, lambda: False, patience_s=60).pvc_collect_health()
    assert said.delta == 50 and "no monitor answered" in said.message
    assert Health(lambda: ILL, lambda: False, patience_s=60).pvc_collect_health() == []
