"""The metrics of Ceph's manager are fetched where the monitors say; no Ceph is needed to see how that fails."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pvc_core.errors import Refused, Retry
from pvc_storage_ceph.exporter import metrics

TEXT = b"# TYPE ceph_health_status untyped\nceph_health_status 0.0\n"


class Manager(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(TEXT)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_where_the_monitors_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with HTTPServer(("127.0.0.1", 0), Manager) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert metrics({"prometheus": f"{address}/"}, deadline_s=5) == TEXT.decode()
        with pytest.raises(Retry, match="404"):
            metrics({"prometheus": f"{address}/elsewhere"}, deadline_s=5)
        server.shutdown()
    with pytest.raises(Retry, match="did not tell"):
        metrics({"prometheus": address}, deadline_s=5)


@pytest.mark.parametrize("services", [{}, {"prometheus": "file:///etc/passwd"}, {"dashboard": "https://x/"}])
def test_a_module_that_is_off_is_named(services: dict[str, str]) -> None:
    with pytest.raises(Refused, match="module prometheus is off"):
        metrics(services, deadline_s=5)
