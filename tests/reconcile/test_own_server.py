"""A coordinator whose ZooKeeper server is gone says so, though the store serves on; an election is no reason to."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.reconcile.own_server import MISSES, OwnServerReconciler

WELL, GONE = {"mode": "follower"}, {"error": "Connection refused"}


def test_it_is_told_while_it_does_not_serve_and_not_for_a_moment_of_silence() -> None:
    answers: list[Mapping[str, str]] = []
    server = OwnServerReconciler("hv1", lambda: answers.pop(0))

    def play(*told: Mapping[str, str]) -> list[str]:
        answers.extend(told)
        said = [server.step("hv1").sentence for _ in told]
        assert [item.message for item in server.health()] == [one for one in said[-1:] if one]
        return said

    assert play(*[GONE] * (MISSES - 1), WELL, *[GONE] * (MISSES - 1)) == [""] * (2 * MISSES - 1)
    (sentence,) = play(GONE)
    assert sentence.startswith("the ZooKeeper server of hv1 does not serve (Connection refused)")
    assert sum(item.delta for item in server.health()) == 25
    assert play(WELL) == [""]
