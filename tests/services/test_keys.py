"""API keys: right, wrong, removed, and "cannot be checked now", which is no "wrong"."""

from __future__ import annotations

import pytest

from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Exists, Invalid, NotFound, StoreUnavailable
from pvc_core.services.keys import KeyService
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer


class Rig:
    def __init__(self) -> None:
        self.server = FakeStoreServer()
        self.store = self.server.client()
        self.keeper = ViewKeeper(self.store, FakeClock())
        self.keys = KeyService(Repository(self.store), self.keeper, FakeClock())

    def settle(self) -> None:
        self.server.deliver()
        self.keeper.step()


def test_a_key_is_known_until_it_is_removed() -> None:
    rig = Rig()
    key = rig.keys.add("ops", "operator")
    rig.settle()
    for _ in range(2):
        found = rig.keys.who(key)
        assert found is not None
        assert (found.name, found.role) == ("ops", "operator")
    rig.keys.remove("ops")
    rig.settle()
    assert rig.keys.who(key) is None


def test_no_part_and_no_neighbour_of_a_key_is_a_key() -> None:
    rig = Rig()
    key = rig.keys.add("ops", "admin")
    rig.settle()
    for wrong in (
        key[:-1],
        key + "x",
        key.upper(),
        "ops.",
        "ops",
        ".",
        "",
        key.partition(".")[2],
        "x" * 5000,
        "ops.\udcff",
    ):
        assert rig.keys.who(wrong) is None, wrong


def test_the_secret_itself_is_not_kept() -> None:
    rig = Rig()
    secret = rig.keys.add("ops", "admin").partition(".")[2]
    assert all(secret.encode() not in entry.value for entry in rig.store.tree("/pvc").values())


def test_a_key_that_cannot_be_looked_up_is_not_called_wrong() -> None:
    rig = Rig()
    key = rig.keys.add("ops", "admin")
    with pytest.raises(StoreUnavailable, match="cannot be checked"):
        rig.keys.who(key)
    rig.settle()
    rig.store.cut()
    rig.server.deliver()
    assert rig.keys.who(key) is not None
    with pytest.raises(StoreUnavailable):
        rig.keys.who("other.secret")


def test_bad_names_and_roles_are_refused() -> None:
    rig = Rig()
    rig.keys.add("ops", "admin")
    with pytest.raises(Exists):
        rig.keys.add("ops", "admin")
    with pytest.raises(NotFound):
        rig.keys.remove("nobody")
    for name, role in (("a.b", "admin"), ("", "admin"), ("x/y", "admin"), ("good", "king")):
        with pytest.raises(Invalid):
            rig.keys.add(name, role)


def test_a_lost_answer_is_told_in_words_about_the_key() -> None:
    rig = Rig()
    rig.store.lose_next_answer()
    with pytest.raises(StoreUnavailable, match="whether the key ops was made is not known") as told:
        rig.keys.add("ops", "operator")
    assert told.value.maybe_written and "what it reads" in told.value.help
    rig.store.refuse_next_write()
    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        rig.keys.remove("ops")
    rig.keys.remove("ops")
