"""What libvirt's failures become, and what the node's health is told of a libvirtd that is away."""

from __future__ import annotations

import time
from pathlib import Path

import libvirt
import pytest
import structlog

from pvc_compute_libvirt.health import AWAY_S, Health
from pvc_compute_libvirt.link import Link
from pvc_compute_libvirt.words import translate
from pvc_core.errors import Permanent, PvcError, Retry
from pvc_core.testing.clock import FakeClock

COMMAND = 'LC_ALL=C /usr/bin/qemu-system-x86_64 -name guest=web1 -object \'{"id":"a (b)"}\' ' + "-device x " * 300


def told(message: str) -> PvcError:
    error = libvirt.libvirtError("")
    error.err = (
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_FROM_QEMU,
        message,
        libvirt.VIR_ERR_ERROR,
        "",
        "",
        "",
        0,
        0,
    )
    return translate("start guest web1", error)


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ("internal error: process exited while connecting to monitor", Retry, "while connecting to monitor"),
        (
            "internal error: process exited while connecting to monitor: -device odd: not a valid device",
            Permanent,
            "not a valid device",
        ),
        (
            f"internal error: Child process ({COMMAND}) unexpected exit status 1",
            Retry,
            "could not start guest web1: internal error: the hypervisor's process ended with exit status 1",
        ),
        (
            f"internal error: Child process ({COMMAND}) unexpected fatal signal 9",
            Retry,
            "could not start guest web1: internal error: the hypervisor's process ended with fatal signal 9",
        ),
        (
            f"internal error: Child process ({COMMAND}) unexpected exit status 1: -odd: invalid option",
            Permanent,
            "the hypervisor's process ended with exit status 1: -odd: invalid option",
        ),
    ],
)
def test_only_what_qemu_complains_of_fails_a_guest_for_good(message: str, kind: type[PvcError], said: str) -> None:
    """A QEMU that was killed, or found no room, says nothing: on another day, or another node, it starts."""
    error = told(message)
    assert type(error) is kind and said in error.message and len(error.message) < 200


def test_a_libvirtd_that_is_away_is_told_after_a_while_and_no_more_when_it_is_back(tmp_path: Path) -> None:
    clock = FakeClock()
    nowhere = f"qemu+unix:///session?socket={tmp_path}/none"
    link = Link(nowhere, clock=clock, log=structlog.get_logger(), opened=lambda _: None, found=lambda: None)
    health = Health(link.away_s)
    clock.move(100.0)
    assert health.pvc_collect_health() == [], "nobody has asked for one yet"
    link.keep()
    try:
        clock.move(AWAY_S)
        assert health.pvc_collect_health() == []
        clock.move(1.0)
        (found,) = health.pvc_collect_health()
        assert found.delta == 25 and found.message.startswith("libvirtd does not answer: guests run on")
        clock.move(10.0)
        assert health.pvc_collect_health() == [found], "it is written once, not with each look"
    finally:
        link.stop()


def test_a_libvirtd_that_answers_costs_nothing() -> None:
    clock = FakeClock()
    link = Link("test:///default", clock=clock, log=structlog.get_logger(), opened=lambda _: None, found=lambda: None)
    link.keep()
    try:
        clock.move(100.0)
        until_s = time.monotonic() + 20
        while link.away_s() and time.monotonic() < until_s:
            time.sleep(0.01)
        assert Health(link.away_s).pvc_collect_health() == []
    finally:
        link.stop()
