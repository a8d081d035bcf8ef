"""An API's client as the benches need it: one connection that stays open, the body as bytes."""

from __future__ import annotations

import contextlib
import http.client
import time


class Client:
    def __init__(self, port: int, key: str) -> None:
        self._line, self._key = http.client.HTTPConnection("127.0.0.1", port, timeout=120), key

    def get(self, path: str) -> tuple[int, bytes]:
        self._line.request("GET", f"/api/v1{path}", headers={"X-Api-Key": self._key})
        answer = self._line.getresponse()
        return answer.status, answer.read()

    def first_list(self, count: int, *, deadline_s: float = 120.0) -> None:
        """Return when `GET /vm` has answered with `count` VMs."""
        ends_s = time.monotonic() + deadline_s
        while True:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                status, body = self.get("/vm")
                if status == 200 and body.count(b'"xml"') == count:
                    return
            self._line.close()
            if time.monotonic() > ends_s:
                raise RuntimeError(f"pvcapid did not list {count} VMs within {deadline_s:.0f} s")
            time.sleep(0.005)
