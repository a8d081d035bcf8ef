"""Names into addresses within a deadline: the C library itself asks a silent name server for longer than the whole
check may take.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait

RESOLVE_S = 3.0


def addresses(name: str) -> tuple[str, ...]:
    """() when nobody knows it."""
    try:
        return tuple(sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)}))
    except OSError:
        return ()


def resolve(
    names: Iterable[str], *, deadline_s: float = RESOLVE_S, look_up: Callable[[str], tuple[str, ...]] = addresses
) -> Mapping[str, tuple[str, ...] | None]:
    """Addresses by name, all asked at once: () for one that is not known, None where nobody has answered within
    `deadline_s` seconds. getaddrinfo(3) cannot be interrupted: the thread of such a name ends by itself later.
    """
    asked: dict[str, Future[tuple[str, ...]]] = {name: Future() for name in names}
    for name, future in asked.items():
        threading.Thread(target=_ask, args=(name, future, look_up), name=f"resolve {name}", daemon=True).start()
    wait(asked.values(), deadline_s)
    return {name: future.result() if future.done() else None for name, future in asked.items()}


def unknown(name: str, found: tuple[str, ...] | None) -> str:
    """Why there is no address.

    >>> unknown("hv3", ()), unknown("hv3", None)
    ('the name hv3 is not known here', 'the name hv3 is not known here: no name server answers')
    """
    return f"the name {name} is not known here" + ("" if found is not None else ": no name server answers")


def _ask(name: str, future: Future[tuple[str, ...]], look_up: Callable[[str], tuple[str, ...]]) -> None:
    future.set_result(look_up(name))
