"""Maintenance ends by itself: counted on the coordinators' own clocks, whoever is primary meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository, Unchanged
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Invalid
from pvc_core.model.cluster import Leader, Settings
from pvc_core.reconcile.maintenance import MaintenanceReconciler
from pvc_core.services.cluster import ClusterService
from pvc_core.services.desk import Desk
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer
from pvc_core.units import format_duration, parse_duration_s


@dataclass
class Coordinator:
    """Just what the reconciler uses of a ground. Each has a clock of its own, hours apart from the others'."""

    name: str
    server: FakeStoreServer
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.repository = Repository(self.server.client())
        self.keeper = ViewKeeper(self.server.client(), self.clock)
        self.leads = False
        self.reconciler = MaintenanceReconciler(cast(Any, self))

    @property
    def view(self) -> Any:
        return self.keeper.view

    def is_primary(self) -> bool:
        return self.leads

    def lead(self) -> Unchanged:
        return Unchanged(layout.LEADER, layout.ONLY, 0)

    def commit(self, *writes: Any) -> None:
        self.repository.commit(writes)

    def look(self) -> float | None:
        self.keeper.step()
        return self.reconciler.step(layout.ONLY).again_in_s

    def service(self) -> ClusterService:
        desk = cast(Desk, _Desk(self))
        return ClusterService(desk, "c", "")


@dataclass
class _Desk:
    of: Coordinator

    @property
    def view(self) -> Any:
        self.of.keeper.step()
        return self.of.keeper.view

    @property
    def clock(self) -> FakeClock:
        return self.of.clock

    def commit(self, *writes: Any) -> None:
        self.of.repository.commit(writes)


@pytest.fixture
def cluster() -> Callable[[str], Coordinator]:
    server = FakeStoreServer(auto=True)
    Repository(server.client()).add(layout.LEADER, layout.ONLY, Leader(node="hv1", incarnation="i", term=1))
    return lambda name: Coordinator(name, server)


def settings(of: Coordinator) -> Settings:
    return of.repository.get(layout.SETTINGS, layout.ONLY).value


def test_it_ends_when_its_time_is_over_and_not_before(cluster: Callable[[str], Coordinator]) -> None:
    hv1 = cluster("hv1")
    hv1.leads = True
    hv1.service().set_maintenance(True, by="joe", for_s=7200.0, reason="switches")
    elapsed = 0.0
    while settings(hv1).maintenance:
        again_s = hv1.look()
        if again_s is None:
            break
        assert settings(hv1).asked_by == "joe" and settings(hv1).maintenance_reason == "switches"
        hv1.clock.move(again_s)
        elapsed += again_s
    assert elapsed == pytest.approx(7200.0)
    assert not settings(hv1).maintenance


def test_without_a_length_it_stays(cluster: Callable[[str], Coordinator]) -> None:
    hv1 = cluster("hv1")
    hv1.leads = True
    hv1.service().set_maintenance(True, by="joe")
    assert hv1.look() is None
    hv1.clock.move(1e6)
    assert hv1.look() is None and settings(hv1).maintenance


def test_only_the_primary_writes_and_the_next_one_goes_on_counting(cluster: Callable[[str], Coordinator]) -> None:
    hv1, hv2 = cluster("hv1"), cluster("hv2")
    hv2.clock.move(50_000.0)  # no two machines' clocks are compared
    hv1.leads = True
    hv1.service().set_maintenance(True, by="joe", for_s=600.0)
    for _ in range(5):
        for one in (hv1, hv2):
            one.look()
            one.clock.move(100.0)
    assert settings(hv1).maintenance
    hv1.leads, hv2.leads = False, True
    hv2.look()
    assert settings(hv2).maintenance_left_s == pytest.approx(100.0)
    hv2.clock.move(100.0)
    hv2.look()
    assert not settings(hv2).maintenance


def test_a_daemon_begun_anew_prolongs_it_by_a_minute_at_most(cluster: Callable[[str], Coordinator]) -> None:
    hv1 = cluster("hv1")
    hv1.leads = True
    hv1.service().set_maintenance(True, by="joe", for_s=600.0)
    for _ in range(9):
        hv1.clock.move(hv1.look() or 0.0)
    again = cluster("hv1")
    again.leads = True
    again.look()
    again.clock.move(60.0 + 60.0)
    again.look()
    assert not settings(again).maintenance


def test_a_longer_request_replaces_the_rest_of_an_earlier_one(cluster: Callable[[str], Coordinator]) -> None:
    hv1 = cluster("hv1")
    hv1.leads = True
    hv1.service().set_maintenance(True, by="joe", for_s=60.0)
    hv1.look()
    hv1.clock.move(50.0)
    hv1.service().set_maintenance(True, by="ann", for_s=3600.0)
    hv1.look()
    hv1.clock.move(3000.0)
    hv1.look()
    assert settings(hv1).maintenance
    hv1.service().set_maintenance(True, by="ann", for_s=600.0, reason="new switches")
    assert "asked for by ann (new switches); ends by itself in about 10 min" in hv1.service().maintenance_sentence
    hv1.service().set_maintenance(False, by="ann")
    assert hv1.service().maintenance_sentence == ""


def test_what_is_no_length_is_refused(cluster: Callable[[str], Coordinator]) -> None:
    with pytest.raises(Invalid, match="1 second to 30 days"):
        cluster("hv1").service().set_maintenance(True, by="joe", for_s=0.0)
    for text in ("", "h", "2x", "-1h", "1h-2m", "1m2h"):
        with pytest.raises(Invalid, match="is not a length of time"):
            parse_duration_s(text)
    assert [parse_duration_s(text) for text in ("90", "2h", "1d 12h", "1H30M")] == [90, 7200, 129_600, 5400]
    assert [format_duration(seconds) for seconds in (0, 59.6, 3661, 90_000)] == ["0 s", "1 min", "1 h 1 min", "1 d 1 h"]
