"""Metrics of what the cluster stands on, asked of the node beside this API. Their names are the API's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pvc_core.services.desk import Desk

STORE_S, STORAGE_S = 5.0, 10.0


@dataclass(frozen=True, slots=True)
class MetricsService:
    desk: Desk
    node: str
    """Where this API stands."""

    def store(self) -> Mapping[str, str]:
        """What each server of the store says of itself (ZooKeeper's `mntr`), "" for one that does not answer.

        Empty for the embedded store. Raises Retry when this node's daemon does not answer.
        """
        found: Mapping[str, str] = self.desk.ask(self.node, "store_metrics", {}, deadline_s=STORE_S).result["servers"]
        return found

    def storage(self) -> str:
        """What storage drivers have for Prometheus, as they have it; "" when none has. Raises Retry, Refused."""
        reply = self.desk.ask(self.node, "storage_metrics", {}, deadline_s=STORAGE_S)
        return b"".join(reply.body).decode("utf-8", "replace")
