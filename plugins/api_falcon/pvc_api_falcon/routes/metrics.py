"""Metrics for Prometheus: /metrics and its parts. Without a key, as scrapers of PVC expect."""

from __future__ import annotations

from pvc_api_falcon.route import TEXT, Answer, Call, Route
from pvc_api_falcon.stale import check_store
from pvc_api_falcon.wire.metrics import health_text, resource_text
from pvc_core.services import Services


def show_health(call: Call) -> Answer:
    return _answer(health_text(_shown(call)))


def show_resource(call: Call) -> Answer:
    return _answer(resource_text(_shown(call)))


def show_all(call: Call) -> Answer:
    return _answer(health_text(_shown(call)) + resource_text(call.services))


def _shown(call: Call) -> Services:
    """Raises StoreUnavailable when there is nothing to show."""
    check_store(call.services.cluster, changes=False)
    return call.services


def _answer(text: str) -> Answer:
    return Answer(body=text.encode(), content_type=TEXT)


ROUTES = (
    Route(
        method="GET", path="/metrics", does=show_all, open=True, content_type=TEXT,
        help="All that follows, as text for Prometheus.",
    ),
    Route(
        method="GET", path="/metrics/health", does=show_health, open=True, content_type=TEXT,
        help="Health, states and counts of the cluster.",
    ),
    Route(
        method="GET", path="/metrics/resource", does=show_resource, open=True, content_type=TEXT,
        help="What nodes, VMs and pools use.",
    ),
)  # fmt: skip
