"""Metrics for Prometheus: /metrics and its parts. Without a key, as scrapers of PVC expect, unless pvc.yaml says
otherwise (plugins.api_falcon.metrics).
"""

from __future__ import annotations

from contextlib import suppress

from pvc_api_falcon.route import TEXT, Answer, Call, Route
from pvc_api_falcon.stale import check_store
from pvc_api_falcon.wire.metrics import health_text, resource_text
from pvc_api_falcon.wire.store_metrics import store_text
from pvc_core.errors import PvcError
from pvc_core.services import Services


def show_health(call: Call) -> Answer:
    return _answer(health_text(_shown(call)))


def show_resource(call: Call) -> Answer:
    return _answer(resource_text(_shown(call)))


def show_all(call: Call) -> Answer:
    """What cannot be had just now is left out: the rest is no less true."""
    text = health_text(_shown(call)) + resource_text(call.services)
    for part in (call.services.metrics.storage, lambda: store_text(call.services.metrics.store())):
        with suppress(PvcError):
            text += part()
    return _answer(text)


def show_ceph(call: Call) -> Answer:
    return _answer(call.services.metrics.storage())


def show_zookeeper(call: Call) -> Answer:
    return _answer(store_text(call.services.metrics.store()))


def _shown(call: Call) -> Services:
    """Raises StoreUnavailable when there is nothing to show."""
    check_store(call.services.cluster, changes=False)
    return call.services


def _answer(text: str) -> Answer:
    return Answer(body=text.encode(), content_type=TEXT)


ROUTES = (
    Route(
        method="GET", path="/metrics", does=show_all, open=True, content_type=TEXT, asks=True, metrics=True,
        help="All that follows, as text for Prometheus.",
    ),
    Route(
        method="GET", path="/metrics/health", does=show_health, open=True, content_type=TEXT, metrics=True,
        help="Health, states and counts of the cluster.",
    ),
    Route(
        method="GET", path="/metrics/resource", does=show_resource, open=True, content_type=TEXT, metrics=True,
        help="What nodes, VMs and pools use.",
    ),
    Route(
        method="GET", path="/metrics/ceph", does=show_ceph, open=True, content_type=TEXT, asks=True, metrics=True,
        help="What storage drivers have of their own: Ceph's manager, if its module prometheus is on.",
    ),
    Route(
        method="GET", path="/metrics/zookeeper", does=show_zookeeper, open=True, content_type=TEXT, asks=True,
        metrics=True, help="What the ZooKeeper servers say of themselves.",
    ),
)  # fmt: skip
