"""No plugin can stop another or the core: whatever it raises, returns, or however long it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hooklog import Log

from pvc_core.clock import SystemClock
from pvc_core.errors import Permanent, Refused
from pvc_core.hookspecs import hookimpl
from pvc_core.loader import Hooks
from pvc_core.loader.isolation import QUEUE_MAX
from pvc_core.model.check import CheckLine
from pvc_core.model.node import HealthSeen
from pvc_core.model.vm import Description, VmWanted

Build = Callable[..., Hooks]

VM = VmWanted(uuid="u", name="db", definition="")
ASK = {"vm": VM, "description": Description(name="db", uuid="u", memory_bytes=1, vcpus=1)}


class Mine(BaseException):
    """What no `except Exception` catches."""


class Listener:
    """Hears starts, and misbehaves as told."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.heard: list[str] = []

    @hookimpl
    def pvc_vm_started(self, vm: VmWanted) -> None:
        self.heard.append(vm.name)
        if self.error:
            raise self.error


class Checker:
    """Answers a check with what it is given: raises an exception, calls a function, returns the rest."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer

    @hookimpl
    def pvc_check_vm_start(self, vm: VmWanted) -> object:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer() if callable(self.answer) else self.answer


def messages(hooks: Hooks) -> list[str]:
    return [f"{seen.plugin} {seen.message}" for seen in hooks.health()]


@pytest.mark.parametrize("error", [ValueError("one\ntwo"), SystemExit(2), Mine(), GeneratorExit(), Refused("no")])
def test_a_listener_that_raises_stops_nobody(build: Build, error: BaseException) -> None:
    before, after = Listener(), Listener()
    hooks = build(before=before, bad=Listener(error), after=after)
    for name in ("a", "b"):
        hooks.notify("pvc_vm_started", key=name, vm=VmWanted(uuid="u", name=name, definition=""))
    hooks.close(5)
    assert before.heard == after.heard == ["a", "b"]
    (told,) = messages(hooks)
    assert told.startswith(f"bad hook pvc_vm_started: raised {type(error).__name__}")
    assert "\n" not in told and told.endswith(" about b")


def test_a_failure_is_logged_once_when_it_begins_and_once_when_it_ends(build: Build, log: Log) -> None:
    checker = Checker(ValueError("x"))
    hooks = build(flaky=checker)
    for answer in (ValueError("x"), ValueError("y"), None, None, ValueError("z")):
        checker.answer = answer
        hooks.check("pvc_check_vm_start", **ASK)
    begun, ended = ("hook failed", "flaky", "pvc_check_vm_start"), ("hook works again", "flaky", "pvc_check_vm_start")
    assert log.lines == [begun, ended, begun]


def test_health_follows_to_whoever_wants_to_hear() -> None:
    told: list[tuple[str, int]] = []
    checker = Checker(ValueError("x"))
    hooks = Hooks(
        {"flaky": checker}, clock=SystemClock(), log=Log(), report=lambda p, d, s: told.append((p, d)), inline=True
    )
    hooks.check("pvc_check_vm_start", **ASK)
    checker.answer = None
    hooks.check("pvc_check_vm_start", **ASK)
    assert told == [("flaky", 10), ("flaky", 0)]
    assert hooks.health() == ()


def test_notifications_of_one_plugin_come_in_order_and_once(build: Build) -> None:
    listener = Listener()
    hooks = build(listener=listener)
    names = [str(number) for number in range(300)]
    for name in names:
        hooks.notify("pvc_vm_started", key=name, vm=VmWanted(uuid="u", name=name, definition=""))
    hooks.close(5)
    assert listener.heard == names


def test_all_objections_are_joined_in_the_order_of_the_plugins(build: Build) -> None:
    hooks = build(
        quota=Checker(Refused("too big", help="use fewer")), fine=Checker(), night=Checker(Refused("too late"))
    )
    with pytest.raises(Refused) as caught:
        hooks.check("pvc_check_vm_start", **ASK)
    assert str(caught.value) == "quota: too big; night: too late (use fewer)"
    assert hooks.health() == ()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ValueError("x"), "raised ValueError: x"),
        (SystemExit(1), "raised SystemExit: 1"),
        (Mine(), "raised Mine"),
        (False, "returned bool; it must raise Refused to object, or return nothing"),
        (lambda: time.sleep(0.5), "gave no answer within 0.3 s"),
    ],
)
def test_a_check_that_crashes_is_late_or_returns_is_no_objection(build: Build, answer: object, said: str) -> None:
    hooks = build(bad=Checker(answer), good=Checker())
    hooks.check("pvc_check_vm_start", **ASK)
    assert messages(hooks) == [f"bad hook pvc_check_vm_start: {said}"]


def test_an_objection_counts_although_another_plugin_crashes(build: Build) -> None:
    hooks = build(bad=Checker(ValueError("x")), quota=Checker(Refused("too big")))
    with pytest.raises(Refused, match="quota: too big"):
        hooks.check("pvc_check_vm_start", **ASK)


def test_hanging_checks_cost_the_limit_once_and_no_thread_each_time(log: Log) -> None:
    release, calls = threading.Event(), []

    def hang() -> None:
        calls.append(1)
        release.wait(10)

    hooks = Hooks({"a": Checker(hang), "b": Checker(hang)}, clock=SystemClock(), log=log, limit_s=1.0)
    began = time.monotonic()
    for _ in range(5):
        hooks.check("pvc_check_vm_start", **ASK)
    assert time.monotonic() - began < 1.9  # not 10 x 1.0: both at once, and not again while they are away
    assert len(calls) == 2
    release.set()
    deadline = time.monotonic() + 5
    while hooks.health() and time.monotonic() < deadline:
        hooks.check("pvc_check_vm_start", **ASK)
    assert hooks.health() == ()
    assert len(calls) >= 4  # both asked again when their old calls had come back


def test_a_check_of_the_cluster_that_was_late_once_is_no_fault_for_ever(log: Log) -> None:
    """It is asked for by a person, who is told; nobody asks again, so in health it would never end."""
    release = threading.Event()

    class Slow:
        @hookimpl
        def pvc_collect_check(self) -> list[CheckLine]:
            release.wait(10)
            return []

    hooks = Hooks({"slow": Slow()}, clock=SystemClock(), log=log, limit_s=0.02)
    assert hooks.collect("pvc_collect_check", peers={}) == {}
    assert hooks.health() == ()
    release.set()


def test_a_hanging_listener_delays_neither_the_caller_nor_the_others(log: Log) -> None:
    release = threading.Event()

    class Hanging:
        @hookimpl
        def pvc_vm_started(self) -> None:
            release.wait(10)

    listener = Listener()
    hooks = Hooks({"hangs": Hanging(), "fine": listener}, clock=SystemClock(), log=log)
    began = time.monotonic()
    told = 0
    while told < QUEUE_MAX + 10:
        while len(listener.heard) < told - 100:  # the caller is faster than anybody can listen
            time.sleep(0.001)
        hooks.notify("pvc_vm_started", key="db", vm=VM)
        told += 1
    hooks.close(0.1)
    assert time.monotonic() - began < 5
    assert len(listener.heard) == told
    assert "hangs hook pvc_vm_started: too many notifications wait for this plugin; some were dropped" in messages(
        hooks
    )
    release.set()


def test_a_listener_out_for_long_shows_in_health(log: Log) -> None:
    class Ahead(SystemClock):
        extra_s = 0.0

        def boottime_s(self) -> float:
            return super().boottime_s() + self.extra_s

    release, inside, clock = threading.Event(), threading.Event(), Ahead()

    class Hanging:
        @hookimpl
        def pvc_vm_started(self) -> None:
            inside.set()
            release.wait(10)

    hooks = Hooks({"hangs": Hanging()}, clock=clock, log=log)
    hooks.notify("pvc_vm_started", key="db", vm=VM)
    assert inside.wait(5) and hooks.health() == ()
    clock.extra_s = 60
    assert messages(hooks) == ["hangs hook pvc_vm_started db: has not come back for 60 s"]
    release.set()
    hooks.close(5)
    assert hooks.health() == ()


def test_collecting_leaves_out_who_fails_or_talks_nonsense(build: Build) -> None:
    class Health:
        def __init__(self, answer: Callable[[], object]) -> None:
            self.answer = answer

        @hookimpl
        def pvc_collect_health(self) -> object:
            return self.answer()

    def lazily() -> Iterator[HealthSeen]:
        yield HealthSeen(plugin="lazy", delta=1, message="one")
        raise ValueError("later")

    hooks = build(
        good=Health(lambda: [HealthSeen(plugin="good", delta=5, message="warm")]),
        silent=Health(lambda: None),
        crash=Health(lambda: 1 / 0),
        words=Health(lambda: ["all fine"]),
        number=Health(lambda: 7),
        lazy=Health(lazily),
    )
    found = hooks.collect("pvc_collect_health")
    assert {plugin: len(seen) for plugin, seen in found.items()} == {"good": 1, "silent": 0}
    assert {seen.plugin for seen in hooks.health()} == {"crash", "words", "number", "lazy"}


def test_a_metric_below_another_plugins_name_is_not_taken(build: Build) -> None:
    class Metrics:
        @hookimpl
        def pvc_collect_metrics(self) -> list[tuple[str, dict[str, str], float]]:
            return [("pvc_other_total", {}, 1.0)]

    hooks = build(mine=Metrics())
    assert hooks.collect("pvc_collect_metrics") == {}
    assert "names begin with pvc_mine_" in messages(hooks)[0]


def test_ctrl_c_on_the_callers_own_thread_is_not_swallowed() -> None:
    hooks = Hooks({"bad": Listener(KeyboardInterrupt())}, clock=SystemClock(), log=Log(), inline=True)
    with pytest.raises(KeyboardInterrupt):
        hooks.notify("pvc_vm_started", vm=VM)


def test_keyboard_interrupt_raised_by_a_plugin_does_not_end_its_thread(log: Log) -> None:
    listener = Listener(KeyboardInterrupt())
    hooks = Hooks({"bad": listener}, clock=SystemClock(), log=log)
    hooks.notify("pvc_vm_started", vm=VM)
    hooks.notify("pvc_vm_started", vm=VM)
    hooks.close(5)
    assert listener.heard == ["db", "db"]


def test_a_call_that_does_not_fit_the_specification_is_the_callers_fault(build: Build) -> None:
    with pytest.raises(TypeError, match=r"specified is pvc_vm_stopped\(vm, reason\)"):
        build().notify("pvc_vm_stopped", vm=VM)


def test_an_object_whose_hooks_cannot_be_called_is_refused_in_words(build: Build) -> None:
    class Wrong:
        @hookimpl
        def pvc_vm_started(self, uuid: str) -> None: ...

        @hookimpl(wrapper=True)
        def pvc_vm_removed(self, vm: VmWanted) -> Iterator[None]:
            yield

    with pytest.raises(Permanent) as caught:
        build(wrong=Wrong())
    assert "the hooks of plugin wrong cannot be called" in str(caught.value)
    assert "takes uuid, which it is never given" in str(caught.value)
    assert "pvc_vm_removed is a wrapper" in str(caught.value)


def test_fewer_arguments_than_specified_are_fine(build: Build) -> None:
    class Curt:
        heard = 0

        @hookimpl
        def pvc_vm_stopped(self) -> None:
            Curt.heard += 1

    hooks = build(curt=Curt())
    hooks.notify("pvc_vm_stopped", vm=VM, reason="shutdown")
    hooks.close(5)
    assert Curt.heard == 1
