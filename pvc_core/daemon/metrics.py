"""Metrics of what the cluster stands on, read by this node because it has the certificates and keys: the store's
servers and storage drivers' own. What Prometheus gets of them is the API's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pvc_core.config import Config
from pvc_core.contracts.storage import StorageDriver
from pvc_core.daemon.checks import quorum
from pvc_core.errors import Refused
from pvc_core.peer import Answer, Handler

STORE_S, STORAGE_S = 3.0, 8.0
PIECE_BYTES = 256 * 1024


class Metrics:
    def __init__(self, config: Config, storage: Mapping[str, StorageDriver]) -> None:
        self._config, self._storage = config, storage

    def handlers(self) -> Mapping[str, Handler]:
        return {"store_metrics": self.store, "storage_metrics": self.storage}

    def store(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """{servers: by coordinator what ZooKeeper's `mntr` says, or ""}; none for the embedded store."""
        return Answer({"servers": dict(quorum.said(self._config, b"mntr", deadline_s=STORE_S))})

    def storage(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """What storage drivers tell Prometheus, one after the other. Raises what they raise when none does."""
        texts, reasons = [], []
        for driver in self._storage.values():
            try:
                texts.append(driver.metrics(deadline_s=STORAGE_S))
            except Refused as error:
                reasons.append(error)
        if not any(texts) and reasons:
            raise reasons[0]
        data = "".join(text if text.endswith("\n") or not text else f"{text}\n" for text in texts).encode()
        return Answer({}, iter([data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]))
