"""While the store gives no answer: what is shown says how old it is, and changes are refused at once. What is
shown of storage says also when its driver gives no answer.

Whether the store answers is found out by pvc_core/cluster/view.py, whether a driver does by
reconcile/storage_report.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from pvc_api_falcon.route import JSON, Answer, Route
from pvc_core.errors import StoreUnavailable
from pvc_core.services import Services
from pvc_core.services.cluster import ClusterService

HEADER = "PVC-Stale"
"""Whole seconds, rounded up."""
_STORAGE, _NO_STORE = "/storage/", "the store does not answer"
KEY = "stale_s"
"""The same number in every object that has a `status`."""


def check_store(cluster: ClusterService, *, changes: bool) -> None:
    """Raises StoreUnavailable when there is nothing to show yet, or no store for what `changes` something."""
    stale_s = cluster.stale_s
    if stale_s is None or (cluster.shown and not changes):
        return
    if not cluster.shown:
        raise StoreUnavailable(
            f"the store has not answered since this API began {stale_s:.0f} s ago, so there is nothing to show",
            help="ask another coordinator; guests run on",
        )
    raise StoreUnavailable(
        f"nothing was changed: the store has not answered this API for {stale_s:.0f} s",
        help="guests run on, and what is shown is how things were; try again soon, or ask another coordinator",
    )


def age(services: Services, route: Route) -> tuple[float, str] | None:
    """(seconds, why) of what this route shows; None when it is as things are."""
    if not route.looks:
        return None
    stale_s = services.cluster.stale_s
    store = None if stale_s is None else (stale_s, _NO_STORE)
    return store or (services.storage.stale() if route.path.startswith(_STORAGE) else None)


def marked(answer: Answer, old: tuple[float, str] | None) -> Answer:
    """The same answer, with how old it may be; RFC 7234 section 5.5 for the header that caches know."""
    if old is None:
        return answer
    seconds, why = int(old[0]) + 1, old[1].encode("ascii", "replace").decode().replace('"', "'")
    headers = {
        **(_without_etag(answer) if old[1] == _NO_STORE else answer.headers),
        HEADER: str(seconds),
        "Warning": f'110 - "as of {seconds} s ago: {why}"',
    }
    return replace(answer, headers=headers, body=_with_age(answer, seconds))


def _without_etag(answer: Answer) -> dict[str, str]:
    """Nobody may write over what may have changed since."""
    return {name: value for name, value in answer.headers.items() if name != "ETag"}


def _with_age(answer: Answer, seconds: int) -> bytes:
    if answer.content_type != JSON or not answer.body:
        return answer.body
    found: Any = msgspec.json.decode(answer.body)
    for one in found if isinstance(found, list) else (found,):
        if isinstance(one, dict) and "status" in one:
            one[KEY] = seconds
    return msgspec.json.encode(found)
