"""What Ceph's manager tells Prometheus (its module `prometheus`), fetched where the monitors say that it is."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

from pvc_core.errors import Refused, Retry

TEXT_MAX_BYTES = 64 * 1024 * 1024


def metrics(services: Mapping[str, str], *, deadline_s: float) -> str:
    """`services` is the answer to "mgr services". Raises Refused (the module is off), Retry."""
    address = services.get("prometheus", "")
    if not address.startswith(("http://", "https://")):
        raise Refused(
            "Ceph's manager tells Prometheus nothing: its module prometheus is off, or could not begin",
            help="ceph mgr module enable prometheus; `ceph mgr services` then shows where it serves",
        )
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on the storage network
    try:
        with straight.open(f"{address.rstrip('/')}/metrics", timeout=deadline_s) as answer:
            data: bytes = answer.read(TEXT_MAX_BYTES)
    except OSError as error:
        raise Retry(f"Ceph's manager did not tell its metrics at {address}: {error}") from None
    return data.decode("utf-8", "replace")
