"""Hooks with plugins made on the spot, in both ways of calling: on the caller's thread and on threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hooklog import Log

from pvc_core.clock import SystemClock
from pvc_core.loader import Hooks


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(params=["inline", "threads"])
def build(request: pytest.FixtureRequest, log: Log) -> Iterator[Callable[..., Hooks]]:
    """build(first=object, second=object): Hooks in either way of calling."""
    built: list[Hooks] = []

    def make(**plugins: object) -> Hooks:
        hooks = Hooks(plugins, clock=SystemClock(), log=log, inline=request.param == "inline", limit_s=0.3)
        built.append(hooks)
        return hooks

    yield make
    for hooks in built:
        hooks.close(0.2)
